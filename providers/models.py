"""The key ring and the rules: each tenant's credentials, sealed, and each provider's policy, which operators edit."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import Tenant, TenantQuerySet


class Policy(models.Model):
    """How often a provider may be called, and for how long: a row, in force without a restart.

    A provider without a row is served by its adapter's own defaults; `providers.policies` writes that row.
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
        help_text="Calls of one lane under way at once, so that a slow provider does not occupy every worker.",
    )
    page_size = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Results a call asks for at most. A source without pages is asked once, for all that a lookup wants.",
    )
    attempts = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(20)])
    throttled_seconds = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(3600)],
        help_text="How long a key rests after a 429 that does not say how long; 0: 1, 2, 4, then 8 s.",
    )
    connect_timeout_ms = models.PositiveIntegerField(
        validators=[MinValueValidator(100), MaxValueValidator(60_000)],
        help_text="For DNS, TCP and TLS together.",
    )
    write_timeout_ms = models.PositiveIntegerField(
        validators=[MinValueValidator(100), MaxValueValidator(300_000)],
        help_text="How long the provider may take nothing in while a call is sent, within the total.",
    )
    read_timeout_ms = models.PositiveIntegerField(
        validators=[MinValueValidator(100), MaxValueValidator(300_000)],
        help_text="How long the provider may say nothing while its answer is awaited or read, within the total.",
    )
    total_timeout_ms = models.PositiveIntegerField(
        # The lane's log remembers a call for 15 minutes, and what became of it must be known by then.
        validators=[MinValueValidator(100), MaxValueValidator(300_000)],
        help_text="From the first byte sent to the last one read.",
    )
    on_unknown = models.CharField(
        max_length=5,
        choices=OnUnknown.choices,
        default=OnUnknown.RETRY,
        help_text="What follows a call of which nobody can say whether the provider billed it.",
    )
    paused = models.BooleanField(default=False, help_text="No calls leave; lookups wait. Those of test keys go on.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "policies"
        ordering = ("provider",)

    def __str__(self) -> str:
        return f"{self.provider}: {self.calls} in {self.window_ms} ms"


class Credential(models.Model):
    """A tenant's own key to a provider. The secret is sealed; what names it is an HMAC, which cannot be turned back."""

    class State(models.TextChoices):
        UNKNOWN = "unknown", "not tried yet"
        VERIFIED = "verified", "worked when it was last used"
        INVALID = "invalid", "refused by the provider"
        EXHAUSTED = "exhausted", "out of the provider's credits"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="credentials")
    provider = models.CharField(max_length=40)
    label = models.CharField(max_length=100, default="default")
    sealed = models.BinaryField(editable=False)
    fingerprint = models.CharField(max_length=64, editable=False, db_index=True)
    is_magic = models.BooleanField(
        default=False, editable=False, help_text="A key for the sandbox to play by, which no provider issued."
    )
    is_default = models.BooleanField(default=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN)
    state_changed_at = models.DateTimeField(db_default=Now(), editable=False)
    on_trial = models.BooleanField(
        default=False,
        editable=False,
        help_text="It was found dead, and no search has worked since: one waiting lookup goes at a time.",
    )
    rests_until = models.DateTimeField(
        null=True, editable=False, help_text="The provider asked this key to wait: no search calls with it before."
    )
    told_to_wait_at = models.DateTimeField(null=True, editable=False, help_text="When the provider last asked it to.")
    times_told_to_wait = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Rests in a row, with no answer between them."
    )
    checked_at = models.DateTimeField(null=True, editable=False, help_text="When a check was last tried.")
    check_problem = models.CharField(
        max_length=500, blank=True, editable=False, help_text="Why the key is not known to be good."
    )
    account = models.JSONField(null=True, editable=False, help_text="What the provider told of the account.")
    account_read_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["Credential"].as_manager()

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
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.label}"

    @property
    def is_dead(self) -> bool:
        """Whether calls with it are known to be in vain, until it is replaced or verified."""
        return self.state in (self.State.INVALID, self.State.EXHAUSTED)

    @property
    def is_unproven(self) -> bool:
        """Whether a search that works with it is news."""
        return self.on_trial or self.state == self.State.UNKNOWN or bool(self.check_problem)

    @property
    def is_waited_for(self) -> bool:
        """Whether lookups wait until it has been mended, and has shown it."""
        return self.is_dead or self.on_trial
