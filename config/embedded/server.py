"""Lets programs share one embedded server: the first one starts it, the others find it, and it stops after the last one.

Four locks in the server's folder hold the whole state. The kernel releases each one when its holder ends:

    launching    one program at a time starts or ends its use
    users        shared by all that use the server; when its supervisor gets it alone, the supervisor stops the server
    supervising  held by the supervisor while it watches the server
    serving      inherited by the server's own processes, one of which may still have the data open

Pid files say less: pids are used again, and killed processes leave theirs behind. An owner among the users would take the
server from the others by ending first.
"""

import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from config.embedded import locks, state, supervisor
from config.embedded.state import EmbeddedError

START_SECONDS = 120
END_SECONDS = 90
POLL_SECONDS = 0.03
LOG_LINES = 4
# For each lock the seconds to wait for it, and what is wrong if it is not free by then.
LOCKS = {
    "launching": (300, "is being started by another program, and does not come up"),
    "users": (END_SECONDS, "is being stopped, and does not end"),
    "supervising": (0, "is started by a program that does not wait for its turn"),
    "serving": (END_SECONDS, "was left running by a killed program, and does not end"),
}

# Supervisors that this process started. They are kept to be waited for, so that they leave no zombie.
_children: list[subprocess.Popen[bytes]] = []


class Server(ABC):
    title: ClassVar[str]
    variable: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path, account: state.SystemAccount) -> None:
        self.folder = state.private(folder, account)
        self.account = account
        self.log = folder / "log"

    @property
    @abstractmethod
    def url(self) -> str:
        """Returns the server's address with its secret; true while it runs."""

    @abstractmethod
    def prepare(self) -> list[str]:
        """Makes the server's files, and returns the command that runs it in the foreground with its log on standard output."""

    @abstractmethod
    def answers(self) -> bool:
        """Returns whether the server can be used."""

    @cached_property
    def password(self) -> str:
        return state.password(self.folder / "password")

    @contextmanager
    def in_use(self) -> Iterator[str]:
        """Yields the URL of the server, which runs at least until the block ends."""
        try:
            with ExitStack() as stack:
                with self._locked("launching"):
                    # Waits while a supervisor without users is still stopping the server.
                    stack.enter_context(self._locked("users", shared=True))
                    self._bring_up()
                yield self.url
        finally:
            self._wait_for_end()

    def _bring_up(self) -> None:
        """Returns when the server answers. Starts it once if it has no supervisor."""
        deadline = time.monotonic() + START_SECONDS
        started = False
        while True:
            unsupervised = locks.is_free(self.folder / "supervising")
            if unsupervised and not started:
                self._start()
                started = True
            elif unsupervised or time.monotonic() > deadline:
                raise EmbeddedError(f"{self.title} did not start: {self._last_words()} (all of it: {self.log})")
            if self.answers():
                return
            time.sleep(POLL_SECONDS)

    def _start(self) -> None:
        try:
            with self._locked("supervising") as supervising:
                self._end_what_was_left()
                with self._locked("serving") as serving:
                    self._supervise(self.prepare(), supervising, serving)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"{self.title} could not be started: {error}") from error

    def _supervise(self, command: list[str], supervising: int, serving: int) -> None:
        order: supervisor.SupervisorOrder = {
            "command": command,
            "environment": state.of_servers(),
            "user": self.account.user,
            "group": self.account.group,
            "groups": self.account.groups,
            "stop_signal": self.stop_signal,
            "users": str(self.folder / "users"),
            "pid": str(self.folder / "pid"),
            "serving": serving,
        }
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_name("log.before"))
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[supervising, serving],
                cwd="/",
                start_new_session=True,
            )
        _children.append(process)

    def _end_what_was_left(self) -> None:
        """Ends the processes that a killed supervisor left. On Linux they had the signal when it was killed."""
        if not locks.is_free(self.folder / "serving"):
            with suppress(OSError, ValueError):
                os.kill(int((self.folder / "pid").read_text()), self.stop_signal)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return " | ".join(line.strip() for line in lines if line.strip()) or "it said nothing"

    def _wait_for_end(self) -> None:
        """Returns when the server has ended, or another program uses it or is about to."""
        deadline = time.monotonic() + END_SECONDS
        with locks.held(self.folder / "launching") as launching:
            while launching is not None and not self._is_shared() and time.monotonic() < deadline:
                if locks.is_free(self.folder / "supervising"):
                    _children[:] = [child for child in _children if child.poll() is None]
                    return
                time.sleep(POLL_SECONDS)

    def _is_shared(self) -> bool:
        """Returns whether the server has users. Their lock cannot be had while the server is ending."""
        users = self.folder / "users"
        return not locks.is_free(users) and locks.is_free(users, shared=True)

    @contextmanager
    def _locked(self, name: str, *, shared: bool = False) -> Iterator[int]:
        seconds, trouble = LOCKS[name]
        with locks.held(self.folder / name, shared=shared, seconds=seconds) as descriptor:
            if descriptor is None:
                raise EmbeddedError(f"The embedded {self.title} {trouble}: see {self.log}.")
            yield descriptor
