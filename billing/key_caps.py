"""Reads and sets the caps of API keys. The operators' pages set them too (`cap_admin`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from accounts.models import ApiKey
from billing import alerts, ledger
from billing.models import KeyCap


def of(keys: Iterable[ApiKey]) -> dict[UUID, dict[str, Decimal]]:
    """Returns the caps of each key by provider, in one query."""
    found: dict[UUID, dict[str, Decimal]] = {key.pk: {} for key in keys}
    for cap in KeyCap.objects.filter(api_key__in=found).order_by("provider"):
        found[cap.api_key_id][cap.provider] = cap.amount
    return found


def in_force(key: ApiKey) -> dict[str, Decimal]:
    """Returns the lowest cap with each provider under which the key counts: its own, or that of a key it comes from."""
    lowest: dict[str, Decimal] = {}
    for cap in _over(key):
        lowest[cap.provider] = min(cap.amount, lowest.get(cap.provider, cap.amount))
    return lowest


def bounding(key: ApiKey) -> set[UUID]:
    """Returns the ids of the keys under whose caps the key counts: itself, and those it comes from."""
    return {cap.api_key_id for cap in _over(key)}


def _over(key: ApiKey) -> QuerySet[KeyCap]:
    return KeyCap.objects.filter(api_key__in=[key.pk, *key.ancestors])


@transaction.atomic
def replace(key: ApiKey, caps: Mapping[str, Decimal]) -> None:
    """Gives a key these caps and no others. Announces the shares that what is used has reached already.

    Makes the accounts too, with which the tenant sees the caps. Locks accounts in the order of their providers.
    """
    before = of([key])[key.pk]
    KeyCap.objects.filter(api_key=key).exclude(provider__in=caps).delete()
    for provider in sorted(caps):
        if before.get(provider) != caps[provider]:
            KeyCap.objects.update_or_create(api_key=key, provider=provider, defaults={"amount": caps[provider]})
            alerts.cap_changed(ledger.account_of(key.tenant, provider), key.pk)
