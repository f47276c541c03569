"""Counts rows window by window, in the order of time, into tables that pages read instead of counting.

A window is counted as a whole, from the rows themselves, and replaces what was counted before. Counting it twice, late, or from
two workers therefore changes nothing. Each run counts the last stretch again, in which rows still change, and then goes on to the
present. A worker that was away for hours counts those hours first, so that no window is left out. Until then the page knows from
`RollupProgress` what has not been counted.

Windows are found by the primary key, so the counted tables need no other index for this: ids have version 7, and begin with the
instant at which they were made (`accounts.ids`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts import clock
from accounts.ids import first_id_of
from accounts.models import RollupProgress

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# Ids are made by the clocks of many machines, and rows are dated by the database's. So far apart may the two be.
CLOCK_SKEW = timedelta(minutes=10)
# How far the first run of all looks back.
FIRST_LOOK = timedelta(days=7)


def floor(moment: datetime, unit: timedelta) -> datetime:
    """Returns the beginning of the minute, hour or other stretch that the moment is in, in UTC."""
    return moment - (moment - EPOCH) % unit


def window(since: datetime, until: datetime) -> dict[str, datetime | UUID]:
    """Returns the values of a query: `since`, `until`, and `first` and `last`, between which the ids of the window's rows are."""
    first, last = first_id_of(since - CLOCK_SKEW), first_id_of(until + CLOCK_SKEW)
    return {"since": since, "until": until, "first": first, "last": last}


def none_unsettled(before: datetime) -> Sequence[datetime]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Rollup:
    """One kind of rows that is counted.

    `count` counts a window and replaces what it had. Every run counts the last stretch, `recounted`, again, in which rows usually
    change. `unsettled` names the hours before that stretch whose rows may change too; the next run counts them again. A
    transaction counts at most `chunk`. The first run of all looks back as far as `first_look`.
    """

    name: str
    count: Callable[[datetime, datetime], None]
    unit: timedelta
    recounted: timedelta
    chunk: timedelta
    first_look: timedelta = FIRST_LOOK
    unsettled: Callable[[datetime], Sequence[datetime]] = field(default=none_unsettled)

    def catch_up(self, *, seconds: float) -> None:
        """Counts up to the present, for about so long. The next run takes the rest."""
        ends = time.monotonic() + seconds
        while self._count_next() and time.monotonic() < ends:
            pass

    @transaction.atomic
    def _count_next(self) -> bool:
        """Counts the next window. Returns whether there are others. Does nothing while another worker counts."""
        progress = self._lock()
        if progress is None:
            return False
        moment = clock.now()
        since = floor(min(progress.until, moment) - self.recounted, self.unit)
        until = min(since + self.chunk, moment)
        for hour in progress.again:
            if hour < since:
                self.count(hour, min(hour + HOUR, moment))
        self.count(since, until)
        progress.until = until
        progress.again = list(self.unsettled(floor(until - self.recounted, self.unit)))
        progress.save(update_fields=["until", "again"])
        return until < moment

    def _lock(self) -> RollupProgress | None:
        """Returns the locked progress, made if needed; None if another worker has locked it."""
        mine = RollupProgress.objects.filter(pk=self.name)
        if not mine.exists():
            first = floor(clock.now() - self.first_look, max(self.unit, HOUR))
            RollupProgress.objects.bulk_create(
                [RollupProgress(name=self.name, since=first, until=first + self.recounted)], ignore_conflicts=True
            )
        return mine.select_for_update(skip_locked=True).first()
