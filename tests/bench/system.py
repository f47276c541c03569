"""Starts what is measured: servers, workers, the bench's provider; and reads what they used."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis
from django.conf import settings
from django.db import connection

from config.launcher import ports
from config.launcher.process import MEMORY
from config.launcher.reaper import Reaper

# One tenant asks for all that is measured, and one receiver hears of it.
UNBOUNDED = {
    "TENANT_REQUESTS_PER_SECOND": "100000",
    "WEBHOOK_TARGET_AT_ONCE": "100000",
    "WEBHOOK_TARGET_FAILURES_PER_MINUTE": "100000",
}


@cache
def _reaper() -> Reaper:
    """Ends what was started here if this program is killed and cannot."""
    reaper = Reaper()
    atexit.register(reaper.end_all, lambda: None)
    return reaper


@contextmanager
def process(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a process group of its own, which is ended whole. Its output is written to `log`."""
    with log.open("a") as lines:
        started = subprocess.Popen(
            command,
            stdout=subprocess.PIPE if command[-1].endswith("provider") else lines,
            stderr=lines,
            text=True,
            start_new_session=True,
            env=MEMORY | UNBOUNDED | os.environ | environment,
        )
    _reaper().watch(started.pid)
    try:
        yield started
    finally:
        end(started)
        _reaper().forget(started.pid)


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
    """Returns the processor time of these processes and of all that they started, so far."""
    total = 0.0
    for started in processes:
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(started.pid)
            total += sum(_cpu_seconds(process) for process in (first, *first.children(recursive=True)))
    return total


def _cpu_seconds(process: psutil.Process) -> float:
    """Returns the processor time of a process and of its children that have ended; 0 if it has ended itself meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return sum(process.cpu_times()[:4])
    return 0.0


@contextmanager
def busy(count: int, folder: Path) -> Iterator[None]:
    """Runs so many processes beside what is measured, each of which wants a processor."""
    with ExitStack() as stack:
        for number in range(count):
            command = (sys.executable, "-c", "while True: pass")
            stack.enter_context(process(*command, log=folder / f"busy-{number}.log"))
        yield


def postgres_seconds() -> float:
    """Returns the processor time of the database server and all its sessions, ended ones too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0]).parent()
    assert server is not None
    return sum(server.cpu_times()[:4]) + sum(sum(session.cpu_times()[:2]) for session in server.children())


def valkey_seconds() -> float:
    process_id = redis.Redis.from_url(settings.REDIS_URL).info("server")["process_id"]
    return sum(psutil.Process(process_id).cpu_times()[:2])


class Provider:
    """The bench's own provider, and what it saw."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.process = process
        self.client = httpx.Client(base_url=url, timeout=30)

    def set(self, **limit: Any) -> None:
        self.client.post("/_set", content=json.dumps(limit)).raise_for_status()

    def accepted(self) -> int:
        """Returns how many calls the provider got so far."""
        return int(self.client.get("/_accepted").json())

    def log(self) -> list[tuple[float, str, bool]]:
        return [(at, key, accepted) for at, key, accepted in self.client.get("/_log").json()]


@contextmanager
def provider(folder: Path) -> Iterator[Provider]:
    with process(sys.executable, "-m", "tests.bench.provider", log=folder / "provider.log") as started:
        assert started.stdout is not None
        yield Provider(f"http://127.0.0.1:{started.stdout.readline().strip()}", started)


def celery(app: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", app, "worker", "--without-gossip", "--without-mingle", *arguments]


class Workers:
    """Celery workers for searches, of so many processes each, with the sweeps and the beat that run beside them."""

    def __init__(self, folder: Path, stack: ExitStack, *, processes: int) -> None:
        self.folder = folder
        self.processes = processes
        self.searching: list[subprocess.Popen[str]] = []
        self.sweeping = [
            stack.enter_context(process(*_worker("sweeps", "sweeps", 1), log=folder / "sweeps.log")),
            stack.enter_context(process(*_worker("followers", "followers", 1), log=folder / "followers.log")),
            stack.enter_context(process(*_beat(folder), log=folder / "beat.log")),
        ]
        self._stack = stack
        self._started = 0

    def start(self) -> None:
        number, self._started = self._started, self._started + 1
        command = _worker("searches", f"searches{number}", self.processes)
        log = self.folder / f"searches-{number}.log"
        self.searching.append(self._stack.enter_context(process(*command, log=log)))

    def replace(self, gone: subprocess.Popen[str]) -> None:
        self.searching.remove(gone)
        self.start()


def _worker(queue: str, name: str, processes: int) -> list[str]:
    return celery("config", "-Q", queue, "-c", str(processes), "-n", f"{name}@bench")


def _beat(folder: Path) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "config", "beat", "-s", str(folder / "beat"), "--pidfile="]


@contextmanager
def workers(folder: Path, *, count: int, processes: int) -> Iterator[Workers]:
    with ExitStack() as stack:
        running = Workers(folder, stack, processes=processes)
        for _ in range(count):
            running.start()
        wait_for_workers("config", count + 2)
        yield running


@contextmanager
def web(
    folder: Path, *, application: str = "config.wsgi:application", threads: int = 16, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts the web server as `serve` does, and returns its address."""
    port = ports.chosen("PORT", 0)
    options = ("--port", str(port), "--workers", "2", "--blocking-threads", str(threads), "--http", "1", "--no-ws")
    many = ("--backlog", "4096", "--backpressure", "2048")
    command = (sys.executable, "-m", "granian", "--interface", "wsgi", *options, *many)
    with process(*command, application, log=folder / "web.log", **environment) as serving:
        url = f"http://{ports.HOST}:{port}"
        deadline = time.monotonic() + 30
        while not _is_up(url):
            if time.monotonic() > deadline:
                raise SystemExit("The web server did not start within half a minute.")
            time.sleep(0.1)
        yield serving, url


def _is_up(url: str) -> bool:
    try:
        return bool(httpx.get(f"{url}/healthz", trust_env=False).status_code)
    except httpx.TransportError:
        return False


def wait_for_workers(app: str, count: int) -> None:
    deadline = time.monotonic() + 60
    while _present(app) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"The workers of {app} did not start within a minute.")


def _present(app: str) -> int:
    try:
        return len(_application(app).control.inspect(timeout=1).ping() or {})
    except redis.ConnectionError:
        # Kept from before the last Redis was killed; the next look makes another.
        return 0


def executions(app: str, task: str) -> int:
    """Returns how often the workers that run now began this task."""
    stats = _application(app).control.inspect(timeout=3).stats() or {}
    return sum(worker["total"].get(task, 0) for worker in stats.values())


def _application(app: str) -> Any:
    if app == "config":
        from config.celery import app as ours

        return ours
    from tests.bench.plain import app as plain

    return plain
