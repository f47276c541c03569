"""Ends the launched processes once their launcher is gone, however it went: one that is killed cleans up nothing.

It is told what to watch through a pipe, which closes with the launcher: by its own will or by -9, on every platform. Both
ends go this one way, so that the rare one is tried every day. Run by its path, on the standard library alone. Accepted:
a process that is born in the milliseconds in which its launcher is killed, before it was named here, stays.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

GRACE_SECONDS = 8.0
KILL_SECONDS = 2.0
POLL_SECONDS = 0.05


class Reaper:
    """The launcher's side of the pipe. A process is named by its pid, and is the leader of a group of its own."""

    def __init__(self, *inherited: int) -> None:
        """`inherited`: descriptors of locks, which so are held until all have ended."""
        command = [sys.executable, "-I", "-S", __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, cwd="/", start_new_session=True, pass_fds=inherited
        )
        self._watched: set[int] = set()

    def watch(self, pid: int) -> None:
        self._watched.add(pid)
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        """It has ended; what it left of its group ends here."""
        kill(pid)
        self._watched.discard(pid)
        self._tell(f"-{pid}\n")

    def end_all(self, reap: Callable[[], object]) -> None:
        """Returns when all have ended. `reap` waits for those that have, for a zombie still counts to its group."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        while self._process.poll() is None:
            reap()
            time.sleep(POLL_SECONDS)
        reap()
        if self._process.returncode != 0:  # somebody killed it
            end(self._watched, reap)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


def main() -> None:
    groups: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            groups.add(pid)
        else:
            groups.discard(pid)
    end(groups)


def end(groups: set[int], reap: Callable[[], object] = lambda: None) -> None:
    """Asks the leaders, who see to their own children; then kills whatever is left."""
    for group in groups:
        with suppress(ProcessLookupError):
            os.kill(group, signal.SIGTERM)
    wait_for(groups, GRACE_SECONDS, reap)
    for group in groups:
        kill(group)
    wait_for(groups, KILL_SECONDS, reap)


def wait_for(groups: set[int], seconds: float, reap: Callable[[], object]) -> None:
    """Takes out of `groups` those that have ended, until all have or the time is over."""
    deadline = time.monotonic() + seconds
    while groups and time.monotonic() < deadline:
        reap()
        for group in list(groups):
            if not lives(group):
                groups.discard(group)
            elif not leads(group):
                kill(group)
        time.sleep(POLL_SECONDS)


def kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def leads(pid: int) -> bool:
    """Whether the leader is still there to see to its group."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # the latter is what macOS says of a group of zombies
        return False
    return True


if __name__ == "__main__":
    main()
