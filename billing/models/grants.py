"""Grants, and what the holds draw from them."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from billing.models.accounts import Account, CreditsField
from billing.models.entries import Hold


class Grant(models.Model):
    """One grant of an account, and the parts of it that are left, expired and drawn (`grants.sql`).

    Holds draw from grants in the order of priority, expiry and age. `available` is neither drawn by a hold, nor spent, nor
    expired. What `amount` has beyond `available`, `expired` and the draws is spent.
    """

    LOWEST, HIGHEST, USUAL = 0, 100, 50

    account = models.ForeignKey(Account, models.PROTECT, related_name="grants", db_index=False)
    number = models.PositiveBigIntegerField(help_text="The number of its entry.")
    amount = CreditsField()
    available = CreditsField(help_text="What holds may still draw.")
    expired = CreditsField(default=0, db_default=0)
    priority = models.PositiveSmallIntegerField(help_text="0 to 100: the lower one is spent first.")
    expires_at = models.DateTimeField(null=True, blank=True)
    has_expired = models.BooleanField(
        default=False, db_default=False, help_text="What comes back to it expires at once."
    )

    class Meta:
        ordering = ("account", "priority", "expires_at", "number")
        # Holds read the first, expiries the second: old grants cost neither.
        indexes = [
            models.Index(
                fields=["account", "priority", "expires_at", "number"],
                condition=Q(available__gt=0),
                name="grants_to_draw_from",
            ),
            models.Index(
                fields=["account", "expires_at"],
                condition=Q(has_expired=False, expires_at__isnull=False),
                name="grants_to_expire",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["account", "number"], name="one_grant_per_entry"),
            models.CheckConstraint(
                condition=Q(available__gte=0, expired__gte=0, amount__gte=F("available") + F("expired")),
                name="no_more_of_a_grant_than_was_granted",
            ),
            models.CheckConstraint(condition=Q(priority__lte=100), name="priority_of_a_grant_from_0_to_100"),
        ]

    def __str__(self) -> str:
        return f"grant {self.number} of {self.account}"


class Draw(models.Model):
    """The part of a lookup's hold that is taken from one grant. It stays good for the hold when the grant expires."""

    hold = models.ForeignKey(Hold, models.PROTECT, related_name="draws", db_column="reference", db_index=False)
    grant = models.ForeignKey(Grant, models.PROTECT, related_name="draws")
    amount = CreditsField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["hold", "grant"], name="one_draw_per_hold_and_grant"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="draw_of_something"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} for {self.hold_id}"
