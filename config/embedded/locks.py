"""Locks files so that the kernel releases the lock however its holder ends. No lock is ever stale, and no pid must be
guessed.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 0.02


def take(path: Path, *, shared: bool = False, seconds: float = 0) -> int | None:
    """Returns an open descriptor that holds the lock until it is closed; None if the lock was not free in time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(POLL_SECONDS)
        else:
            return descriptor


@contextmanager
def held(path: Path, *, shared: bool = False, seconds: float = 0) -> Iterator[int | None]:
    """Holds the lock until the block ends, and yields what `take` returns."""
    descriptor = take(path, shared=shared, seconds=seconds)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_free(path: Path, *, shared: bool = False) -> bool:
    with held(path, shared=shared) as descriptor:
        return descriptor is not None
