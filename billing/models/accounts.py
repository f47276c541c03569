"""Prices, and the accounts whose running sums the ledger moves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, TruncMonth
from uuid_utils.compat import uuid7

from accounts.models import Tenant, TenantQuerySet


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
    """A tenant's account with one provider: its balances, the end of its chain of entries, and what is to happen to it next.

    `posted` is grants and adjustments less charges and expiries, `held` the sum of its holds, and `unknown` the part of `held`
    that may have been billed. `last_number` and `last_hash` are those of the account's last entry, so that an entry that is cut
    off at the end shows. `open_month` is the first day of the UTC month that the next statement closes, and
    `last_statement_hash` the hash of the statement before it. `next_expiry` is when the next of its grants expires.
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
    next_expiry = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    # The credits of grants that have ended though no entry says so yet, where `grants.attach` looked.
    due_to_expire = Decimal(0)

    objects = TenantQuerySet["Account"].as_manager()

    class Meta:
        ordering = ("tenant", "provider")
        indexes = [
            models.Index(fields=["next_expiry"], condition=Q(next_expiry__isnull=False), name="accounts_by_next_expiry")
        ]
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
        return None if self.kind == self.Kind.METERED else self.posted - self.held - self.due_to_expire
