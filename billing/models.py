"""Prices, accounts, and the ledger that every balance can be rebuilt from.

Credits are each provider's own unit and never summed across providers. An account's running sums are a cache of its entries,
moved in the same transaction; `ledger` alone writes them (`entries.sql`) and `audit_ledger` proves them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, TruncMonth
from uuid_utils.compat import uuid7

from accounts.models import ApiKey, Tenant, TenantQuerySet


class CreditsField(models.DecimalField):
    """An amount of a provider's credits: numeric(18, 6), never a float."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_digits"] = 18
        kwargs["decimal_places"] = 6
        super().__init__(*args, **kwargs)


class Price(models.Model):
    """The price of a source from a moment on. Without one, searches of the source are refused, never free."""

    source = models.CharField(max_length=40)
    per_call = CreditsField(default=Decimal(0))
    per_result = CreditsField(default=Decimal(0))
    valid_from = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("source", "-valid_from")
        constraints = [
            models.UniqueConstraint(fields=["source", "valid_from"], name="one_price_per_source_and_moment"),
            models.CheckConstraint(condition=Q(per_call__gte=0, per_result__gte=0), name="price_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.source} from {self.valid_from:%Y-%m-%d}"


class Account(models.Model):
    """A tenant's account with one provider: `posted` is grants and adjustments less charges, `held` the sum of its holds.

    `unknown` is the part of `held` that may have been billed. `last_number` and `last_hash` are those of the account's last
    entry, so that an entry that is cut off at the end shows. `open_month` is the first day of the UTC month that the next
    statement closes, and `last_statement_hash` the hash of the statement before it.
    """

    class Kind(models.TextChoices):
        METERED = "metered", "metered: counts, needs no balance"
        PREPAID = "prepaid", "prepaid: never below zero"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="accounts")
    provider = models.CharField(max_length=40)
    kind = models.CharField(max_length=7, choices=Kind.choices, default=Kind.METERED)
    posted = CreditsField(default=Decimal(0), editable=False)
    held = CreditsField(default=Decimal(0), editable=False)
    unknown = CreditsField(default=Decimal(0), editable=False)
    last_number = models.PositiveBigIntegerField(default=0, editable=False)
    last_hash = models.BinaryField(max_length=32, default=b"", editable=False)
    open_month = models.DateField(db_default=TruncMonth(Now(), output_field=models.DateField()), editable=False)
    last_statement_hash = models.BinaryField(max_length=32, default=b"", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["Account"].as_manager()

    class Meta:
        ordering = ("tenant", "provider")
        constraints = [
            models.UniqueConstraint(fields=["tenant", "provider"], name="one_account_per_tenant_and_provider"),
            models.CheckConstraint(condition=Q(held__gte=0), name="held_never_negative"),
            models.CheckConstraint(
                condition=Q(unknown__gte=0, unknown__lte=F("held")), name="unknown_is_a_part_of_what_is_held"
            ),
            models.CheckConstraint(
                condition=Q(kind="metered") | Q(posted__gte=F("held")),
                name="prepaid_account_never_below_zero",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant} at {self.provider}"

    @property
    def available(self) -> Decimal | None:
        """The credits that may still be held; None for a metered account, which has no bound."""
        return None if self.kind == self.Kind.METERED else self.posted - self.held


NEGATIVE_CAP = "A cap must be 0 credits or more; with 0 nothing may be spent, and without a cap anything."


class TenantCap(models.Model):
    """The most that a tenant may use and hold with one provider in a UTC month."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="caps", db_index=False)
    provider = models.CharField(max_length=40)
    amount = CreditsField(verbose_name="credits a month")

    class Meta:
        ordering = ("tenant", "provider")
        verbose_name = "cap of a tenant"
        verbose_name_plural = "caps of tenants"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "provider"], name="one_cap_per_tenant_and_provider"),
            models.CheckConstraint(
                condition=Q(amount__gte=0), name="cap_of_a_tenant_never_negative", violation_error_message=NEGATIVE_CAP
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenant} at {self.provider}: {self.amount.normalize():f} credits a month"


class KeyCap(models.Model):
    """The most that the searches of one API key may use and hold with one provider in a UTC month."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="caps", db_index=False, verbose_name="API key")
    provider = models.CharField(max_length=40)
    amount = CreditsField(verbose_name="credits a month")

    class Meta:
        ordering = ("api_key", "provider")
        verbose_name = "cap of an API key"
        verbose_name_plural = "caps of API keys"
        constraints = [
            models.UniqueConstraint(fields=["api_key", "provider"], name="one_cap_per_key_and_provider"),
            models.CheckConstraint(
                condition=Q(amount__gte=0), name="cap_of_a_key_never_negative", violation_error_message=NEGATIVE_CAP
            ),
        ]

    def __str__(self) -> str:
        return f"{self.api_key} at {self.provider}: {self.amount.normalize():f} credits a month"


class TenantMonth(models.Model):
    """The credits of an account that the lookups held in one UTC month have used, and still hold (`caps.sql`)."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="months", db_index=False)
    month = models.DateField(help_text="Its first day.")
    used = CreditsField()
    held = CreditsField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "month"], name="one_row_per_account_and_month"),
            models.CheckConstraint(condition=Q(used__gte=0, held__gte=0), name="month_of_a_tenant_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.account} in {self.month:%Y-%m}"


class KeyMonth(models.Model):
    """The part of a `TenantMonth` that is of one API key's searches."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="key_months", db_index=False)
    spender = models.UUIDField(help_text="The id of the API key.")
    month = models.DateField(help_text="Its first day.")
    used = CreditsField()
    held = CreditsField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "spender", "month"], name="one_row_per_account_key_and_month"),
            models.CheckConstraint(condition=Q(used__gte=0, held__gte=0), name="month_of_a_key_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.account} by {self.spender} in {self.month:%Y-%m}"


class Budget(models.Model):
    """The `max_credits` of one search with one provider, and what its lookups have used of it and still hold."""

    reference = models.CharField(max_length=60, help_text="search:<id>")
    account = models.ForeignKey(Account, models.PROTECT, related_name="budgets", db_index=False)
    most = CreditsField()
    used = CreditsField()
    held = CreditsField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reference", "account"], name="one_budget_per_search_and_account"),
            models.CheckConstraint(
                condition=Q(used__gte=0, held__gte=0, most__gte=F("used") + F("held")), name="budget_never_exceeded"
            ),
        ]

    def __str__(self) -> str:
        return self.reference


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
    api_key = models.CharField(max_length=36, blank=True, help_text="The id of its search's API key.")
    metadata = models.JSONField(default=dict, blank=True, help_text="Its search's, until that is erased.")
    month = models.DateField(help_text="The first day of the UTC month in which it was first held.")
    spender = models.UUIDField(null=True, help_text="The id of the API key that it is for.")
    budget = models.CharField(max_length=60, blank=True, help_text="search:<id>, if that has max_credits.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-created_at",)
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
    person = models.CharField(max_length=150, blank=True, help_text="Who made it, if somebody did by hand.")
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


class UsageCount(models.Model):
    """Sums the charges of one account in one UTC day. Only `usage.sql` writes the rows, in the transaction of the charge."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField(help_text="In UTC, by the time of the entry.")
    source = models.CharField(max_length=40, blank=True)
    api_key = models.CharField(max_length=36, blank=True, help_text="An id.")
    charged = CreditsField()
    charges = models.PositiveBigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.day} {self.source}: {self.charged}"


class Usage(UsageCount):
    """The charges of a day, a source and an API key."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "day", "source", "api_key"], name="one_usage_per_day_source_and_key"
            )
        ]


class UsageByMetadata(UsageCount):
    """Sums the charges of a day, a source, an API key and one set of metadata: a day has a row for each different set.

    A row has the whole set, so that a report can combine any of its keys. `Usage` is kept beside it, because a tenant may put
    another number into the metadata of each search. Reports without metadata would have to add all those rows.
    """

    metadata = models.JSONField()
    digest = models.BinaryField(max_length=32, help_text="The SHA-256 of the metadata's text.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "day", "source", "api_key", "digest"], name="one_usage_per_day_and_metadata"
            )
        ]
