"""Tries faults in a copy of the checkout, with its own servers. Each trial begins with the same database and an empty Redis."""

from __future__ import annotations

import compileall
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from py_compile import PycInvalidationMode
from shutil import copy2
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg
import redis

from config import embedded
from config.embedded import state
from tests.mutants import plugin
from tests.mutants.changes import Change

CHECKOUT = Path(__file__).resolve().parents[2]
# A database of all migrations, and the copy of it that a trial uses.
CLEAN, USED = "clean", "test_clean"
# A fault may make a test wait for ever. A trial may take three times as long as the trial without a fault, and a minute.
TIMES, MORE_SECONDS = 3, 60


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the tests said of a fault. `failed` names the test that noticed it; empty if no single test did, or none at all."""

    passed: bool
    seconds: float
    failed: str = ""
    is_out_of_time: bool = False
    output: str = ""

    def __str__(self) -> str:
        if self.passed:
            return "SURVIVES"
        return "OUT OF TIME" if self.is_out_of_time else f"noticed by {self.failed or 'all tests'}"


@dataclass
class Scratch:
    """A copy of the checkout. `caught` counts by file which tests noticed its faults; those run first for the next one."""

    folder: Path
    tests: tuple[str, ...]
    environ: dict[str, str]
    longest_seconds: float | None = None
    caught: dict[str, Counter[str]] = field(default_factory=dict)

    def tried(self, change: Change) -> Outcome:
        changed = self.folder / change.path
        before = changed.read_text()
        changed.write_text(change.applied(before))
        try:
            outcome = self.outcome(str(change.path))
        finally:
            changed.write_text(before)
        if outcome.failed:
            self.caught[str(change.path)][outcome.failed] += 1
        return outcome

    def outcome(self, changed: str = "", *options: str) -> Outcome:
        """Runs the tests until one fails, those first that noticed other faults of the changed file."""
        self._restore()
        first = self.caught.setdefault(changed, Counter())
        self._note(plugin.FIRST).write_text("\n".join(name for name, _ in first.most_common()))
        self._note(plugin.FAILED).write_text("")
        begin = time.monotonic()
        status, output = self._run(*options)
        return Outcome(
            passed=status == 0,
            seconds=time.monotonic() - begin,
            failed=self._note(plugin.FAILED).read_text(),
            is_out_of_time=status is None,
            output=output,
        )

    def passes(self) -> bool:
        """Runs the tests without a fault, and learns from that how long a trial may take."""
        outcome = self.outcome()
        self.longest_seconds = TIMES * outcome.seconds + MORE_SECONDS
        if not outcome.passed:
            sys.stdout.write(f"{outcome.output}\nThe tests fail without any fault.\n")
        return outcome.passed

    def unsteady(self) -> str:
        """Returns the tests that failed once and then passed, with their tracebacks."""
        note = self._note(plugin.UNSTEADY)
        return note.read_text() if note.exists() else ""

    def _note(self, name: str) -> Path:
        return Path(self.environ[plugin.FOLDER]) / name

    def _run(self, *options: str) -> tuple[int | None, str]:
        """Returns pytest's exit status, None when its time was over, and what it printed."""
        command = [
            "-m",
            "pytest",
            "-x",
            "-q",
            "--reuse-db",
            "-p",
            "no:randomly",
            "-p",
            "tests.mutants.plugin",
            *options,
        ]
        process = subprocess.Popen(
            [sys.executable, "-B", *command, *self.tests],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=self.longest_seconds)
        except subprocess.TimeoutExpired:
            output = ""
        finally:
            # The test's own programs end with it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return (process.poll() if output else None), output

    def _restore(self) -> None:
        redis.Redis.from_url(self.environ["REDIS_URL"]).flushall()
        with administrator(self.environ) as session:
            session.execute(f"DROP DATABASE IF EXISTS {USED} WITH (FORCE)".encode())
            session.execute(f"CREATE DATABASE {USED} TEMPLATE {CLEAN}".encode())


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
