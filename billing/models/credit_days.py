"""Charges of all tenants by provider and day (`billing.credit_days`), so that a page need not add up every account's usage."""

from __future__ import annotations

from django.db import models

from billing.models.accounts import CreditsField


class CreditDay(models.Model):
    """The charges of all accounts with one provider in one UTC day. Credits of different providers are never added up."""

    provider = models.CharField(max_length=40)
    day = models.DateField()
    charged = CreditsField()
    charges = models.PositiveBigIntegerField()
    counted_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "provider"], name="one_credit_day_per_provider")]

    def __str__(self) -> str:
        return f"{self.day} {self.provider}: {self.charged}"
