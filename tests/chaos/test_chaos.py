"""Ends everything that can end, again and again, while many tenants' searches run. At the end nothing is lost, nothing is
charged twice, and no provider's limit was broken. `make chaos SEED=…` repeats a run as far as a machine can.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from shutil import copyfile

import pytest

from tests import processes, programs
from tests.accounts.receiving import Heard, receiver
from tests.chaos import accidents, laws, orders
from tests.chaos.accidents import KINDS, Fate
from tests.chaos.cast import CAST
from tests.chaos.orders import Caller
from tests.processes import Sightline, answers, wait_until

# The sandbox allows one call of all tenants in this time. The policy's window is wider, because a busy machine delays calls.
WINDOW_MS, GUARD_MS = 150, 60
# Longer than any caller waits for an answer.
HANG_MS, LONGEST_CALL_MS = 4000, 3000
LIMITS = {
    "calls": 1,
    "window_ms": WINDOW_MS,
    "guard_ms": GUARD_MS,
    "page_size": 5,
    "connect_timeout_ms": 1000,
    "read_timeout_ms": LONGEST_CALL_MS,
    "total_timeout_ms": LONGEST_CALL_MS,
    # KeyAPI's rest of a minute is shortened, because the test would wait for too long.
    "throttled_seconds": 0,
}
TOLD = {
    "SANDBOX_WINDOW_MS": str(WINDOW_MS),
    "SANDBOX_ONE_ACCOUNT": "true",
    "SANDBOX_LATENCY_MS": "150",
    "SANDBOX_SLOW_MS": "1500",
    "SANDBOX_HANG_MS": str(HANG_MS),
    "LIMITS": json.dumps(LIMITS),
    # A key whose web server was killed is free again before its caller loses patience.
    "IDEMPOTENCY_LEASE_SECONDS": "5",
    # Webhooks go to a receiver of the test's own, without pauses of hours.
    "OUTBOUND_ALLOW": "127.0.0.0/8",
    "WEBHOOK_PAUSES": ",".join(["0.5"] * 20),
    # All tenants' endpoints are at one address, and refuse every third delivery.
    "WEBHOOK_TARGET_FAILURES_PER_MINUTE": "100000",
}
AHEAD = str(Path(__file__).with_name("ahead"))
KEPT = programs.CHECKOUT / ".local" / "chaos"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes a run. `workers`: how many for searches, one with a clock ahead. `patience`: seconds that the end may take."""

    searches: int
    tenants: Sequence[str]
    workers: int
    submitting: float
    kinds: Sequence[str]
    striking: float
    patience: float


PLAN = Plan(
    searches=300,
    tenants=tuple(CAST),
    workers=3,
    submitting=90,
    kinds=(
        *KINDS,
        *("a worker is killed",) * 4,
        *("a worker's child is killed",) * 5,
        *("Redis is flushed",) * 3,
        *("the sweeps' worker is killed", "beat is killed", "Redis is killed", "PostgreSQL is restarted"),
    ),
    striking=115,
    patience=180,
)


@pytest.mark.chaos
def test_nothing_is_lost_when_processes_and_servers_are_killed() -> None:
    go_through(PLAN)


def go_through(plan: Plan) -> None:
    seed = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)
    sys.stdout.write(f"SEED={seed}\n")
    with programs.state_folder() as folder:
        try:
            with processes.started(folder, **TOLD) as sightline:
                run(sightline, plan, Random(seed))
        except BaseException:
            sys.stdout.write(f"The logs are in {kept_logs(folder, seed)}.\n")
            raise


def run(sightline: Sightline, plan: Plan, random: Random) -> None:
    wanted = orders.made_up(random, count=plan.searches, tenants=plan.tenants, seconds=plan.submitting)
    schedule = accidents.made_up(random, plan.kinds, seconds=plan.striking)
    workers = [sightline.start_worker("searches-ahead", PYTHONPATH=AHEAD)]
    workers += [sightline.start_worker(f"searches-{number}") for number in range(1, plan.workers)]
    sightline.start_dispatcher()
    with ExitStack() as stack:
        told = stack.enter_context(receiver(deaf_every_third_time()))
        callers = {name: stack.enter_context(caller) for name, caller in welcomed(sightline, plan.tenants)}
        for caller in callers.values():
            caller.ask_to_be_told(told.url)
        began = time.monotonic()
        placer = stack.enter_context(ThreadPoolExecutor(1))
        stack.enter_context(accidents.supervised(sightline))
        placing = placer.submit(orders.submit_all, wanted, callers)
        accidents.strike_all(Fate(sightline, workers), schedule, after_each=lambda: laws.hold_at_any_instant(sightline))
        placing.result()
        laws.wait_for_the_end(sightline, seconds=plan.patience)
    sys.stdout.write(f"{time.monotonic() - began:6.1f} s  all is over\n{laws.counts(sightline)}")
    laws.hold_at_the_end(sightline, orders=wanted)
    laws.each_end_was_told_once(sightline, told.heard)


def welcomed(sightline: Sightline, tenants: Sequence[str]) -> Iterator[tuple[str, Caller]]:
    """Returns the tenants, each with a stored picture."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.chaos.cast", *tenants],
        env=os.environ | sightline.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    wait_until(lambda: answers(sightline.sandbox, "/_stats") and answers(sightline.api, "/readyz"))
    for name, secret in json.loads(made.stdout).items():
        caller = Caller(str(sightline.api.base_url), secret)
        caller.store_picture()
        yield name, caller


def deaf_every_third_time() -> Callable[[Heard], int]:
    times = count(1)
    return lambda _: 500 if next(times) % 3 == 0 else 204


def kept_logs(folder: Path, seed: int) -> Path:
    kept = KEPT / str(seed)
    kept.mkdir(parents=True, exist_ok=True)
    for log in (*folder.glob("*.log"), *folder.glob("*/log")):
        copyfile(log, kept / "-".join(log.relative_to(folder).parts))
    return kept
