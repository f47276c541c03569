"""Starts what is measured: servers, workers, the bench's provider; and reads what they used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from config.launcher.process import MEMORY

TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def process(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process group of its own, ended whole; what it says goes to `log`."""
    with log.open("a") as lines:
        started = subprocess.Popen(
            command,
            stdout=subprocess.PIPE if command[-1].endswith("provider") else lines,
            stderr=lines,
            text=True,
            start_new_session=True,
            env=MEMORY | os.environ | environment,
        )
    try:
        yield started
    finally:
        end(started)


def end(started: subprocess.Popen[str]) -> None:
    for sign, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(started.pid, sign)
            started.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def cpu_seconds(processes: Sequence[subprocess.Popen[str]]) -> float:
    """Processor time of these process groups so far."""
    groups = {started.pid for started in processes}
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) in groups:
            total += sum(int(fields[number]) for number in (11, 12, 13, 14))
    return total / TICKS


class Provider:
    """The bench's own provider, and what it saw."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=30)

    def set(self, **limit: Any) -> None:
        self.client.post("/_set", content=json.dumps(limit)).raise_for_status()

    def log(self) -> list[tuple[float, str, bool]]:
        return [(at, key, accepted) for at, key, accepted in self.client.get("/_log").json()]


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    with process(sys.executable, "-m", "tests.bench.provider", log=folder / "provider.log") as started:
        assert started.stdout is not None
        yield Provider(f"http://127.0.0.1:{started.stdout.readline().strip()}")


def celery(app: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", app, "worker", "--without-gossip", "--without-mingle", *arguments]


@contextmanager
def workers(folder: Path, *, count: int, concurrency: int) -> Iterator[list[subprocess.Popen[str]]]:
    """`count` worker processes for searches, with the sweeps and the beat that run beside them."""
    with ExitStack() as stack:
        searching = [
            stack.enter_context(
                process(
                    *celery("config", "-Q", "searches", "-c", str(concurrency), "-n", f"searches{number}@bench"),
                    log=folder / f"searches-{number}.log",
                )
            )
            for number in range(count)
        ]
        sweeping = celery("config", "-Q", "sweeps", "-c", "1", "-n", "sweeps@bench")
        stack.enter_context(process(*sweeping, log=folder / "sweeps.log"))
        beat = [sys.executable, "-m", "celery", "-A", "config", "beat", "-s", str(folder / "beat")]
        stack.enter_context(process(*beat, log=folder / "beat.log"))
        wait_for_workers("config", count + 1)
        yield searching


def wait_for_workers(app: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(_application(app).control.inspect(timeout=1).ping() or {}) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"The workers of {app} did not start within a minute.")


def executions(app: str, task: str) -> int:
    """How often this task was begun by the workers that run now."""
    stats = _application(app).control.inspect(timeout=3).stats() or {}
    return sum(worker["total"].get(task, 0) for worker in stats.values())


def _application(app: str) -> Any:
    if app == "config":
        from config.celery import app as ours

        return ours
    from tests.bench.plain import app as plain

    return plain
