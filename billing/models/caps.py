"""Limits of what may be held in a month or by a search, and the rows that count what is used and held under them."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from accounts.models import ApiKey, Tenant
from accounts.numbers import decimal_text
from billing.models.accounts import Account, CreditsField

NEGATIVE_CAP = "A cap must be 0 credits or more; with 0 nothing may be spent, and without a cap anything."


def left_of(size: Decimal, *, used: Decimal, held: Decimal) -> Decimal:
    """Returns the credits that may still be held under a limit; 0 where it was lowered below what is used and held."""
    return max(size - used - held, Decimal(0))


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
        return f"{self.tenant} at {self.provider}: {decimal_text(self.amount)} credits a month"


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
        return f"{self.api_key} at {self.provider}: {decimal_text(self.amount)} credits a month"


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
            # The month comes first: `billing_caps_of_key` adds up those of several keys, of one month.
            models.UniqueConstraint(fields=["account", "month", "spender"], name="one_row_per_account_key_and_month"),
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
