"""The lane under a backlog: its use of the limit, refusals, executions, messages and processor time a call, and how a
newcomer fares behind a neighbour's backlog; ours, and the plain design in the same run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import redis
from django.conf import settings
from django.core.management import call_command

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from providers import credentials, policies, registry
from providers.models import Policy
from searches import intake, pictures
from searches.models import Image, Lookup
from tests.bench import system
from tests.bench.picture import jpeg
from tests.bench.system import Provider

PROCESSES, CONCURRENCY = 2, 8
LATENCY_MS = 300


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A server's limit and the policy that meets it. `jobs`: the backlog."""

    name: str
    kind: str
    calls: int
    window_ms: int
    guard_ms: str
    jobs: int

    @property
    def rate(self) -> float:
        return self.calls * 1000 / self.window_ms


SETTINGS = (
    Setting(name="1/s spacing", kind="spacing", calls=1, window_ms=1000, guard_ms="3", jobs=60),
    Setting(name="1/s window", kind="window", calls=1, window_ms=1000, guard_ms="3", jobs=60),
    Setting(name="20/s window", kind="window", calls=20, window_ms=1000, guard_ms="3", jobs=1000),
    Setting(name="20/s spacing", kind="spacing", calls=1, window_ms=50, guard_ms="1", jobs=1000),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    use: float
    refusals: int
    executions: float
    commands: float
    cpu_ms: float

    def __str__(self) -> str:
        return (
            f"use {self.use:6.2%}  refusals {self.refusals:4d}  executions a call {self.executions:5.2f}  "
            f"Redis commands a call {self.commands:5.1f}  worker CPU {self.cpu_ms:5.1f} ms a call"
        )


def measure(folder: Path, provider: Provider, wanted: Sequence[str]) -> None:
    print(f"\nThe lane, {PROCESSES} worker processes of {CONCURRENCY}, answers after {LATENCY_MS} ms\n")
    for setting in SETTINGS:
        if wanted and not any(word in setting.name for word in wanted):
            continue
        print(f"{setting.name:<13} ours   {_ours(folder, provider, setting)}", flush=True)
        print(f"{setting.name:<13} plain  {_plain(folder, provider, setting)}", flush=True)


def newcomer(folder: Path, provider: Provider, *, times: int = 5) -> None:
    """How many of a neighbour's 200 go before a newcomer's first, from the moment it submits."""
    setting = Setting(name="newcomer", kind="window", calls=10, window_ms=1000, guard_ms="2", jobs=200)
    print("\nA newcomer behind a neighbour's 200, in slots that pass before its own")
    slots = [_slots_before_a_newcomer(folder, provider, setting, after=20 + number * 3) for number in range(times)]
    print(f"slots: {', '.join(map(str, slots))}", flush=True)


def _slots_before_a_newcomer(folder: Path, provider: Provider, setting: Setting, *, after: int) -> int:
    prepare(provider, setting)
    with system.workers(folder, count=PROCESSES, concurrency=CONCURRENCY):
        neighbour = Submitter("neighbour")
        for _ in range(setting.jobs):
            neighbour.submit()
        wait_until(lambda: len(provider.log()) > after, seconds=60)
        newcomer = Submitter("newcomer")
        began = time.monotonic()
        newcomer.submit()
        wait_until(lambda: any(key.endswith("newcomer") for _, key, _ in provider.log()), seconds=60)
    arrivals = [key for arrived, key, _ in provider.log() if arrived >= began]
    return next(number for number, key in enumerate(arrivals) if key.endswith("newcomer"))


class Submitter:
    """A tenant that sends one picture again and again."""

    def __init__(self, name: str) -> None:
        tenant = Tenant.objects.create(name=name)
        self.key: ApiKey = keys.issue(tenant, Mode.LIVE)[0]
        credentials.store(tenant, "modash", f"secret-of-{name}")
        self.fit = {"modash": registry.adapter("tiktok-creators").picture_limits}
        self.image: Image | None = None

    def submit(self) -> None:
        with self._picture() as picture:
            order = intake.Order(lookups=[intake.LookupOrder(source="tiktok-creators", parameters={}, limit=20)])
            self.image = intake.submit(self.key, order, picture).image

    @contextmanager
    def _picture(self) -> Iterator[intake.Picture]:
        if self.image is None:
            with pictures.received(self.key.tenant, jpeg(), fit=self.fit) as picture:
                yield picture
        else:
            with pictures.known(self.image, fit=self.fit) as picture:
                yield picture


def prepare(provider: Provider, setting: Setting, *, latency_ms: int = LATENCY_MS) -> None:
    """Empty servers, the provider's limit, and the policy that meets it."""
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    call_command("flush", interactive=False, verbosity=0)
    provider.set(kind=setting.kind, calls=setting.calls, window_ms=setting.window_ms, latency_ms=latency_ms)
    policies.of("modash")
    Policy.objects.filter(pk="modash").update(
        calls=setting.calls, window_ms=setting.window_ms, guard_ms=setting.guard_ms, max_in_flight=24
    )


def wait_until(condition: object, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit("What was waited for did not come.")
        time.sleep(0.05)


def _ours(folder: Path, provider: Provider, setting: Setting) -> Figures:
    prepare(provider, setting)
    submitters = [Submitter(f"tenant-{number}") for number in range(4)]
    for number in range(setting.jobs):
        submitters[number % 4].submit()
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    with system.workers(folder, count=PROCESSES, concurrency=CONCURRENCY) as running:
        meter = Meter(running)
        wait_until(
            lambda: not Lookup.objects.exclude(status__in=Lookup.ENDED).exists(),
            seconds=30 + 1.5 * setting.jobs / setting.rate,
        )
        return meter.read(provider, setting, system.executions("config", "searches.tasks.run"))


def _plain(folder: Path, provider: Provider, setting: Setting) -> Figures:
    from tests.bench.plain import call

    prepare(provider, setting)
    for _ in range(setting.jobs):
        call.delay(provider.url, "plain", setting.rate, setting.calls)
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                system.process(
                    *system.celery("tests.bench.plain", "-c", str(CONCURRENCY), "-n", f"plain{number}@bench"),
                    log=folder / f"plain-{number}.log",
                )
            )
            for number in range(PROCESSES)
        ]
        meter = Meter(running)
        wait_until(
            lambda: sum(accepted for _, _, accepted in provider.log()) >= setting.jobs,
            seconds=60 + 4 * setting.jobs / setting.rate,
        )
        return meter.read(provider, setting, system.executions("tests.bench.plain", "tests.bench.plain.call"))


class Meter:
    """What a run used, from its making to its reading."""

    def __init__(self, processes: list[Popen[str]]) -> None:
        self.processes = processes
        self.redis = redis.Redis.from_url(settings.REDIS_URL)
        self.commands = self._commands()
        self.cpu = system.cpu_seconds(processes)

    def read(self, provider: Provider, setting: Setting, executions: int) -> Figures:
        cpu, commands = system.cpu_seconds(self.processes) - self.cpu, self._commands() - self.commands
        log = provider.log()
        accepted = [at for at, _, admitted in log if admitted]
        seconds = accepted[-1] - accepted[0]
        return Figures(
            use=(len(accepted) - 1) / setting.rate / seconds,
            refusals=len(log) - len(accepted),
            executions=executions / len(log),
            commands=commands / len(log),
            cpu_ms=1000 * cpu / len(log),
        )

    def _commands(self) -> int:
        return int(self.redis.info("stats")["total_commands_processed"])


if __name__ == "__main__":
    sys.exit("Run it as: python -m tests.bench")
