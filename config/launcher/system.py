"""Decides which processes there are, when they are ready, and what happens when one dies.

They are production's processes, only fewer. Each has its log in the state folder. One system at a time runs from a state
folder: two would share a database, and so each other's work, while each had a sandbox of its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import httpx
import psycopg
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections
from kombu.exceptions import OperationalError

from config import readiness
from config.celery import app as celery
from config.embedded import locks
from config.launcher.errors import LaunchError
from config.launcher.ports import HOST
from config.launcher.process import Process
from config.launcher.reaper import Reaper
from config.launcher.static_files import COLLECT, Collection
from config.postgresql import base as postgresql

READY_SECONDS = 90.0
POLL_SECONDS = 0.1
LEFT_OVER_SECONDS = 30.0
# Of each worker the queue, the pool, and how many tasks it does at once.
WORKERS = {
    "searches-1": ("searches", "prefork", 8),
    "searches-2": ("searches", "prefork", 8),
    "sandbox-searches": ("sandbox", "threads", 16),
    # Deliveries have threads of their own. One thread of the pool takes wake-ups while the others sweep.
    "webhooks": ("webhooks", "threads", 3),
    "followers": ("followers", "threads", 1),
    "sweeps": ("sweeps", "prefork", 1),
}


class System:
    """Starts, watches and stops all processes. `web` and `sandbox` are the addresses of the servers."""

    def __init__(
        self,
        reaper: Reaper,
        *,
        port: int,
        sandbox_port: int,
        environment: Mapping[str, str],
        folder: Path,
        has_visitors: bool,
    ) -> None:
        self.web = f"http://{HOST}:{port}"
        self.sandbox = f"http://{HOST}:{sandbox_port}"
        self.logs = folder / "logs"
        self.logs.mkdir(mode=0o700, exist_ok=True)
        self._nodes = {name: f"{name}@sightline-{port}" for name in WORKERS}
        self._reaper = reaper
        self._files = Collection(folder / "static-files") if has_visitors else None
        environment = os.environ | environment | {"PORT": str(port), "SANDBOX_PORT": str(sandbox_port)}
        environment |= {"STATIC_DIR": str(self._files.folder)} if self._files else {}
        commands = {
            "static-files": COLLECT,
            "sandbox": _server("config.sandbox_wsgi:application", sandbox_port, workers=1, threads=32),
            "web": _server("config.wsgi:application", port, workers=2, threads=640),
            **{name: _worker(node, *WORKERS[name]) for name, node in self._nodes.items()},
            "beat": _celery("beat", "-s", str(folder / "beat-schedule"), "--pidfile="),
        }
        self._collecting, *self._processes = [
            Process(name, command, log=self.logs / f"{name}.log", reaper=reaper, environment=environment)
            for name, command in commands.items()
        ]

    def start(self, prepare: Callable[[], object]) -> None:
        """Returns when all processes work. Raises `LaunchError`."""
        _try_servers()
        # The servers need no tables, and start during the migration: a start is mostly imports. The web server needs its files.
        sandbox, web, *others = self._processes
        must_collect = self._files is not None and not self._files.is_there
        for process in (sandbox, self._collecting if must_collect else web):
            process.start()
        _migrate()
        prepare()
        connections.close_all()
        if must_collect:
            self._wait_for_files()
        for process in (web, *others) if must_collect else others:
            process.start()
        self._wait_until(lambda: _answers(f"{self.sandbox}/_stats"), "The sandbox does")
        self._wait_until(lambda: _answers(f"{self.web}/readyz"), "The web server does")
        self._wait_until(self._workers_answer, "The workers do")

    def _wait_for_files(self) -> None:
        assert self._files is not None
        while (code := self._collecting.exit_code) is None:
            time.sleep(POLL_SECONDS)
        if code:
            raise _death(self._collecting)
        self._collecting.bury()
        self._files.is_made()

    def check(self) -> None:
        """Raises `LaunchError` if a process has died."""
        for process in self._processes:
            if process.exit_code is not None:
                raise _death(process)

    def supervise(self, say: Callable[[str], None]) -> NoReturn:
        """Restarts processes that die, until an exception ends it."""
        while True:
            for process in self._processes:
                if process.exit_code is not None:
                    death = _death(process)
                    say(f"{death}\n  It is started again in {process.bury():g} s.")
                elif process.is_due:
                    process.start()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        self._reaper.end_all(lambda: [process.exit_code for process in self._processes])

    def _wait_until(self, ready: Callable[[], bool], who_does: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise LaunchError(f"{who_does} not answer after {READY_SECONDS:g} s; the logs are in {self.logs}.")
            time.sleep(POLL_SECONDS)

    def _workers_answer(self) -> bool:
        with suppress(OperationalError):
            nodes = list(self._nodes.values())
            answers = celery.control.ping(destination=nodes, timeout=1.0, limit=len(nodes))
            return len(answers or ()) == len(nodes)
        return False


@contextmanager
def launched(
    *,
    port: int,
    sandbox_port: int,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], object] = lambda: None,
    has_visitors: bool = False,
) -> Iterator[System]:
    """Runs the whole system, with a migrated database, until the block ends. Raises `LaunchError`.

    `environment` is added to the environment of its processes. `prepare` is called after the migration, before any worker
    starts. `has_visitors`: people open its pages in a browser, so their files are collected and compressed first.
    """
    folder = settings.STATE_DIR
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(folder) as reaper:
        system = System(
            reaper,
            port=port,
            sandbox_port=sandbox_port,
            environment=environment or {},
            folder=folder,
            has_visitors=has_visitors,
        )
        try:
            system.start(prepare)
            yield system
        finally:
            system.stop()


@contextmanager
def _alone_in(folder: Path) -> Iterator[Reaper]:
    """Yields a reaper for the only system of this folder, after the processes of a killed one have ended."""
    with locks.held(folder / "launched") as launched:
        if launched is None:
            message = (
                f"A Sightline runs from {folder} already: end it, or give this one a folder of its own in STATE_DIR."
            )
            raise LaunchError(message, code=2)
        with locks.held(folder / "kept", seconds=LEFT_OVER_SECONDS) as kept:
            if kept is None:
                raise LaunchError(f"Processes that an earlier Sightline left in {folder} do not end.")
            yield Reaper(kept)


def _try_servers() -> None:
    """Connects to both servers directly. The pool and the processes would retry for a while."""
    try:
        with psycopg.connect(**connection.get_connection_params()) as session:
            if postgresql.only_reads(session):
                raise LaunchError(f"DATABASE_URL: {postgresql.ONLY_READS}", code=2)
    except psycopg.OperationalError as error:
        raise LaunchError(f"DATABASE_URL: the database does not answer: {str(error).splitlines()[0]}", code=2) from None
    if lacks := readiness.redis_lacks():
        raise LaunchError(f"REDIS_URL: {lacks}", code=2)


def _migrate() -> None:
    """Makes the tables, and tries what the system does with them. Raises `LaunchError`."""
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except CommandError as error:
        raise LaunchError(str(error), code=2) from None
    except DatabaseError as error:
        raise LaunchError(f"DATABASE_URL: the tables cannot be made: {str(error).splitlines()[0]}", code=2) from None
    if lacks := readiness.database_lacks():
        raise LaunchError(f"DATABASE_URL: {lacks}", code=2)


def _server(application: str, port: int, *, workers: int, threads: int) -> list[str]:
    """Returns the command of a web server, which is that of the Dockerfile.

    Headers must come within ten seconds; `config.body_slots` bounds the bodies. A process stops accepting connections when as
    many as its backpressure are open, idle ones too: with granian's default of 512 a crowd that keeps its connections locks all
    others out. A worker process that dies is started again while the others continue; without that option granian ends them all.
    """
    options = {"--interface": "wsgi", "--http": "1", "--host": HOST, "--port": port, "--workers": workers}
    options |= {"--blocking-threads": threads, "--http1-header-read-timeout": 10_000}
    options |= {"--backlog": 4096, "--backpressure": 2048}
    flat = [str(part) for option in options.items() for part in option]
    return [sys.executable, "-m", "granian", *flat, "--no-ws", "--respawn-failed-workers", application]


def _worker(node: str, queue: str, pool: str, concurrency: int) -> list[str]:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    return _celery("worker", "-n", node, "-Q", queue, "--pool", pool, "-c", str(concurrency), *quiet)


def _celery(*arguments: str) -> list[str]:
    # Said to every worker of root's, which in a container is nothing to say.
    unsaid = "ignore:You're running the worker with superuser privileges"
    return [sys.executable, "-W", unsaid, "-m", "celery", "-A", "config", "--quiet", *arguments]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _death(process: Process) -> LaunchError:
    message = f"{process.name} has ended (exit code {process.exit_code}). The end of {process.log}:"
    return LaunchError(f"{message}\n{process.last_words()}")
