"""Announces movements of credits by webhook, in the transaction that makes them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts import webhooks
from accounts.models import EventType, Mode
from billing import caps
from billing.models import Account, Reconciliation, ThresholdAlert
from billing.serializers import credits_text


def settled(account: Account, reference: str, *, charged: Decimal, released: Decimal, unknown: Decimal) -> None:
    """Announces what an unknown outcome cost, of a live lookup. `unknown` is the part of the lookup that is not settled yet."""
    data = {
        "reference": reference,
        "provider": account.provider,
        "charged": credits_text(charged),
        "released": credits_text(released),
        "unknown": credits_text(unknown),
    }
    webhooks.record(account.tenant_id, Mode.LIVE, EventType.CREDITS_SETTLED, data)


def drift_found(row: Reconciliation) -> None:
    """Announces a difference between a provider's count and our calls that nothing explains."""
    data = {
        "id": row.pk,
        "credential_id": row.credential_id,
        "provider": row.provider,
        "label": row.key_label,
        "counted": credits_text(row.counted),
        "billed": credits_text(row.own_billed),
        "drift": credits_text(row.drift),
    }
    webhooks.record(row.tenant_id, Mode.LIVE, EventType.CREDITS_DRIFT_FOUND, data)


def thresholds_reached(tenant_id: UUID, alerts: Sequence[ThresholdAlert]) -> None:
    """Announces the shares of a tenant's caps and grants that were reached. Only live lookups use credits."""
    wanted = {EventType.CREDITS_THRESHOLD_REACHED: lambda: map(_reached, alerts)}
    webhooks.record_wanted(tenant_id, Mode.LIVE, wanted)


def _reached(alert: ThresholdAlert) -> dict[str, Any]:
    is_cap = alert.limit != ThresholdAlert.Limit.GRANT
    return {
        "provider": alert.account.provider,
        "limit": alert.limit,
        "api_key_id": alert.spender,
        "share": alert.share,
        "size": credits_text(alert.size),
        "used": credits_text(alert.used),
        "held": credits_text(alert.held),
        "left": credits_text(alert.left),
        "period_start": alert.period_start,
        "renews_at": caps.next_month(alert.period_start) if is_cap else None,
    }
