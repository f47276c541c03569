"""A provider's own count of the credits that a key has left, and its comparison with the calls that were made with the key."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import Tenant
from accounts.numbers import decimal_text
from billing.models.accounts import CreditsField
from providers.models import Credential


class Reading(models.Model):
    """The credits that a key's account had left, as its provider said between two instants of the database's clock."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    credential = models.ForeignKey(
        Credential, models.SET_NULL, null=True, related_name="readings", db_index=False, help_text="Empty if deleted."
    )
    key_fingerprint = models.CharField(max_length=16, help_text="The beginning of its key's fingerprint.")
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField()
    credits = CreditsField(help_text="The credits left.")
    requests = models.BigIntegerField(null=True, help_text="The provider's count of requests, if it tells one.")

    class Meta:
        ordering = ("-answered_at",)
        indexes = [models.Index(fields=["credential", "answered_at"], name="readings_of_a_credential")]
        constraints = [
            models.CheckConstraint(condition=Q(answered_at__gte=F("asked_at")), name="readings_are_asked_for_first")
        ]

    def __str__(self) -> str:
        return f"{decimal_text(self.credits)} at {self.answered_at:%Y-%m-%d %H:%M:%S}"


class Reconciliation(models.Model):
    """The difference of two readings of one key, compared with what the calls with it cost between them.

    Several tenants, and several credentials of one, may have one key, and so one account with the provider. All their calls with
    it are compared.
    """

    class State(models.TextChoices):
        MATCHES = "matches", "the provider counted what the calls cost"
        EXPLAINED_BY_UNKNOWN = "explained_by_unknown", "calls whose outcome is unknown explain the difference"
        SHARED_ACCOUNT = "shared_account", "the account was used elsewhere too"
        TOPPED_UP = "topped_up", "credits were added, so nothing is proven"
        COUNTED_LESS = "counted_less", "the provider billed less, or credits were added meanwhile"
        UNEXPLAINED = "unexplained", "nothing that is known explains the difference"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="reconciliations", db_index=False)
    provider = models.CharField(max_length=40)
    key_label = models.CharField(max_length=100, help_text="The credential's label when it was compared.")
    credential = models.ForeignKey(
        Credential,
        models.SET_NULL,
        null=True,
        related_name="reconciliations",
        db_index=False,
        help_text="Empty if deleted: the comparison is kept.",
    )
    # One comparison for each reading, so that no call is compared twice.
    opening = models.OneToOneField(Reading, models.CASCADE, related_name="next")
    closing = models.OneToOneField(Reading, models.CASCADE, related_name="reconciliation")
    state = models.CharField(max_length=20, choices=State.choices)
    counted = CreditsField(help_text="By how much the credits left fell; negative where they rose.")
    calls = models.PositiveIntegerField(help_text="The calls that were surely made between the readings.")
    billed = CreditsField(help_text="What those calls cost, as their answers say.")
    overbilled = CreditsField(help_text="The part of it that was above what was held, and was charged to nobody.")
    overlapping = CreditsField(help_text="The most that calls cost which were under way at a reading.")
    unknown = CreditsField(help_text="The most that calls cost whose outcome is unknown.")
    own_calls = models.PositiveIntegerField(help_text="The tenant's own part of `calls`.")
    own_billed = CreditsField(help_text="The tenant's own part of `billed`.")
    own_overbilled = CreditsField(help_text="The tenant's own part of `overbilled`.")
    own_overlapping = CreditsField(help_text="The tenant's own part of `overlapping`.")
    own_unknown = CreditsField(help_text="The tenant's own part of `unknown`.")
    topped_up = CreditsField(default=Decimal(0), help_text="So much, at least, was added to the account.")
    drift = CreditsField(help_text="What is left of the difference; negative where the provider counted less.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["credential", "-id"], name="comparisons_of_a_credential"),
            models.Index(fields=["tenant", "-id"], name="comparisons_of_a_tenant"),
            models.Index(fields=["-id"], condition=Q(state="unexplained"), name="comparisons_unexplained"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.key_label} to {self.closing.answered_at:%Y-%m-%d %H:%M}"

    @property
    def is_shared(self) -> bool:
        """Returns whether others called with the account too: tenants here that have the same key, or its users elsewhere."""
        own = (self.own_calls, self.own_billed, self.own_overlapping, self.own_unknown)
        return self.state == self.State.SHARED_ACCOUNT or own != (
            *(self.calls, self.billed, self.overlapping, self.unknown),
        )
