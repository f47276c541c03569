"""What money announces, in the transaction that moves it."""

from __future__ import annotations

from decimal import Decimal

from accounts import webhooks
from accounts.models import EventType, Mode
from billing.models import Account
from billing.serializers import credits_text


def settled(account: Account, reference: str, *, charged: Decimal, released: Decimal, unknown: Decimal) -> None:
    """What an unknown outcome cost is known. `unknown`: what still is not, of the same lookup. Only live ones cost anything."""
    data = {
        "reference": reference,
        "provider": account.provider,
        "charged": credits_text(charged),
        "released": credits_text(released),
        "unknown": credits_text(unknown),
    }
    webhooks.record(account.tenant_id, Mode.LIVE, EventType.CREDITS_SETTLED, data)
