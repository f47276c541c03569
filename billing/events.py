"""Announces movements of credits by webhook, in the transaction that makes them."""

from __future__ import annotations

from decimal import Decimal

from accounts import webhooks
from accounts.models import EventType, Mode
from billing.models import Account
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
