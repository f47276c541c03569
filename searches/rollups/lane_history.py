"""Reads what was counted of lanes: calls, refusals, failures, latency and queues over time, and who used a lane.

    history = lane_history.load(["modash"], timedelta(hours=1))
    history.points("modash", step=timedelta(minutes=1))
    history.queues("modash")
    lane_history.shares("modash", timedelta(hours=1))

A stretch that was not counted, or not sampled, has None, which is not 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from accounts import clock
from accounts.rollups import MINUTE, floor
from searches.models import LATENCY_BOUNDS_MS, LaneMinute, LaneShare
from searches.rollups import lane_calls

COVERAGE = """
WITH span AS (
    SELECT ends, ends - make_interval(secs => %s) AS begins FROM date_trunc('minute', statement_timestamp()) AS ends
)
SELECT span.begins, span.ends, progress.since, progress.until, sampled.minutes, sampled.last
FROM span CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(start), '{}') AS minutes, max(sampled_at) AS last
    FROM searches_sampledminute WHERE start >= span.begins
) AS sampled LEFT JOIN accounts_rollupprogress AS progress ON progress.name = %s
"""


@dataclass(kw_only=True)
class CallCounts:
    """Calls that have ended. `latencies` counts the answered ones by `LATENCY_BOUNDS_MS`."""

    calls: int = 0
    unsent: int = 0
    refusals: int = 0
    failures: int = 0
    unknown: int = 0
    latencies: list[int] | None = None

    @property
    def sent(self) -> int:
        """The calls that used the limit."""
        return self.calls - self.unsent

    @property
    def answered(self) -> int:
        return self.calls - self.refusals - self.failures - self.unknown

    def add(self, other: CallCounts | LaneMinute) -> None:
        self.calls += other.calls
        self.unsent += other.unsent
        self.refusals += other.refusals
        self.failures += other.failures
        self.unknown += other.unknown
        mine, others = self.latencies or [], other.latencies or []
        self.latencies = [a + b for a, b in zip(mine, others, strict=True)] if mine and others else mine or others

    def latency_ms(self, share: float) -> int | None:
        """Returns the time within which this share of the answers came, within the accuracy of a class; None without answers."""
        counts = self.latencies or []
        wanted = share * sum(counts)
        if not wanted:
            return None
        lower, before = 0, 0
        for count, upper in zip(counts, (*LATENCY_BOUNDS_MS, LATENCY_BOUNDS_MS[-1]), strict=True):
            if count and before + count >= wanted:
                return round(lower + (upper - lower) * (wanted - before) / count)
            lower, before = upper, before + count
        return lower


@dataclass(frozen=True, kw_only=True)
class Point:
    """One stretch of a lane's history. `calls` is None where it was not counted, the others where no sample was taken."""

    start: datetime
    calls: CallCounts | None
    waiting: int | None
    running: int | None
    oldest_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class LaneHistory:
    """Holds the counts of lanes in a span of whole minutes, from `begins` until `ends`, the present minute.

    Every minute between `since` and `until` was counted; no minute was if they are None. `sampled`: the minutes with a sample.
    `sampled_at`: when the last one was taken.
    """

    begins: datetime
    ends: datetime
    since: datetime | None
    until: datetime | None
    sampled: frozenset[datetime]
    sampled_at: datetime | None
    rows: Mapping[tuple[str, datetime], LaneMinute]

    def points(self, lane: str, *, step: timedelta) -> list[Point]:
        """Returns the lane's history in stretches of `step`, a whole number of minutes; the oldest first."""
        first = floor(self.begins, step)
        starts = [first + number * step for number in range(-(-(self.ends - first) // step))]
        return [self._point(lane, max(start, self.begins), min(start + step, self.ends)) for start in starts]

    def queues(self, lane: str) -> Point | None:
        """Returns the lane's last sample; None if none was taken in the span."""
        if self.sampled_at is None:
            return None
        minute = floor(self.sampled_at, MINUTE)
        return self._sampled(lane, [minute], self.sampled_at, calls=None)

    def _point(self, lane: str, start: datetime, end: datetime) -> Point:
        minutes = [start + number * MINUTE for number in range((end - start) // MINUTE)]
        is_counted = self.since is not None and self.until is not None and self.since <= start and end <= self.until
        calls = CallCounts() if is_counted else None
        if calls is not None:
            for row in self._rows(lane, minutes):
                calls.add(row)
        sampled = [minute for minute in minutes if minute in self.sampled]
        if not sampled:
            return Point(start=start, calls=calls, waiting=None, running=None, oldest_seconds=None)
        return self._sampled(lane, sampled, start, calls=calls)

    def _sampled(self, lane: str, minutes: Sequence[datetime], start: datetime, *, calls: CallCounts | None) -> Point:
        rows = self._rows(lane, minutes)
        ages = [(max(start, row.start) - row.oldest_at).total_seconds() for row in rows if row.oldest_at]
        return Point(
            start=start,
            calls=calls,
            waiting=max((row.waiting or 0 for row in rows), default=0),
            running=max((row.running or 0 for row in rows), default=0),
            oldest_seconds=max(0, *ages) if ages else None,
        )

    def _rows(self, lane: str, minutes: Iterable[datetime]) -> list[LaneMinute]:
        found = (self.rows.get((lane, minute)) for minute in minutes)
        return [row for row in found if row is not None]


def load(lanes: Collection[str], span: timedelta) -> LaneHistory:
    """Returns what is known of the lanes in this span of minutes, which ends at present. Makes two queries."""
    with connection.cursor() as cursor:
        cursor.execute(COVERAGE, [span.total_seconds(), lane_calls.NAME])
        begins, ends, since, until, sampled, last = cursor.fetchone()
    rows = LaneMinute.objects.filter(lane__in=lanes, start__gte=begins)
    return LaneHistory(
        begins=begins,
        ends=ends,
        since=since,
        until=until,
        sampled=frozenset(sampled),
        sampled_at=last,
        rows={(row.lane_id, row.start): row for row in rows},
    )


def total(points: Iterable[Point]) -> CallCounts:
    """Returns the calls of all stretches that were counted."""
    calls = CallCounts()
    for point in points:
        if point.calls is not None:
            calls.add(point.calls)
    return calls


def shares(lane: str, span: timedelta) -> list[tuple[UUID, int]]:
    """Returns how many calls each tenant made in the span, the most first; to ten minutes, and not beyond a day."""
    begins = floor(clock.now() - span, lane_calls.SHARE)
    mine = LaneShare.objects.filter(lane=lane, start__gte=begins)
    return list(mine.values_list("tenant").annotate(sent=Sum("calls")).order_by("-sent", "tenant"))
