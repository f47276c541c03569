"""Ends a launch early with a message for the person at the terminal, in one way for errors and signals."""

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
    """Carries the message that is shown and the exit code: 2 if the caller can correct the cause."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Stopped(KeyboardInterrupt):
    """Reports Ctrl-C, a signal, or a closed terminal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def refuse_production(command: str, makes: str) -> None:
    """Raises `LaunchError` where the settings are production's."""
    if settings.PRODUCTION:
        message = f"PRODUCTION is set, and `{command}` makes {makes}; production runs its parts one by one."
        raise LaunchError(message, code=2)


@contextmanager
def exits_with_message() -> Iterator[None]:
    """Prints a `LaunchError` instead of a traceback, and lets a signal end the block. Both exit; further signals are ignored."""
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
    # The servers stop last, after the command has returned.
    atexit.register(_say, "Stopped.\n")
    raise Stopped(number)


def _say(text: str) -> None:
    """Writes to standard error. The terminal may be closed, and the signal may have interrupted another write."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), text.encode())
