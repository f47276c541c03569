"""One launched process: a group of its own, its words in a log file, and what a person is told when it dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from config.launcher import keeper

LAST_LINES = 12
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
# One that ran this long was well: if it dies, it is started again as if for the first time.
WELL_SECONDS = 60.0


class Keeper:
    """The process that ends the others (`keeper` says why), and the way to stop them all."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            cwd="/",
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")

    def end(self, processes: Sequence[Process]) -> None:
        """Returns when all have ended. They are reaped meanwhile, for a zombie still counts as one of its group."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        while self._process.poll() is None:
            for process in processes:
                process.code()
            time.sleep(keeper.POLL_SECONDS)


class Process:
    def __init__(self, name: str, command: Sequence[str], *, folder: Path) -> None:
        self.name = name
        self.command = command
        self.log = folder / f"{name}.log"
        self.log.write_bytes(b"")
        self._popen: subprocess.Popen[bytes] | None = None
        self._born = 0.0
        self._deaths = 0

    def start(self, environment: Mapping[str, str], keeper: Keeper, *, cwd: Path) -> None:
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
        keeper.tell(f"+{self._popen.pid}")
        self._born = time.monotonic()

    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._popen.poll() if self._popen else None

    def bury(self, keeper: Keeper) -> float:
        """Ends what a dead process left of its group. Returns how long to wait before it is started again, in seconds."""
        assert self._popen is not None
        kill_group(self._popen.pid)
        keeper.tell(f"-{self._popen.pid}")
        self._popen = None
        self._deaths = 1 if time.monotonic() - self._born > WELL_SECONDS else self._deaths + 1
        return PAUSES[min(self._deaths, len(PAUSES)) - 1]

    def last_words(self) -> str:
        """The end of its log, indented."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return "\n".join(f"    {line}" for line in lines[-LAST_LINES:]) or "    (it said nothing)"


def kill_group(group: int) -> None:
    keeper.kill(group)


def environment(**more: str) -> dict[str, str]:
    return os.environ | more
