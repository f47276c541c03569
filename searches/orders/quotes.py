"""What an order goes by: each source's policy, price and credential as they are now, fetched for all its lookups at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Model

from billing.models import Price
from providers import registry
from providers.models import Credential, Policy
from searches import composite_rows

ROWS: Mapping[str, type[Model]] = {"policy": Policy, "credential": Credential, "price": Price}
TERMS = f"""
SELECT moment, {composite_rows.columns(ROWS)} FROM searches_terms(%s, %s::text[], %s::text[], %s::uuid[], %s::text[])
"""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What holds for one source at `moment`; None where there is no such row."""

    moment: datetime
    policy: Policy | None
    credential: Credential | None
    price: Price | None


def of(tenant_id: UUID, asked: Sequence[tuple[str, str | None]]) -> list[Terms]:
    """Of each source with the credential, by id or label, that it is asked with; None for the tenant's default."""
    sources = [source for source, _ in asked]
    providers = [registry.adapter(source).provider for source in sources]
    ids = [_uuid(name) for _, name in asked]
    labels = [name if id is None else None for (_, name), id in zip(asked, ids, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(TERMS, (tenant_id, sources, providers, ids, labels))
        return [_terms(moment, *composite_rows.instances(ROWS, values)) for moment, *values in cursor.fetchall()]


def _terms(moment: datetime, policy: Policy | None, credential: Credential | None, price: Price | None) -> Terms:
    return Terms(moment=moment, policy=policy, credential=credential, price=price)


def _uuid(name: str | None) -> UUID | None:
    try:
        return UUID(name) if name else None
    except ValueError:
        return None
