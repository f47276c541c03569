"""Orders ids by time: rows have UUIDs of version 7, which begin with the instant at which they were made."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID


def first_id_of(moment: datetime) -> UUID:
    """Returns the smallest UUID of version 7 that can have been made at this moment."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)
