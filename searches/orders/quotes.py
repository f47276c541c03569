"""Quotes what is in force for the sources of an order: policy, credential and price, for all its lookups in one query.

The query alone (`quotes.sql`) decides which price is in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Model

from accounts.models import ApiKey
from billing.models import Price
from providers import policies, registry
from providers.models import Credential, Policy
from searches import composite_rows

ROWS: Mapping[str, type[Model]] = {"policy": Policy, "credential": Credential, "price": Price}
QUOTES = f"""
SELECT moment, {composite_rows.columns(ROWS)} FROM searches_quotes(%s, %s::text[], %s::text[], %s::uuid[], %s::text[])
"""


@dataclass(frozen=True, kw_only=True)
class Quote:
    """The policy, credential and price in force for one source at `moment`. Credential and price may be missing, and the policy
    need not be written yet.
    """

    moment: datetime
    policy: Policy
    credential: Credential | None
    price: Price | None


def of(api_key: ApiKey, asked: Iterable[tuple[str, str | None]]) -> list[Quote]:
    """Returns a quote for each source with its credential: an id or a label, or None for the tenant's default."""
    pairs = list(asked)
    providers = [registry.adapter(source).provider for source, _ in pairs]
    ids = [_uuid(name) for _, name in pairs]
    labels = [name if id is None else None for (_, name), id in zip(pairs, ids, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(QUOTES, (api_key.tenant_id, [source for source, _ in pairs], providers, ids, labels))
        rows = cursor.fetchall()
    return [_quote(api_key, provider, *row) for provider, row in zip(providers, rows, strict=True)]


def _quote(api_key: ApiKey, provider: str, moment: datetime, *values: object) -> Quote:
    policy, credential, price = composite_rows.instances(ROWS, values)
    present = policies.in_force(policy or policies.documented(provider), api_key.mode)
    return Quote(moment=moment, policy=present, credential=credential, price=price)


def _uuid(name: str | None) -> UUID | None:
    try:
        return UUID(name) if name else None
    except ValueError:
        return None
