"""Runs one server as its child while it has users, restarts it when it dies, and stops it after the last user.

The supervisor is a process of its own, so that no user owns the server: its starter may end first, or be killed. It runs by its
path on the standard library alone, so that it starts at once and stays small.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TypedDict

POLL_SECONDS = 0.1
PROVEN_SECONDS = 1.0
STOP_SECONDS = 60.0
PR_SET_PDEATHSIG = 1


class SupervisorOrder(TypedDict):
    """Says what to run and how, as JSON on the command line. Holds no secret."""

    command: list[str]
    environment: dict[str, str]
    user: int | None
    group: int | None
    groups: list[int] | None
    stop_signal: int
    users: str
    pid: str
    serving: int


def main() -> None:
    order: SupervisorOrder = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    supervise(order, os.open(order["users"], os.O_RDWR))


def supervise(order: SupervisorOrder, users: int) -> None:
    """Runs the server until it has no user, or until its very first start fails, which its launcher reports."""
    server = start(order)
    born = time.monotonic()
    proven = False
    try:
        while not deserted(users):
            time.sleep(POLL_SECONDS)
            proven = proven or time.monotonic() - born > PROVEN_SECONDS
            if server.poll() is None:
                continue
            if not proven:
                return
            server = start(order)
    finally:
        stop(server, order["stop_signal"])


def start(order: SupervisorOrder) -> subprocess.Popen[bytes]:
    """Starts the server, which inherits the serving lock: it stays taken until its last process is gone."""
    libc = ctypes.CDLL(None)
    supervisor = os.getpid()

    def die_with_supervisor() -> None:
        # Comes after the change of account, which would clear it. Elsewhere there is no such thing, and the
        # next launcher ends what a killed supervisor left.
        if sys.platform == "linux":
            libc.prctl(PR_SET_PDEATHSIG, order["stop_signal"], 0, 0, 0)
            if os.getppid() != supervisor:
                os._exit(1)

    server = subprocess.Popen(
        order["command"],
        env=order["environment"],
        user=order["user"],
        group=order["group"],
        extra_groups=order["groups"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        pass_fds=[order["serving"]],
        preexec_fn=die_with_supervisor,
        umask=0o077,
    )
    Path(order["pid"]).write_text(str(server.pid))
    return server


def deserted(users: int) -> bool:
    """Returns whether the users' lock is now ours alone. The lock is kept, so that new users wait for the end."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def stop(server: subprocess.Popen[bytes], stop_signal: int) -> None:
    for number in (stop_signal, signal.SIGKILL):
        server.send_signal(number)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


if __name__ == "__main__":
    main()
