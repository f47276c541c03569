"""Draws a lane's last calls as bars on a time line: each from its first byte to its end, coloured by its outcome, under the slots
that the lane's limit gives.

The bars are numbers for an inline SVG, in its own units, so that the page needs no script. Calls that overlap are drawn in rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from django.db.models import Q

from accounts.ids import first_id_of
from accounts.web.admin_columns import page_of
from providers import policies
from searches.admin.lanes.moments import span
from searches.models import Call, Lane

SPAN = timedelta(seconds=60)
# A call is claimed shortly before it is sent, and most end soon. Those that are under way are found by their lease.
BEFORE = timedelta(seconds=60)
MOST_CALLS = 300
WIDTH, ROW, TOP, AXIS = 1200, 16, 18, 22
LEAST_WIDTH = 3
MOST_ROWS = 30
# Closer slots would be one grey area.
LEAST_GAP = 5
TICKS = 6
# The HTTP status by which providers say that a call came too early.
TOO_MANY_REQUESTS = 429
OUTCOMES = {
    "answered": "answered",
    "refused": "refused: too many calls",
    "failed": "failed",
    "unknown": "outcome unknown",
    "armed": "under way",
}


@dataclass(frozen=True, kw_only=True)
class CallBar:
    """One call. `outcome` is a key of `OUTCOMES`."""

    outcome: str
    title: str
    address: str
    x: float
    y: int
    width: float


@dataclass(frozen=True, kw_only=True)
class Tick:
    x: float
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class TimeLine:
    """The bars, the slots and the marks of the axis, with the size of the whole."""

    bars: list[CallBar]
    slots: list[Tick]
    ticks: list[Tick]
    limit: str
    height: int
    width: int = WIDTH
    top: int = TOP
    bar_height: int = ROW - 4
    outcomes: dict[str, str]

    @property
    def floor(self) -> int:
        return self.height - AXIS

    @property
    def label(self) -> int:
        return self.height - 6


def of(lane: Lane, now: datetime) -> TimeLine:
    """Returns the time line of the minute before `now`."""
    calls = _calls(lane, now)
    bars, rows = _bars(calls, now)
    policy = lane.policy_in_force
    interval = policies.rate(policy).interval_seconds
    last = max((call.sent_at for call in calls if call.sent_at), default=None)
    shown = {bar.outcome for bar in bars}
    return TimeLine(
        bars=bars,
        slots=_slots(interval, last, now),
        ticks=[
            Tick(x=WIDTH * nth / TICKS, text=f"-{_seconds(SPAN) * (1 - nth / TICKS):.0f} s") for nth in range(TICKS)
        ],
        limit=f"{policy.calls} in {policy.window_ms:,} ms: a slot every {span(interval)}",
        height=TOP + max(rows, 1) * ROW + AXIS,
        outcomes={name: words for name, words in OUTCOMES.items() if name in shown},
    )


def _calls(lane: Lane, now: datetime) -> list[Call]:
    """Returns the calls that were under way in the last minute, by their start. Each query reads a part of an index."""
    own = Call.objects.filter(lookup__lane=lane).select_related("lookup__tenant").defer("excerpt")
    recent = own.filter(Q(finished_at__gte=now - SPAN) | Q(finished_at=None), pk__gte=first_id_of(now - SPAN - BEFORE))
    under_way = own.filter(state=Call.State.ARMED, leased_until__gt=now)
    found = {call.pk: call for calls in (recent, under_way) for call in calls.order_by("-pk")[:MOST_CALLS]}
    return sorted((call for call in found.values() if call.sent_at or call.finished_at is None), key=_begin)


def _begin(call: Call) -> datetime:
    """Returns when a call was sent, or was claimed if it has not ended: its end writes when it was sent."""
    return call.sent_at or call.armed_at


def _bars(calls: list[Call], now: datetime) -> tuple[list[CallBar], int]:
    """Returns a bar for each call, in the first row that is free when it starts, and the number of rows."""
    bars: list[CallBar] = []
    free_at: list[float] = []
    for call in calls:
        begin, end = _x(_begin(call), now), _x(call.finished_at or now, now)
        width = max(end - begin, LEAST_WIDTH)
        row = next(nth for nth in count() if nth == len(free_at) or free_at[nth] <= begin)
        free_at[row:] = [begin + width, *free_at[row + 1 :]]
        bars.append(
            CallBar(
                outcome=outcome(call),
                title=_title(call),
                address=page_of(call),
                x=begin,
                y=TOP + min(row, MOST_ROWS - 1) * ROW + 2,
                width=width,
            )
        )
    return bars, min(len(free_at), MOST_ROWS)


def outcome(call: Call) -> str:
    """Returns the outcome by which a call is coloured."""
    return "refused" if call.status == TOO_MANY_REQUESTS else str(call.state)


def _title(call: Call) -> str:
    begin = _begin(call)
    started = f"{'sent' if call.sent_at else 'claimed'} {begin:%H:%M:%S}.{begin.microsecond // 1000:03d} UTC"
    length = f"{_seconds(call.finished_at - begin) * 1000:,.0f} ms" if call.finished_at else "not ended"
    why = f", {call.error_code}" if call.error_code else ""
    return f"{call.lookup.tenant}, {call.lookup.source}, {started}, {length}: {OUTCOMES[outcome(call)]}{why}"


def _slots(interval: float, last: datetime | None, now: datetime) -> list[Tick]:
    """Returns the slots of the minute, counted back from the last call that was sent, or from now."""
    gap = WIDTH * interval / _seconds(SPAN)
    if gap < LEAST_GAP:
        return []
    anchor = _x(last or now, now) % gap
    return [Tick(x=round(anchor + nth * gap, 1)) for nth in range(int((WIDTH - anchor) / gap) + 1)]


def _x(moment: datetime, now: datetime) -> float:
    """Returns where a moment is on the axis."""
    x = WIDTH * (1 - (now - moment) / SPAN)
    return round(min(max(x, 0.0), float(WIDTH)), 1)


def _seconds(length: timedelta) -> float:
    return length / timedelta(seconds=1)
