"""How a launch ends early: in words for whoever typed the command, and the same way however it is told to stop."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from django.conf import settings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class LaunchError(Exception):
    """The message is all that is shown; `code` is what the program exits with: 2 where the caller can mend it."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Stopped(KeyboardInterrupt):
    """By Ctrl-C, by a signal, or by closing the terminal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def refuse_production(command: str, makes: str) -> None:
    """Raises `LaunchError` where the settings are production's."""
    if settings.PRODUCTION:
        told = f"PRODUCTION is set, and `{command}` makes {makes}; production runs its parts one by one."
        raise LaunchError(told, code=2)


@contextmanager
def exits_with_message() -> Iterator[None]:
    """No traceback: a `LaunchError` is printed, a signal only ends the block. Both exit; the next signal hurries nothing."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        yield
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.code)
    except Stopped as stopped:
        sys.exit(stopped.code)


def _stop(number: int, frame: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    _say("\nStopping: calls under way are finished first, for ten seconds at most. Another Ctrl-C changes nothing.\n")
    # The servers stop after the command has returned, and are the last to go.
    atexit.register(_say, "Stopped.\n")
    raise Stopped(number)


def _say(text: str) -> None:
    """The terminal may be gone, and a signal may have come in the middle of another write."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), text.encode())
