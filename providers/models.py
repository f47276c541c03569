"""The rows of this app: each tenant's credentials, sealed, and each provider's policy, which operators edit.

Both tables are written by the modules that own their rules alone: `keyring` writes credentials, `policies` makes policies.
"""

from __future__ import annotations

from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import Tenant, TenantQuerySet


class Policy(models.Model):
    """The limits of calls to one provider. An edit is in force without a restart.

    `providers.policies` makes a missing row from the defaults of the adapter.
    """

    class Scope(models.TextChoices):
        PROVIDER = "provider", "one limit for the whole deployment"
        ACCOUNT = "account", "one limit for each provider account"

    class OnUnknown(models.TextChoices):
        RETRY = "retry", "ask once more, under a second hold"
        FAIL = "fail", "fail the lookup"

    provider = models.CharField(max_length=40, primary_key=True)
    calls = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(10_000)])
    window_ms = models.PositiveIntegerField(
        validators=[MinValueValidator(10), MaxValueValidator(3_600_000)],
        help_text="At most this many calls in any stretch of this many milliseconds.",
    )
    guard_ms = models.DecimalField(
        max_digits=7,
        decimal_places=3,
        validators=[MinValueValidator(0)],
        help_text="Milliseconds added to the window for the network's jitter.",
    )
    scope = models.CharField(max_length=8, choices=Scope.choices, default=Scope.PROVIDER)
    max_in_flight = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="The most calls of one lane under way at once, so that a slow provider does not occupy every worker.",
    )
    page_size = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="The most results that one call asks for. A source without pages is asked once, for all that a lookup wants.",
    )
    attempts = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(20)])
    throttled_seconds = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(3600)],
        help_text="Seconds that a key rests after a 429 without Retry-After. 0: 1, 2, 4, then 8 s.",
    )
    connect_timeout_ms = models.PositiveIntegerField(
        validators=[MinValueValidator(100), MaxValueValidator(60_000)],
        help_text="For DNS, TCP and TLS together.",
    )
    write_timeout_ms = models.PositiveIntegerField(
        validators=[MinValueValidator(100), MaxValueValidator(300_000)],
        help_text="How long the provider may accept no data while a call is sent, within the total.",
    )
    read_timeout_ms = models.PositiveIntegerField(
        validators=[MinValueValidator(100), MaxValueValidator(300_000)],
        help_text="How long the provider may send no data while its answer is awaited or read, within the total.",
    )
    total_timeout_ms = models.PositiveIntegerField(
        # The lane's log keeps a call for 15 minutes, and the outcome of the call must be known by then.
        validators=[MinValueValidator(100), MaxValueValidator(300_000)],
        help_text="From the first byte sent to the last one read.",
    )
    on_unknown = models.CharField(
        max_length=5,
        choices=OnUnknown.choices,
        default=OnUnknown.RETRY,
        help_text="The next step after a call of which it is unknown whether the provider billed it.",
    )
    paused = models.BooleanField(
        default=False, help_text="No call is sent, and lookups wait. Lookups of test keys are not affected."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "policies"
        ordering = ("provider",)

    def __str__(self) -> str:
        return f"{self.provider}: {self.calls} in {self.window_ms} ms"


class CredentialQuerySet(TenantQuerySet["Credential"]):
    def same_key(self, credential: Credential) -> Self:
        """Returns the credential's row, unless it holds another key than when it was read."""
        return self.filter(pk=credential.pk, fingerprint=credential.fingerprint)


class Credential(models.Model):
    """A tenant's own key to a provider, sealed. Its fingerprint is an HMAC, from which the key cannot be computed."""

    class State(models.TextChoices):
        UNKNOWN = "unknown", "not tried yet"
        VERIFIED = "verified", "worked when it was last used"
        INVALID = "invalid", "refused by the provider"
        EXHAUSTED = "exhausted", "out of the provider's credits"

    # The states in which a credential's lookups wait.
    DEAD_STATES = (State.INVALID, State.EXHAUSTED)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="credentials")
    provider = models.CharField(max_length=40)
    label = models.CharField(max_length=100, default="default")
    sealed = models.BinaryField(editable=False)
    fingerprint = models.CharField(max_length=64, editable=False, db_index=True)
    is_magic = models.BooleanField(
        default=False, editable=False, help_text="The key decides what the sandbox answers. No provider issued it."
    )
    is_default = models.BooleanField(default=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN)
    state_changed_at = models.DateTimeField(db_default=Now(), editable=False)
    probing = models.BooleanField(
        default=False,
        editable=False,
        help_text="The key was found dead, and no search has worked since. One waiting lookup is tried at a time.",
    )
    rests_until = models.DateTimeField(
        null=True, editable=False, help_text="The provider asked this key to wait: no search calls with it before."
    )
    told_to_wait_at = models.DateTimeField(
        null=True, editable=False, help_text="When the provider last asked this key to wait."
    )
    times_told_to_wait = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Rests in a row, with no answer between them."
    )
    checked_at = models.DateTimeField(null=True, editable=False, help_text="When a check was last tried.")
    check_problem = models.CharField(
        max_length=500, blank=True, editable=False, help_text="Why the key is not known to be good."
    )
    account = models.JSONField(null=True, editable=False, help_text="The account as the provider described it.")
    account_read_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = CredentialQuerySet.as_manager()

    class Meta:
        ordering = ("provider", "label")
        constraints = [
            models.UniqueConstraint(fields=["tenant", "provider", "label"], name="credential_label_once_per_provider"),
            models.UniqueConstraint(
                fields=["tenant", "provider"],
                condition=models.Q(is_default=True),
                name="one_default_credential_per_provider",
            ),
        ]
        indexes = [
            models.Index(
                fields=["provider", "told_to_wait_at"],
                condition=models.Q(told_to_wait_at__isnull=False),
                name="credentials_told_to_wait",
            ),
            models.Index(
                fields=["state"], condition=models.Q(state__in=["invalid", "exhausted"]), name="credentials_dead"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.label}"

    @property
    def key_fingerprint(self) -> str:
        """The part of the fingerprint that calls and readings keep, to name the key that they were made with."""
        return self.fingerprint[:16]

    @property
    def is_dead(self) -> bool:
        """Returns whether every call with the key is known to fail, until the key is replaced or verified."""
        return self.state in self.DEAD_STATES

    @property
    def is_unproven(self) -> bool:
        """Returns whether a search that works with the key changes what is known of it."""
        return self.probing or self.state == self.State.UNKNOWN or bool(self.check_problem)

    @property
    def blocks_lookups(self) -> bool:
        """Returns whether lookups wait, all but one probe, until a search has worked with the key."""
        return self.is_dead or self.probing
