"""Closed months."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from uuid_utils.compat import uuid7

from billing.models.accounts import Account, CreditsField


class Statement(models.Model):
    """A closed UTC month of an account. The database refuses to change or delete one.

    The month has the entries from `first_number` to `last_number`. An account without a movement gets a statement too: its
    `last_number` is then the one before `first_number`. The numbers and balances of an account's statements adjoin. Each has
    the hash of its last entry, that of the statement before, and its own over all that it says (`billing_statement_hash`).
    """

    # The column in which the amounts of a kind are summed. Those have more digits than an amount: a month that cannot be summed
    # could not be closed.
    SUMS = {
        "grant": "grants",
        "expiry": "expiries",
        "adjustment": "adjustments",
        "charge": "charges",
        "hold": "holds",
        "release": "releases",
        "unknown": "unknowns",
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="statements", db_index=False)
    month = models.DateField(help_text="The first day of the month, in UTC.")
    first_number = models.PositiveBigIntegerField()
    last_number = models.PositiveBigIntegerField()
    opening_posted = CreditsField()
    opening_held = CreditsField()
    opening_unknown = CreditsField()
    grants = models.DecimalField(max_digits=28, decimal_places=6)
    expiries = models.DecimalField(max_digits=28, decimal_places=6)
    adjustments = models.DecimalField(max_digits=28, decimal_places=6)
    charges = models.DecimalField(max_digits=28, decimal_places=6)
    holds = models.DecimalField(max_digits=28, decimal_places=6)
    releases = models.DecimalField(max_digits=28, decimal_places=6)
    unknowns = models.DecimalField(max_digits=28, decimal_places=6)
    closing_posted = CreditsField()
    closing_held = CreditsField(help_text="What open holds carry over to the next month.")
    closing_unknown = CreditsField()
    closed_at = models.DateTimeField()
    last_entry_hash = models.BinaryField(max_length=32, editable=False)
    previous_hash = models.BinaryField(max_length=32, editable=False)
    hash = models.BinaryField(max_length=32, editable=False)

    class Meta:
        ordering = ("-month", "-account_id")
        constraints = [
            models.UniqueConstraint(fields=["account", "month"], name="each_month_of_an_account_is_closed_once"),
            models.CheckConstraint(
                condition=Q(first_number__gte=1, last_number__gte=F("first_number") - 1),
                name="a_statement_begins_where_it_ends_or_before",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account}, {self.month:%Y-%m}"
