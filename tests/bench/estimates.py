"""Measures the error of `estimated_start_at` without later submits: the estimates of all waiting lookups at some moments against
the times of their next calls. Tenants have several weights, lookups one to three pages, and several priorities.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

from accounts import clock
from searches.lanes import estimates
from searches.models import Call, Lookup, QueueState
from tests.bench import limits, system
from tests.bench.limits import prepare, wait_until
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

WEIGHTS = (1, 1, 2, 3, 5)
LOOKUPS = 60  # of each tenant; two pages in the mean
LIMITS = (20, 100, 150)
# Calls after which all that wait are asked for their estimates.
MOMENTS = (20, 200, 400)


def _has_accepted(provider: Provider, calls: int) -> bool:
    return provider.accepted() >= calls


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    prepare(provider, limits.TEN, latency_ms=100, hits=1)
    chance = random.Random(4)
    for number, weight in enumerate(WEIGHTS):
        tenant = Submitter(f"tenant-{number}", weight=weight)
        for _ in range(LOOKUPS):
            tenant.submit(limits=[chance.choice(LIMITS)], priority=chance.choice((-5, 0, 0, 5)))
    told: list[tuple[datetime, dict[UUID, datetime]]] = []
    with system.workers(folder, count=2, processes=4):
        for calls in MOMENTS:
            wait_until(partial(_has_accepted, provider, calls), seconds=180)
            told.append((clock.now(), _estimates()))
        wait_until(lambda: not Lookup.objects.exclude(status__in=Lookup.ENDED).exists(), seconds=180)
    print(
        f"\nestimated_start_at, {limits.TEN}, {len(WEIGHTS)} tenants of weights {WEIGHTS}, 1 to 3 pages, priorities\n"
    )
    for calls, (moment, promised) in zip(MOMENTS, told, strict=True):
        print(f"after {calls:3d} calls: {_compared(moment, promised)}", flush=True)


def _estimates() -> dict[UUID, datetime]:
    waiting = list(Lookup.objects.filter(queue_state=QueueState.READY))
    found = estimates.forecast(waiting)
    return {pk: at.estimated_start_at for pk, at in found.items() if at.estimated_start_at is not None}


def _compared(moment: datetime, promised: dict[UUID, datetime]) -> str:
    errors, within = [], 0
    for lookup, estimate in promised.items():
        call = Call.objects.filter(lookup=lookup, armed_at__gt=moment, sent_at__isnull=False).order_by("pk").first()
        if call is None or call.sent_at is None:
            raise SystemExit(f"No call of lookup {lookup} followed.")
        error = abs((call.sent_at - estimate).total_seconds())
        errors.append(error)
        within += error <= max(2.0, 0.1 * (call.sent_at - moment).total_seconds())
    errors.sort()
    return (
        f"{within / len(errors):.1%} of {len(errors)} within the greater of 2 s and 10 %; off by "
        f"{statistics.median(errors):.2f} s in the median, 90 % {errors[int(len(errors) * 0.9)]:.2f} s, most {errors[-1]:.2f} s"
    )
