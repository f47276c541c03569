"""Computes the delay after failures in a row, for a lookup that is tried again and for a lane that is asked to wait."""

from __future__ import annotations

import random

# 1, 2, 4, 8 s, as Modash advises for its 429. The jitter keeps lanes apart that failed together.
BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0)


def backoff(times: int) -> float:
    """Returns the seconds to wait after `times` earlier failures in a row."""
    return BACKOFF_SECONDS[min(times, len(BACKOFF_SECONDS) - 1)] * random.uniform(0.9, 1.1)
