"""Runs one launched process, with a log file, and reports its death."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from config.environment import BASE_DIR
from config.launcher.reaper import Reaper

LAST_LINES = 12
# Seconds before a dead process is started again: longer for each death in a row.
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
# After this many seconds a process counts as healthy, and its next death as its first.
WELL_SECONDS = 60.0
# glibc keeps the memory of one picture for the next. By default it returns the pages to the system and fetches them again, which
# makes reading a picture 50 % slower. The Dockerfile has the same values.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "67108864"}


class Process:
    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, reaper: Reaper, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._reaper = reaper
        self._environment = {**MEMORY, **environment}
        self._popen: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0
        self._due = 0.0
        with suppress(FileNotFoundError):
            log.replace(log.with_suffix(".log.before"))
        log.touch(mode=0o600)

    def start(self) -> None:
        """Starts the process in a session of its own, so that Ctrl-C in a terminal reaches the launcher alone."""
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=BASE_DIR,
                start_new_session=True,
            )
        self._reaper.watch(self._popen.pid)
        self._started = time.monotonic()

    @property
    def exit_code(self) -> int | None:
        """Returns the exit code; None while the process runs, or before it is started."""
        return self._popen.poll() if self._popen else None

    @property
    def is_due(self) -> bool:
        """Returns whether the process is dead and its pause is over."""
        return self._popen is None and time.monotonic() >= self._due

    def bury(self) -> float:
        """Ends the rest of its process group, and returns the seconds until it is due again."""
        assert self._popen is not None
        self._reaper.forget(self._popen.pid)
        self._popen = None
        self._deaths = 1 if time.monotonic() - self._started > WELL_SECONDS else self._deaths + 1
        pause = PAUSES[min(self._deaths, len(PAUSES)) - 1]
        self._due = time.monotonic() + pause
        return pause

    def last_words(self) -> str:
        """Returns the end of its log, indented."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return "\n".join(f"    {line}" for line in lines[-LAST_LINES:]) or "    (it said nothing)"
