"""The live lanes: what waits and runs, how much of the limit was used, how the provider answered, and why a lane is paused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject

from accounts.models import Act, Mode
from accounts.rollups import MINUTE
from accounts.web.admin_columns import page_of
from config.dashboard import charts, words
from config.dashboard.charts import Column, TimeChart
from providers import policies
from searches.admin.lane_states import BREAKER_OPEN, BY_OPERATORS, TOLD_TO_WAIT
from searches.models import Lane
from searches.rollups import lane_history
from searches.rollups.lane_history import CallCounts, LaneHistory, Point

# The lanes with a card of their own: those that were called last. The list has all.
MOST_CARDS = 12
# The lanes whose trouble is explained. Their count leads to the list.
MOST_EXPLAINED = 20
SPAN = timedelta(hours=1)
# A sample is taken every 20 seconds.
SAMPLE_IS_OLD = timedelta(minutes=2)
COLOURS = {"running": "success", "paused": "warning", "breaker open": "danger", "told to wait": "warning"}


@dataclass(frozen=True, kw_only=True)
class LaneCard:
    """A lane as the first page shows it. `breaker`, `pause`, `policy_pause` and `wait` say why it makes no calls; else empty."""

    name: str
    provider: str
    address: str
    state: str
    colour: str
    queues: str
    use: str
    chart: TimeChart
    outcomes: list[tuple[str, str]]
    latency: str
    breaker: str
    pause: str
    policy_pause: str
    wait: str
    is_live: bool

    @property
    def reasons(self) -> list[str]:
        return [reason for reason in (self.policy_pause, self.pause, self.breaker, self.wait) if reason]


def cards(moment: datetime) -> list[LaneCard]:
    """Returns the lanes that were called last, and those in trouble, with a card each."""
    live = Lane.objects.filter(mode=Mode.LIVE).order_by(F("claimed_at").desc(nulls_last=True), "name")
    troubled = Lane.objects.filter(BY_OPERATORS | TOLD_TO_WAIT | BREAKER_OPEN).order_by("name")
    shown = Q(pk__in=live.values("pk")[:MOST_CARDS]) | Q(pk__in=troubled.values("pk")[:MOST_EXPLAINED])
    lanes = _with_acts(Lane.objects.filter(shown).select_related("policy").order_by("name"))
    found = list(lanes)
    history = lane_history.load([lane.pk for lane in found], SPAN)
    return [_card(lane, history, moment) for lane in found]


def _with_acts(lanes: QuerySet[Lane]) -> QuerySet[Lane]:
    """Adds who paused the lane and its provider, and when, from the log of acts."""
    said = JSONObject(name="name", at="created_at", reason="reason")

    def last(**about: Any) -> Subquery:
        return Subquery(Act.objects.filter(**about).order_by("-id").values(said=said)[:1])

    return lanes.annotate(
        paused_by=last(object_type="searches.lane", object_id=OuterRef("pk"), kind="pause"),
        policy_paused_by=last(
            object_type="providers.policy", object_id=OuterRef("policy_id"), changes__icontains="paused"
        ),
    )


def _card(lane: Any, history: LaneHistory, moment: datetime) -> LaneCard:
    points = history.points(lane.pk, step=MINUTE)
    calls = lane_history.total(points)
    capacity = 60 / policies.rate(lane.policy_in_force).interval_seconds
    reasons = _reasons(lane, moment)
    state = next((name for name, reason in reasons.items() if reason), "running")
    return LaneCard(
        name=lane.name,
        provider=lane.policy_id,
        address=page_of(lane),
        state="paused" if "pause" in state else state.replace("_", " "),
        colour=COLOURS.get(state.replace("_", " "), "warning"),
        queues=_queues(history, lane.pk, moment),
        use=_use(points, calls, capacity),
        chart=_chart(lane.name, points, capacity),
        outcomes=_outcomes(calls),
        latency=_latency(calls),
        is_live=lane.mode == Mode.LIVE,
        breaker=reasons["breaker_open"],
        pause=reasons["pause"],
        policy_pause=reasons["policy_pause"],
        wait=reasons["told_to_wait"],
    )


def _reasons(lane: Any, moment: datetime) -> dict[str, str]:
    """Returns why the lane makes no calls, by the kind of reason; empty where it is none."""
    is_open = lane.broken_until and lane.broken_until > moment
    breaker = f"open until {lane.broken_until:%H:%M:%S} UTC" if is_open else "half-open, one call is tried"
    waits = lane.paused_until and lane.paused_until > moment
    return {
        "policy_pause": f"paused by its policy {_since(lane.policy_paused_by)}" if lane.policy_in_force.paused else "",
        "pause": f"paused by operators {_since(lane.paused_by)}" if lane.paused else "",
        "breaker_open": f"its breaker is {breaker}" if lane.trips else "",
        "told_to_wait": f"its provider said to wait until {lane.paused_until:%H:%M:%S} UTC" if waits else "",
    }


def _since(act: dict[str, str] | None) -> str:
    """Returns since when, by whom and why there is a pause; the log of acts has no pause that a program made."""
    if act is None:
        return "at a time of which there is no record"
    since = datetime.fromisoformat(act["at"])
    why = f" ({act['reason']})" if act["reason"] else ""
    return f"since {since:%Y-%m-%d %H:%M} UTC by {act['name']}{why}"


def _queues(history: LaneHistory, lane: str, moment: datetime) -> str:
    queues = history.queues(lane)
    if queues is None or moment - queues.start > SAMPLE_IS_OLD:
        return "No sample of its queues was taken in the last minutes."
    waiting = f"{words.counted(queues.waiting or 0, 'lookup')} waiting, {queues.running} running"
    return (
        f"{waiting}; the oldest waits for {words.duration(queues.oldest_seconds)}" if queues.oldest_seconds else waiting
    )


def _use(points: Sequence[Point], calls: CallCounts, capacity: float) -> str:
    known = sum(1 for point in points if point.calls is not None)
    if not known:
        return "No minute of the last hour has been counted yet."
    missing = f"; {len(points) - known} of {len(points)} minutes are not counted" if known < len(points) - 1 else ""
    used = words.share(calls.sent, capacity * known)
    return f"{used} of its limit of {capacity:,.0f} calls a minute used in the last hour{missing}"


def _outcomes(calls: CallCounts) -> list[tuple[str, str]]:
    """Returns how the calls of the hour ended: the kind and its words."""
    return [
        ("answered", words.counted(calls.answered, "call answered", "calls answered")),
        ("refused", words.counted(calls.refusals, "told to wait", "told to wait")),
        ("failed", words.counted(calls.failures, "failed", "failed")),
        ("unknown", words.counted(calls.unknown, "unknown", "unknown")),
    ]


def _latency(calls: CallCounts) -> str:
    half, most = calls.latency_ms(0.5), calls.latency_ms(0.95)
    if half is None or most is None:
        return "No answer came in the last hour."
    return f"Half of the answers came within {words.milliseconds(half)}, 95 % within {words.milliseconds(most)}."


def _chart(name: str, points: Sequence[Point], capacity: float) -> TimeChart:
    columns = [_column(point) for point in points]
    return charts.draw(columns, words=f"Calls of {name} by minute in the last hour", limit=capacity)


def _column(point: Point) -> Column:
    calls = point.calls
    if calls is None:
        return Column(words=f"{point.start:%H:%M} UTC: not counted yet", parts=None)
    parts: dict[str, float] = {
        "answered": calls.answered,
        "refused": calls.refusals,
        "failed": calls.failures,
        "unknown": calls.unknown,
    }
    named = [
        f"{amount:.0f} {'told to wait' if kind == 'refused' else kind}" for kind, amount in parts.items() if amount
    ]
    return Column(words=f"{point.start:%H:%M} UTC: {', '.join(named) or 'no calls'}", parts=parts)
