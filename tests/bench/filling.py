"""Fills a ledger with so many entries, by the functions that the product calls: a hold, a charge and a release of each lookup.

`ENTRIES=20000 python -m tests.bench ledger usage` shortens a run to try it.
"""

from __future__ import annotations

import os
from typing import Any

from django.db import connection

from accounts.models import Tenant
from providers import registry

ENTRIES = int(os.environ.get("ENTRIES") or 1_000_000)
ENTRIES_A_LOOKUP, LOOKUPS_A_STATEMENT = 3, 100
KEYS, CAMPAIGNS = 5, 20
# Sources and campaigns take turns, and API keys by statement. Each lookup has a number of its own, as long as an id.
HOLD = """
SELECT billing_hold_credits(
    %(tenant)s, 'modash', array_agg('lookup:' || lpad((%(first)s + n)::text, 36, '0')), array_agg(2::numeric),
    array_agg('hold:lookup:' || lpad((%(first)s + n)::text, 36, '0')), array_agg(uuidv7()),
    array_agg((%(sources)s::text[])[1 + n %% 4]),
    array_agg(jsonb_build_object('campaign', (n %% %(campaigns)s)::text, 'order', (%(first)s + n)::text)),
    md5((%(first)s / %(lookups)s %% %(keys)s)::text)::uuid, '', NULL, NULL
) FROM generate_series(1, %(lookups)s) AS n
"""
CHARGE = """
SELECT count(billing_charge_and_release(
    'lookup:' || lpad((%(first)s + n)::text, 36, '0'), 0.525, NULL, lpad((%(first)s + n)::text, 36, '0'),
    'lookup:' || lpad((%(first)s + n)::text, 36, '0'), uuidv7(), uuidv7()
)) FROM generate_series(1, %(lookups)s) AS n
"""
VACUUM = "VACUUM ANALYZE billing_entry, billing_hold, billing_account, billing_usage, billing_usagebymetadata"


def spend(tenant: Tenant, *, first: int, lookups: int = LOOKUPS_A_STATEMENT) -> None:
    """Holds for lookups with the numbers behind `first`, and ends them."""
    numbers = values(tenant, first=first, lookups=lookups)
    with connection.cursor() as cursor:
        cursor.execute(HOLD, numbers)
        cursor.execute(CHARGE, numbers)


def values(tenant: Tenant, *, first: int, lookups: int) -> dict[str, Any]:
    return {
        "tenant": tenant.pk,
        "first": first,
        "lookups": lookups,
        "sources": [*sorted(registry.ADAPTERS)],
        "keys": KEYS,
        "campaigns": CAMPAIGNS,
    }


def vacuum() -> None:
    with connection.cursor() as cursor:
        cursor.execute(VACUUM)
