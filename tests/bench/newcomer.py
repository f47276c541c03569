"""Counts the calls of others between a new tenant's submit and its first call: behind a neighbour's 10,000 waiting lookups over
100 API keys, alone and among others with work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import redis
from django.conf import settings

from accounts import keys
from accounts.models import Mode
from tests.bench import lane, limits, system
from tests.bench.limits import prepare, wait_until
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

WAITING, KEYS, OTHERS, TIMES = 10_000, 100, 9, 5


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    prepare(provider, limits.TWENTY, latency_ms=lane.LATENCY_MS)
    print(f"\nA newcomer behind a neighbour's {WAITING:,} over {KEYS} API keys, {limits.TWENTY}\n")
    neighbour = Submitter("neighbour")
    own = [keys.issue(neighbour.tenant, Mode.LIVE)[0] for _ in range(KEYS)]
    before, began = _redis_bytes(), time.monotonic()
    neighbour.submit_many(WAITING, keys=own)
    seconds, grown = time.monotonic() - began, _redis_bytes() - before
    print(f"submitted at {WAITING / seconds:.0f} lookups a second; Redis grew by {grown / WAITING:.1f} bytes a lookup")
    with system.workers(folder, count=2, processes=8):
        wait_until(lambda: provider.accepted() > 20, seconds=60)
        _come(provider, working=1)
        for number in range(OTHERS):
            Submitter(f"other-{number}").submit_many(100)
        _come(provider, working=1 + OTHERS)


def _come(provider: Provider, *, working: int) -> None:
    slots = [_slots_before(provider, f"new-{working}-{number}") for number in range(TIMES)]
    told = ", ".join(map(str, slots))
    print(f"tenants with work: {working:2d}  slots before the newcomer's: {told}  (bound: {working + 2})", flush=True)


def _slots_before(provider: Provider, name: str) -> int:
    newcomer = Submitter(name)
    began = time.monotonic()
    newcomer.submit()
    wait_until(lambda: any(key.endswith(name) for _, key, _ in provider.log()), seconds=60)
    arrivals = [key for arrived, key, _ in provider.log() if arrived >= began]
    return next(number for number, key in enumerate(arrivals) if key.endswith(name))


def _redis_bytes() -> int:
    return int(redis.Redis.from_url(settings.REDIS_URL).info("memory")["used_memory_dataset"])
