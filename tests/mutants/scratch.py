"""Tries faults in a copy of the checkout, with its own servers. A process begins with the same database and an empty Redis."""

from __future__ import annotations

import compileall
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from shutil import copy2
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis

from config import embedded
from config.embedded import state
from tests.mutants import plugin
from tests.mutants.changes import Change

CHECKOUT = Path(__file__).resolve().parents[2]
# A database of all migrations, and the copy of it that the tests use.
CLEAN, USED = "clean", "test_clean"
ENDED = "ends the tests' process"


class TestsFail(Exception):
    """A test fails without any fault."""


@dataclass
class Scratch:
    """A copy of the checkout, and the environment of its servers."""

    folder: Path
    tests: tuple[str, ...]
    environ: dict[str, str]

    def verdicts(self, changes: Sequence[Change]) -> Iterator[tuple[Change, str, float]]:
        """Yields each change with the verdict on it and the seconds that this took. Raises `TestsFail`."""
        waiting = dict(enumerate(changes))
        spoiled = set[int]()
        while waiting:
            for number, verdict, seconds in self._process(waiting):
                if verdict in (plugin.SPOILED, ENDED) and number not in spoiled:
                    spoiled.add(number)
                else:
                    yield waiting.pop(number), verdict, seconds

    def unsteady(self) -> list[str]:
        """Returns the tests that failed once and then passed, with their tracebacks."""
        return [f"{line['test']}\n{line['why']}" for line in self._notes() if line.get("verdict") == plugin.UNSTEADY]

    def _process(self, waiting: dict[int, Change]) -> Iterator[tuple[int, str, float]]:
        """Runs one process of pytest; yields the number of each fault, the verdict and the seconds, until the process ends."""
        told = [(number, str(each.path), each.begin, each.end, each.becomes) for number, each in waiting.items()]
        self._path(plugin.CHANGES).write_text(json.dumps(told))
        self._restore()
        read, number, is_steady = len(self._notes()), -1, False
        with self._pytest() as process:
            is_over = False
            while not is_over:
                time.sleep(0.2)
                is_over = process.poll() is not None
                lines = self._notes()
                for line in lines[read:]:
                    number = line.get("number", number)
                    is_steady |= line.get("verdict") == plugin.STEADY
                    if line.get("verdict") == plugin.BROKEN:
                        raise TestsFail(line["why"])
                    if "number" in line and "verdict" in line:
                        yield number, line["verdict"], line["seconds"]
                        number = -1
                read = len(lines)
        if number >= 0:
            yield number, ENDED, 0.0
        elif not is_steady:
            raise TestsFail(self._path("output").read_text())

    @contextmanager
    def _pytest(self) -> Iterator[subprocess.Popen[bytes]]:
        options = ("-q", "--reuse-db", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "tests.mutants.plugin")
        with self._path("output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-B", "-m", "pytest", *options, *self.tests],
                cwd=self.folder,
                env=self.environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                # With the programs that a test started.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _notes(self) -> list[dict[str, Any]]:
        path = self._path(plugin.DONE)
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def _path(self, name: str) -> Path:
        return Path(self.environ[plugin.FOLDER]) / name

    def _restore(self) -> None:
        self._empty_redis()
        with administrator(self.environ) as session:
            session.execute(f"DROP DATABASE IF EXISTS {USED} WITH (FORCE)".encode())
            session.execute(f"CREATE DATABASE {USED} TEMPLATE {CLEAN}".encode())

    def _empty_redis(self) -> None:
        """Empties Redis. One that runs a script without an end is ended; its supervisor starts it again."""
        client = redis.Redis.from_url(self.environ["REDIS_URL"])
        for _ in range(100):
            try:
                client.flushall()
            except redis.ResponseError:
                client.shutdown(nosave=True)
            except redis.ConnectionError:
                time.sleep(0.2)
            else:
                return
        raise TestsFail("Redis does not come back.")


@contextmanager
def scratch(tests: tuple[str, ...]) -> Iterator[Scratch]:
    """Yields a copy of the checkout whose servers run."""
    local = CHECKOUT / ".local"
    state.private(local, state.account())
    with TemporaryDirectory(prefix="mutants-", dir=local) as folder:
        Path(folder).chmod(0o711)
        copy = Path(folder) / "copy"
        copied_to(copy)
        environ = {**os.environ, "ENV_FILE": os.devnull, "STATE_DIR": f"{folder}/state", plugin.FOLDER: folder}
        with embedded.services(environ):
            with administrator(environ) as session:
                session.execute(f"CREATE DATABASE {CLEAN}".encode())
            environ["DATABASE_URL"] = urlsplit(environ["DATABASE_URL"])._replace(path=f"/{CLEAN}").geturl()
            subprocess.run([sys.executable, "-B", "manage.py", "migrate", "-v0"], cwd=copy, env=environ, check=True)
            yield Scratch(copy, tests, environ)


@contextmanager
def administrator(environ: dict[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(environ["DATABASE_URL"], dbname="postgres", autocommit=True) as session:
        yield session


def copied_to(copy: Path) -> None:
    """Copies the checkout, and compiles it. A changed file is known by its content, for its length and time may be as before."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for path in (path for path in listed.stdout.splitlines() if (CHECKOUT / path).is_file()):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        copy2(CHECKOUT / path, copy / path)
    compileall.compile_dir(copy, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
