"""Announces movements of credits by webhook, in the transaction that makes them."""

from __future__ import annotations

from decimal import Decimal

from accounts import webhooks
from accounts.models import EventType, Mode
from billing.models import Account, Reconciliation
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
    credential = row.credential
    data = {
        "id": row.pk,
        "credential_id": credential.pk,
        "provider": credential.provider,
        "label": credential.label,
        "counted": credits_text(row.counted),
        "billed": credits_text(row.billed),
        "drift": credits_text(row.drift),
    }
    webhooks.record(credential.tenant_id, Mode.LIVE, EventType.CREDITS_DRIFT_FOUND, data)
