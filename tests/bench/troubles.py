"""Measures what a killed Redis and a killed worker cost a lane: unused slots, and refusals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from django.conf import settings

from tests.bench import lane, limits, system
from tests.bench.limits import Limit, wait_until
from tests.bench.system import Provider, Workers

TIMES = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    limit: Limit
    processes: int
    apart: int
    """The calls between two troubles."""


ROWS = (
    Row(limit=limits.ONE, processes=4, apart=10),
    Row(limit=limits.TWENTY, processes=8, apart=160),
)


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    print(f"\nTroubles in a full lane, {TIMES} in a run: kill -9 of Redis, which starts again; of one of two workers\n")
    for row in ROWS:
        for name, trouble in (("Redis killed", _kill_redis), ("worker killed", _kill_worker)):
            if words and not any(word in f"{row.limit}, {name}" for word in words):
                continue
            lost, refusals = _suffer(folder, provider, row, trouble)
            each = ", ".join(f"{slots:.2f}" for slots in lost)
            print(f"{row.limit!s:<11} {name:<13} slots lost to each: {each}  refusals {refusals}", flush=True)


def _suffer(folder: Path, provider: Provider, row: Row, trouble: Callable[[Workers], None]) -> tuple[list[float], int]:
    """Makes one trouble in the middle of each stretch of calls."""
    jobs = TIMES * row.apart
    lane.fill(provider, row.limit, jobs=jobs + 4 * row.processes)
    with system.workers(folder, count=2, processes=row.processes) as workers:
        for number in range(TIMES):
            _reach(provider, row, number * row.apart + row.apart // 2)
            trouble(workers)
        _reach(provider, row, jobs)
    log = provider.log()
    accepted = [at for at, _, admitted in log if admitted]
    slots = [(accepted[(number + 1) * row.apart - 1], accepted[number * row.apart]) for number in range(TIMES)]
    return [(end - start) / row.limit.slot_seconds - (row.apart - 1) for end, start in slots], len(log) - len(accepted)


def _reach(provider: Provider, row: Row, calls: int) -> None:
    wait_until(lambda: provider.accepted() >= calls, seconds=60 + 2 * row.apart / row.limit.rate)


def _kill_redis(workers: Workers) -> None:
    """Kills the bench's own Redis, which its supervisor starts again."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    os.kill(client.info("server")["process_id"], signal.SIGKILL)


def _kill_worker(workers: Workers) -> None:
    """Kills a worker with its children and their calls in flight, and starts another."""
    victim = workers.searching[0]
    with suppress(ProcessLookupError):
        os.killpg(victim.pid, signal.SIGKILL)
    workers.replace(victim)
