"""The ledger: what each lookup may still cost, and a line for each movement."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from billing.models.accounts import Account, CreditsField


class Hold(models.Model):
    """The credits that a lookup may still cost: `open` can be charged, `unknown` may have been billed and waits to be settled.

    The hold names what the lookup's charges count for (`Usage`): source, API key and metadata, as they were at the submit.
    Charges and releases count in the `month`, under the API key and the budget of the hold, whenever they come.
    """

    reference = models.CharField(max_length=60, primary_key=True, help_text="lookup:<id>")
    account = models.ForeignKey(Account, models.PROTECT, related_name="holds")
    open = CreditsField()
    unknown = CreditsField(default=Decimal(0))
    source = models.CharField(max_length=40, blank=True)
    metadata = models.JSONField(default=dict, blank=True, help_text="Its search's, until that is erased.")
    month = models.DateField(help_text="The first day of the UTC month in which it was first held.")
    spender = models.UUIDField(null=True, help_text="The id of the API key that it is for.")
    budget = models.CharField(max_length=60, blank=True, help_text="search:<id>, if that has max_credits.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-created_at",)
        # Few among millions: those that a person has to settle.
        indexes = [models.Index(fields=["-created_at"], condition=Q(unknown__gt=0), name="holds_with_an_unknown_part")]
        constraints = [
            models.CheckConstraint(condition=Q(open__gte=0, unknown__gte=0), name="nothing_spent_above_what_was_held")
        ]

    def __str__(self) -> str:
        return self.reference


class Entry(models.Model):
    """A line of the ledger. The database refuses to change or delete one.

    An account numbers its entries 1, 2, 3 … in the order of their commits. `created_at` is earlier than the commit, and orders
    nothing. The balances after each entry are kept, so that a past balance is one read. Each entry has the hash of the one
    before, and its own over all that it says (`billing_entry_hash`), so that an entry that is altered, missing or inserted shows.

    `amount` is never negative but for an adjustment that takes credits, and an `unknown` that is settled. `key` makes each event
    count once: `hold:<lookup>`, `charge:<call>`, `release:<lookup>`, and the like.
    """

    class Kind(models.TextChoices):
        GRANT = "grant"
        EXPIRY = "expiry"
        HOLD = "hold"
        UNKNOWN = "unknown"
        CHARGE = "charge"
        RELEASE = "release"
        ADJUSTMENT = "adjustment"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="entries", db_index=False)
    number = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    amount = CreditsField()
    posted_after = CreditsField()
    held_after = CreditsField()
    unknown_after = CreditsField()
    reference = models.CharField(
        max_length=60, blank=True, help_text="What it is for: lookup:<id>, or what it corrects, or empty."
    )
    key = models.CharField(max_length=100)
    memo = models.CharField(max_length=200, blank=True)
    person = models.CharField(max_length=150, blank=True, help_text="Who made it, if it was made by hand.")
    month = models.DateField(null=True, help_text="The month of the hold that it belongs to.")
    spender = models.UUIDField(null=True, help_text="The id of the API key that it is for.")
    budget = models.CharField(max_length=60, blank=True, help_text="search:<id>, if that has max_credits.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    previous_hash = models.BinaryField(max_length=32, editable=False)
    hash = models.BinaryField(max_length=32, editable=False)

    class Meta:
        # One index, read backwards.
        ordering = ("-account_id", "-number")
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["reference"], name="entries_by_reference"),
            models.Index(fields=["account", "created_at"], name="entries_by_time"),
            # Few among millions: a page of them is no walk through all.
            models.Index(
                fields=["account", "kind", "number"],
                condition=Q(kind__in=("grant", "expiry", "adjustment", "unknown")),
                name="entries_of_rare_kinds",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["account", "number"], name="each_number_of_an_account_is_given_once"),
            models.UniqueConstraint(fields=["key"], name="each_event_counts_once"),
            models.CheckConstraint(
                condition=Q(kind__in=("adjustment", "unknown")) | Q(amount__gte=0),
                name="only_adjustments_and_unknowns_may_be_negative",
            ),
            models.CheckConstraint(
                condition=~Q(kind="adjustment") | (~Q(memo="") & ~Q(person="") & ~Q(reference="")),
                name="a_correction_says_why_who_and_what",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"
