"""Announces the shares of caps and grants that were reached, each once a period, in the transaction that reached it.

The database notes them (`alerts.sql`): a movement counts and compares there, and a cap that was changed is compared here.
`ledger` asks after each movement, in the same round trip, whether anything was noted.
"""

from __future__ import annotations

from itertools import groupby
from uuid import UUID

from django.db import connection

from billing import events
from billing.models import Account, ThresholdAlert

NOTE = "SELECT billing_note_shares_of_caps(%s, %s)"


def cap_changed(account: Account, api_key_id: UUID | None = None) -> None:
    """Announces the shares that are reached now of the tenant's cap, and of an API key's, for want of a movement that does.

    The caller has written the cap in the same transaction. The account is locked here.
    """
    with connection.cursor() as cursor:
        cursor.execute(NOTE, [account.pk, api_key_id])
    announce()


def announce() -> None:
    """Announces what this transaction has noted, the smallest share first."""
    due = ThresholdAlert.objects.filter(announced=False).select_for_update(of=("self",), skip_locked=True)
    noted = list(due.select_related("account").order_by("account__tenant_id", "account__provider", "limit", "share"))
    ThresholdAlert.objects.filter(pk__in=[alert.pk for alert in noted]).update(announced=True)
    for tenant_id, alerts in groupby(noted, lambda alert: alert.account.tenant_id):
        events.thresholds_reached(tenant_id, list(alerts))
