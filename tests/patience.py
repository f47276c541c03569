"""Waits for what other threads and processes do. A test says what it waits for, and never how long that takes: on a busy machine
everything takes long, and what never comes is no law of time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# What takes longer hangs.
HANGS_AFTER_SECONDS = 120


def until(happened: Callable[[], object], what: str = "what was waited for did not come") -> None:
    deadline = time.monotonic() + HANGS_AFTER_SECONDS
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
