"""Bounds work on many rows: how many a statement or a transaction takes at once, and how many batches a run takes.

A batch holds its locks briefly, and a run leaves its worker to others soon. The next run takes the rest.
"""

from __future__ import annotations

from collections.abc import Callable

# Rows of one batch: a statement of a thousand takes milliseconds, so that who waits for their locks waits no longer.
SIZE = 1000


def repeat(batch: Callable[[], int], *, most: int) -> None:
    """Calls `batch` until it finds fewer rows than `SIZE`, at most `most` times."""
    for _ in range(most):
        if batch() < SIZE:
            return
