"""Measures the shares of tenants of weights 1, 2 and 5 in a full lane, by the calls that arrived at the provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.bench import lane, limits, system
from tests.bench.limits import prepare, wait_until
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

WEIGHTS = (1, 2, 5)
CALLS = 500


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    prepare(provider, limits.TWENTY, latency_ms=lane.LATENCY_MS)
    for weight in WEIGHTS:
        Submitter(f"weight-{weight}", weight=weight).submit_many(400)
    with system.workers(folder, count=2, processes=8):
        wait_until(lambda: provider.accepted() >= CALLS, seconds=90)
    arrivals = [int(key.rpartition("-")[2]) for _, key, admitted in provider.log() if admitted][:CALLS]
    counts = Counter(arrivals)
    told = ", ".join(f"{counts[weight]} of {_due(weight, CALLS):.1f}" for weight in WEIGHTS)
    print(f"\nShares of weights {WEIGHTS} over {CALLS} calls: {told}")
    print(f"furthest from it after any number of calls: {_furthest(arrivals):.2f} calls", flush=True)


def _due(weight: int, calls: int) -> float:
    return calls * weight / sum(WEIGHTS)


def _furthest(arrivals: Sequence[int]) -> float:
    counts: Counter[int] = Counter()
    furthest = 0.0
    for calls, weight in enumerate(arrivals, start=1):
        counts[weight] += 1
        furthest = max(furthest, *(abs(counts[one] - _due(one, calls)) for one in WEIGHTS))
    return furthest
