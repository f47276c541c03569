"""The lane under a backlog: its use of the limit, refusals, executions, Redis commands and processor time a call; ours, and
the plain design in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen

import redis
from django.conf import settings

from searches.models import Lane, Lookup
from tests.bench import limits, system
from tests.bench.limits import Limit, prepare, wait_until
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

LATENCY_MS = 300
TENANTS = 4


@dataclass(frozen=True, kw_only=True)
class Row:
    """`workers`: how many, and the processes of each. `plain`: so many calls for the plain design, 0 for none. `beside`: how
    many busy processes want the processors too.
    """

    limit: Limit
    jobs: int
    workers: tuple[int, int]
    plain: int = 0
    beside: int = 0

    @property
    def name(self) -> str:
        return f"{self.limit}, {self.processes}{', stress' if self.beside else ''}"

    @property
    def processes(self) -> int:
        return self.workers[0] * self.workers[1]


ROWS = (
    Row(limit=limits.ONE, jobs=60, workers=(1, 1)),
    Row(limit=limits.ONE, jobs=60, workers=(2, 1)),
    Row(limit=limits.ONE, jobs=60, workers=(2, 4), plain=30),
    Row(limit=limits.ONE, jobs=60, workers=(2, 4), beside=4),
    Row(limit=limits.TWENTY, jobs=1000, workers=(2, 8), plain=600),
    Row(limit=limits.TWENTY, jobs=400, workers=(2, 8), beside=4),
    Row(limit=limits.TWENTY_SPACED, jobs=1000, workers=(2, 8), plain=600),
    Row(limit=limits.FIFTY, jobs=3000, workers=(2, 16), plain=1000),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    use: float
    refusals: int
    calls: int
    executions: float
    commands: float
    cpu_ms: float
    guard_ms: float = 0.0

    def __str__(self) -> str:
        return (
            f"use {self.use:6.2%}  refusals {self.refusals:3d} in {self.calls:4d}  executions {self.executions:5.2f}"
            f"  Redis commands {self.commands:5.1f}  worker CPU {self.cpu_ms:5.1f} ms  learned guard {self.guard_ms:5.2f} ms"
        )


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    print(f"\nThe lane (limit, worker processes), answers after {LATENCY_MS} ms; the last three figures are a call's\n")
    for row in ROWS:
        if words and not any(word in row.name for word in words):
            continue
        with system.busy(row.beside, folder):
            print(f"{row.name:<18} ours   {_ours(folder, provider, row)}", flush=True)
        if row.plain:
            print(f"{row.name:<18} plain  {_plain(folder, provider, row)}", flush=True)


def _ours(folder: Path, provider: Provider, row: Row) -> Figures:
    fill(provider, row.limit, jobs=row.jobs)
    with system.workers(folder, count=row.workers[0], processes=row.workers[1]) as running:
        meter = Meter(running.searching)
        wait_until(
            lambda: not Lookup.objects.exclude(status__in=Lookup.ENDED).exists(),
            seconds=30 + 1.5 * row.jobs / row.limit.rate,
        )
        figures = meter.read(provider, row.limit, system.executions("config", "searches.tasks.run"))
        return replace(figures, guard_ms=Lane.objects.get(pk="modash").limiter.margin_ms())


def fill(provider: Provider, limit: Limit, *, jobs: int) -> None:
    """Submits a backlog of a few tenants before any worker runs."""
    prepare(provider, limit, latency_ms=LATENCY_MS)
    for number in range(TENANTS):
        Submitter(f"tenant-{number}").submit_many(jobs // TENANTS)
    redis.Redis.from_url(settings.REDIS_URL).flushdb()


def _plain(folder: Path, provider: Provider, row: Row) -> Figures:
    from tests.bench.plain import call

    prepare(provider, row.limit, latency_ms=LATENCY_MS)
    for _ in range(row.plain):
        call.delay(provider.url, "plain", row.limit.rate, row.limit.calls)
    count, processes = row.workers
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                system.process(
                    *system.celery("tests.bench.plain", "-c", str(processes), "-n", f"plain{number}@bench"),
                    log=folder / f"plain-{number}.log",
                )
            )
            for number in range(count)
        ]
        meter = Meter(running)
        wait_until(lambda: provider.accepted() >= row.plain, seconds=60 + 4 * row.plain / row.limit.rate)
        return meter.read(provider, row.limit, system.executions("tests.bench.plain", "tests.bench.plain.call"))


class Meter:
    """Measures what a run used, from its construction until `read`."""

    def __init__(self, processes: list[Popen[str]]) -> None:
        self.processes = processes
        self.redis = redis.Redis.from_url(settings.REDIS_URL)
        self.commands = self._commands()
        self.cpu = system.cpu_seconds(processes)

    def read(self, provider: Provider, limit: Limit, executions: int) -> Figures:
        cpu, commands = system.cpu_seconds(self.processes) - self.cpu, self._commands() - self.commands
        log = provider.log()
        accepted = [at for at, _, admitted in log if admitted]
        seconds = accepted[-1] - accepted[0]
        return Figures(
            use=(len(accepted) - 1) / limit.rate / seconds,
            refusals=len(log) - len(accepted),
            calls=len(log),
            executions=executions / len(log),
            commands=commands / len(log),
            cpu_ms=1000 * cpu / len(log),
        )

    def _commands(self) -> int:
        return int(self.redis.info("stats")["total_commands_processed"])
