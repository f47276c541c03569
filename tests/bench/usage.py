"""Measures reports of usage and pages of entries over a ledger of 1,000,000 entries, through the API, beside a sum of the
entries; and a charge that counts usage beside one that does not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Tenant
from billing import entry_list, ledger
from billing.models import Account, Entry, Usage, UsageByMetadata
from tests.bench import filling, limits, variants
from tests.bench.limits import prepare
from tests.bench.system import Provider

DAYS = 365
COUNTING = "billing_count_usage"
REPORTS, WARMING = 15, 3
ROUNDS, CHARGED, WARM = 10, 60, 20
# An entry is written today. The usage of each day is moved back to where it would be.
TO_THE_PAST = "UPDATE {} SET day = day - %s WHERE day = CURRENT_DATE"
FROM_ENTRIES = """
SELECT (created_at AT TIME ZONE 'UTC')::date, sum(amount) FROM billing_entry WHERE account_id = %s AND kind = 'charge' GROUP BY 1
"""


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    prepare(provider, limits.TEN, latency_ms=0)
    tenant = Tenant.objects.create(name="usage")
    account = ledger.account_of(tenant, "modash")
    if not words or "charge" in words:
        _charges(tenant)
    if not words or "reports" in words:
        _fill(account)
        _reports(account)


def _charges(tenant: Tenant) -> None:
    """Measures the function that charges, in turns with usage and without."""
    taken: dict[str, list[float]] = {"without": [], "with": []}
    first = 10**9
    for _ in range(ROUNDS):
        for name, statement in (("without", variants.emptied(COUNTING)), ("with", variants.present(COUNTING))):
            variants.install(statement)
            times = []
            for _ in range(CHARGED):
                first += 2
                times.append(_charge(filling.values(tenant, first=first, lookups=1)))
            # The first ones make the plans.
            taken[name] += times[WARM:]
    for part, at in (("median", 0.5), ("fastest tenth", 0.1)):
        without, counted = (sorted(times)[int(at * len(times))] for times in taken.values())
        print(f"A charge and release, {part}: {without:.3f} ms without usage, {counted:.3f} ms with it", flush=True)


def _charge(values: dict[str, Any]) -> float:
    """Returns the milliseconds of a charge and its release."""
    with connection.cursor() as cursor:
        cursor.execute(filling.HOLD, values)
        began = time.perf_counter()
        cursor.execute(filling.CHARGE, values)
        return 1000 * (time.perf_counter() - began)


def _fill(account: Account) -> None:
    began = time.monotonic()
    lookups = 0
    with connection.cursor() as cursor:
        for day in range(DAYS, 0, -1):
            while lookups < (DAYS - day + 1) * filling.ENTRIES / filling.ENTRIES_A_LOOKUP / DAYS:
                filling.spend(account.tenant, first=lookups)
                lookups += filling.LOOKUPS_A_STATEMENT
            for model in (Usage, UsageByMetadata):
                cursor.execute(TO_THE_PAST.format(model._meta.db_table), [day])
    filling.vacuum()
    print(
        f"\n{Entry.objects.count():,} entries of one account written in {time.monotonic() - began:.0f} s; {DAYS} days, "
        f"{filling.KEYS} keys, 4 sources: {Usage.objects.count():,} rows of usage, {UsageByMetadata.objects.count():,} by "
        "metadata",
        flush=True,
    )


def _reports(account: Account) -> None:
    _, secret = keys.issue(account.tenant, Mode.LIVE)
    api = APIClient(headers={"Authorization": f"Bearer {secret}", "Host": "localhost"})
    # All entries are of the last minutes, and the margin of a clock that is set back would hold them all.
    entry_list.CLOCK_STEP = timedelta(seconds=1)
    middle = Entry.objects.get(account=account, number=filling.ENTRIES // 2).created_at
    for path, query in (
        ("/v1/usage", {"group_by": "day"}),
        ("/v1/usage", {"group_by": "day,source"}),
        ("/v1/usage", {"group_by": "day,api_key"}),
        ("/v1/usage", {"group_by": "metadata.campaign"}),
        ("/v1/usage", {"group_by": "metadata.campaign,source"}),
        ("/v1/usage", {"group_by": "metadata.order"}),
        ("/v1/credits/entries", {}),
        ("/v1/credits/entries", {"created_before": middle.isoformat()}),
        ("/v1/credits/entries", {"kind": "grant"}),
        ("/v1/credits/entries", {"kind": "charge", "created_before": middle.isoformat()}),
    ):
        _say(f"GET {path} {query}", partial(_get, api, path, query))
    _say("a page of 100 entries behind nine tenths of them", lambda: _deep(account))
    _say("the same by day from the entries", lambda: _from_entries(account.pk))
    began = time.perf_counter()
    length = len(api.get("/v1/credits/entries", headers={"Accept": "text/csv"}).getvalue())
    print(f"all entries as CSV: {length / 1e6:.0f} MB in {time.perf_counter() - began:.0f} s", flush=True)


def _say(what: str, act: Callable[[], object]) -> None:
    times = []
    for _ in range(WARMING + REPORTS):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    del times[:WARMING]
    print(
        f"{what}: {statistics.median(times):.1f} ms in the median of {REPORTS}, {max(times):.1f} ms at most", flush=True
    )


def _get(api: APIClient, path: str, query: Mapping[str, str]) -> None:
    response = api.get(path, {**query, "limit": "100"})
    if response.status_code != 200:
        raise SystemExit(response.content.decode())


def _deep(account: Account) -> None:
    after = [str(account.pk), str(filling.ENTRIES // 10)]
    entry_list.page(Account.objects.filter(pk=account.pk), {}, after, 101)


def _from_entries(account_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FROM_ENTRIES, [account_id])
        cursor.fetchall()
