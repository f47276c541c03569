"""Measures the time of a claim and of an estimate by the number of waiting lookups, and checks that claims stay in order while
many processes claim and submit.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event
from uuid import UUID

from django.db import connection, transaction

from providers import policies
from providers.models import Policy
from searches.lanes import estimates, queue
from searches.models import Lookup, QueueState
from tests.bench import backlog, limits
from tests.bench.limits import prepare
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

SIZES = ((1_000, 10), (100_000, 1_000), (1_000_000, 10_000))
CLAIMS, FORECASTS = 500, 200
CLAIMERS, SUBMITTERS, RACED = 4, 8, 2_000
LANE = "modash"
LEASE = timedelta(minutes=5)
# Which tenants and lookups should have been claimed before the claimed one, as the claim's own transaction sees it while the lane
# is still locked.
BEFORE = """
SELECT other.tenant_id FROM searches_tenantqueue other JOIN accounts_tenant tenant ON tenant.id = other.tenant_id
WHERE other.lane_id = %(lane)s AND other.ready > 0 AND tenant.suspended_at IS NULL AND other.virtual_time < (
    SELECT tenant_queue.virtual_time - %(step)s / tenant.weight
    FROM searches_tenantqueue tenant_queue JOIN accounts_tenant tenant ON tenant.id = tenant_queue.tenant_id
    WHERE tenant_queue.lane_id = %(lane)s AND tenant_queue.tenant_id = %(tenant)s)
UNION ALL
SELECT tenant_id FROM searches_lookup
WHERE lane_id = %(lane)s AND tenant_id = %(tenant)s AND queue_state = 'ready' AND sort_key < %(sort_key)s
"""


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    print("\nA claim (median, 99 %), position and start of one lookup (median, most), in ms; bytes a waiting lookup\n")
    for lookups, tenants in SIZES:
        if words and str(lookups) not in words:
            continue
        prepare(provider, limits.TEN, latency_ms=0)
        backlog.write(lookups=lookups, tenants=tenants)
        size = backlog.bytes_a_lookup(lookups)
        asked = _times(_forecaster(), FORECASTS)
        claimed = _times(_claim, CLAIMS)
        print(
            f"{lookups:9,} of {tenants:6,} tenants  claim {statistics.median(claimed):5.2f} {claimed[-CLAIMS // 100]:5.2f}"
            f"  position {statistics.median(asked):5.2f} {asked[-1]:5.2f}  bytes {size:,.0f}",
            flush=True,
        )
    _race()


def _times(act: Callable[[], object], count: int) -> list[float]:
    """Returns the times in milliseconds, sorted, after a few to warm up."""
    for _ in range(20):
        act()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        act()
        taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)


def _claim() -> None:
    if queue.claim(LANE, _policy(), lease=LEASE) is None:
        raise SystemExit("Nothing was there to claim.")


def _policy() -> Policy:
    return Policy(provider=LANE)


def _forecaster() -> Callable[[], object]:
    ids = list(Lookup.objects.filter(queue_state=QueueState.READY).order_by("sort_key").values_list("pk", flat=True))
    chosen = random.Random(4).sample(ids, min(len(ids), FORECASTS))
    rows = iter(Lookup.objects.filter(pk__in=chosen).order_by("?"))
    lookups = [next(rows) for _ in chosen]
    asked = iter(lookups * 2)
    return lambda: estimates.forecast([next(asked)])


@dataclass(kw_only=True)
class Race:
    """The claimed lookups, the tenants that were passed over, and the times of each tenant's submits."""

    claimed: list[UUID] = field(default_factory=list)
    passed: list[tuple[UUID, float, float]] = field(default_factory=list)
    submits: list[tuple[UUID, float, float]] = field(default_factory=list)
    over: Event = field(default_factory=Event)


def _race() -> None:
    """Claims and submits at once, and counts the tenants that were passed over.

    To pass over a tenant while its own submit locks its queue is the rule, and no disorder.
    """
    race = Race()
    # With a weight at which they are claimed all the time, behind however many others.
    submitters = [Submitter(f"submitter-{number}", weight=1000) for number in range(SUBMITTERS)]
    for submitter in submitters:
        submitter.submit_many(200)
    began = time.monotonic()
    with ThreadPoolExecutor(CLAIMERS + SUBMITTERS) as pool:
        submitting = [pool.submit(_closing, _keep_submitting, race, submitter) for submitter in submitters]
        claiming = [pool.submit(_closing, _keep_claiming, race) for _ in range(CLAIMERS)]
        for claimer in claiming:
            claimer.result()
        race.over.set()
        for submitting_one in submitting:
            submitting_one.result()
    seconds = time.monotonic() - began
    excused = sum(any(_overlap(passed, submit) for submit in race.submits) for passed in race.passed)
    print(
        f"\n{CLAIMERS} claimers, {SUBMITTERS} submitters for {seconds:.0f} s: {len(race.claimed)} claims, "
        f"{len(race.submits)} submits; out of order {len(race.passed) - excused}, "
        f"doubled {len(race.claimed) - len(set(race.claimed))}, "
        f"passed over while their own submit held their queue {excused}",
        flush=True,
    )


def _closing(act: Callable[..., None], *arguments: object) -> None:
    try:
        act(*arguments)
    finally:
        connection.close()


def _keep_claiming(race: Race) -> None:
    policy = policies.of(LANE)
    while len(race.claimed) < RACED:
        began = time.monotonic()
        with suppress(queue.Contended), transaction.atomic(), connection.cursor() as cursor:
            claimed = queue.claim(LANE, policy, lease=LEASE)
            assert claimed is not None
            lookup = claimed.lookup
            values: dict[str, str | int | UUID] = {
                "lane": LANE,
                "tenant": lookup.tenant_id,
                "sort_key": lookup.sort_key,
                "step": queue.STEP,
            }
            cursor.execute(BEFORE, values)
            passed = cursor.fetchall()
            race.claimed.append(lookup.pk)
            race.passed += [(tenant, began, time.monotonic()) for (tenant,) in passed]


def _keep_submitting(race: Race, submitter: Submitter) -> None:
    while not race.over.is_set():
        began = time.monotonic()
        submitter.submit()
        race.submits.append((submitter.tenant.pk, began, time.monotonic()))


def _overlap(passed: tuple[UUID, float, float], submit: tuple[UUID, float, float]) -> bool:
    return passed[0] == submit[0] and passed[1] < submit[2] and submit[1] < passed[2]
