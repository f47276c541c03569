"""Ends the launched processes after their launcher has ended, even if it was killed and could clean up nothing.

The launcher names the processes to watch through a pipe. The pipe closes with the launcher, whether by its own will or by
SIGKILL, on every platform. Both ends use this one way, so that the rare one is tested every day. The reaper runs by its path, on
the standard library alone. Accepted: a process that starts in the milliseconds in which its launcher is killed, before the reaper
knows it, survives.
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
    """Writes to the pipe, on the launcher's side. Each watched process is named by its pid and leads a process group of its
    own.
    """

    def __init__(self, *inherited: int) -> None:
        """Starts the reaper. `inherited` are descriptors of locks, which are held until all processes have ended."""
        command = [sys.executable, "-I", "-S", __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, cwd="/", start_new_session=True, pass_fds=inherited
        )
        self._watched: set[int] = set()

    def watch(self, pid: int) -> None:
        self._watched.add(pid)
        self._write(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        """Stops watching an ended process, and kills the rest of its group."""
        kill(pid)
        self._watched.discard(pid)
        self._write(f"-{pid}\n")

    def end_all(self, reap: Callable[[], object]) -> None:
        """Returns when all have ended. `reap` waits for ended children, because a zombie still counts as a member of its
        group.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        while self._process.poll() is None:
            reap()
            time.sleep(POLL_SECONDS)
        reap()
        if self._process.returncode != 0:  # the reaper was killed
            end(self._watched, reap)

    def _write(self, line: str) -> None:
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
    """Asks the leaders to end, which end their own children; then kills the rest."""
    for group in groups:
        with suppress(ProcessLookupError):
            os.kill(group, signal.SIGTERM)
    wait_for(groups, GRACE_SECONDS, reap)
    for group in groups:
        kill(group)
    wait_for(groups, KILL_SECONDS, reap)


def wait_for(groups: set[int], seconds: float, reap: Callable[[], object]) -> None:
    """Removes ended groups from `groups`, until all have ended or the time is over."""
    deadline = time.monotonic() + seconds
    while groups and time.monotonic() < deadline:
        reap()
        for group in list(groups):
            if not is_there(os.killpg, group):
                groups.discard(group)
            elif not is_there(os.kill, group):  # its leader has ended
                kill(group)
        time.sleep(POLL_SECONDS)


def kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def is_there(signal_to: Callable[[int, int], None], pid: int) -> bool:
    """Returns whether a process (by `os.kill`) or a process group (by `os.killpg`) has not ended."""
    try:
        signal_to(pid, 0)
    except (ProcessLookupError, PermissionError):  # macOS reports a group of zombies as PermissionError
        return False
    return True


if __name__ == "__main__":
    main()
