"""Shares of caps and grants that were reached."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from billing.models.accounts import Account, CreditsField
from billing.models.caps import left_of

# The rows of each kind of limit, and what names one besides the account.
OF_A_TENANT = Q(limit="tenant_cap", spender=None, grant_number=None)
OF_A_KEY = Q(limit="key_cap", spender__isnull=False, grant_number=None)
OF_A_GRANT = Q(limit="grant", spender=None, grant_number__isnull=False)


class ThresholdAlert(models.Model):
    """A share of a cap, or of an account's last grant, that was reached: 50, 80 or 100 %, each once a period.

    The period of a cap is a UTC month. The period of a grant lasts until the next grant. `used` and `held` are those after the
    movement that reached the share (`alerts.sql`). Each row is announced in its own transaction. Rows are kept: a limit has at
    most three in a period.
    """

    class Limit(models.TextChoices):
        TENANT_CAP = "tenant_cap", "cap of the tenant"
        KEY_CAP = "key_cap", "cap of an API key"
        GRANT = "grant", "last grant"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="alerts")
    limit = models.CharField(max_length=10, choices=Limit.choices)
    spender = models.UUIDField(null=True, help_text="The id of the API key whose cap it is.")
    grant_number = models.PositiveBigIntegerField(null=True, help_text="The number of the grant's entry.")
    period_start = models.DateTimeField()
    share = models.PositiveSmallIntegerField(help_text="In per cent of the size.")
    size = CreditsField(help_text="The cap, or the amount of the grant.")
    used = CreditsField()
    held = CreditsField()
    announced = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-pk",)
        indexes = [models.Index(fields=["account"], condition=Q(announced=False), name="alerts_to_announce")]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "period_start", "share"],
                condition=OF_A_TENANT,
                name="each_share_of_a_tenants_cap_once_a_month",
            ),
            models.UniqueConstraint(
                fields=["account", "spender", "period_start", "share"],
                condition=OF_A_KEY,
                name="each_share_of_a_keys_cap_once_a_month",
            ),
            models.UniqueConstraint(
                fields=["account", "grant_number", "share"], condition=OF_A_GRANT, name="each_share_of_a_grant_once"
            ),
            models.CheckConstraint(
                condition=OF_A_TENANT | OF_A_KEY | OF_A_GRANT, name="an_alert_names_its_limit_and_nothing_else"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.share} % of the {self.get_limit_display()}"

    @property
    def left(self) -> Decimal:
        """The credits that could still be held under this limit then."""
        return left_of(self.size, used=self.used, held=self.held)
