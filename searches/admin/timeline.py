"""Builds the time line of each lookup: when it was submitted, on what it waited, and when it was sent, answered, charged and
announced, with the credits of each step.

Present waits are those that a tenant is told (`estimates`). A wait that is over is read off the calls: it is the time between
two of them, and what the first one met says why there was one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, Model, When, Window
from django.db.models.functions import RowNumber
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import Delivery, Event
from accounts.web.admin_columns import link, list_of, page_of
from billing.models import Entry
from billing.serializers import credits_text
from searches.admin import announcements, waits
from searches.admin.announcements import Announced
from searches.admin.columns import STATUS_COLOURS
from searches.lanes.estimates import Forecast
from searches.models import Call, Lookup, Repeat, Search

# A page shows so many of the newest calls and entries of each lookup, and links to the others.
MOST_CALLS, MOST_ENTRIES = 12, 30
# A shorter wait is what a claim takes, and no wait.
SHORTEST_WAIT = timedelta(milliseconds=50)
# Steps of one instant are in this order.
ORDER = (
    *("submitted", "hold", "waited", "sent", "answered", "failed", "unknown"),
    *("charge", "release", "ended", "announced"),
)
COLOURS = {
    "answered": "success",
    "failed": "danger",
    "unknown": "warning",
    "charge": "primary",
    "waits": "warning",
}
MONEY = {"hold": "held", "charge": "charged", "release": "released", "unknown": "unknown", "adjustment": "adjusted"}
NOBODY = "No endpoint wanted to hear of it then, or its events are erased."
Sees = Callable[[type[Model]], bool]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line: a word for what happened, a sentence about it, and credits if it moved any. `at` None: now."""

    at: datetime | None
    kind: str
    word: str
    text: str
    credits: str = ""
    since: str = ""

    @property
    def colour(self) -> str:
        return STATUS_COLOURS.get(self.word) or COLOURS.get(self.kind, "")


@dataclass(frozen=True, kw_only=True)
class Line:
    """The steps of one lookup, oldest first, and a link to the calls that are not among them."""

    lookup: Lookup
    steps: Sequence[Step]
    earlier_calls: SafeString | str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of several lookups of one search that the operator may see. `call_counts`: all calls, shown or not. `announced`
    None: the operator may not see what was.
    """

    calls: Mapping[UUID, list[Call]]
    entries: Mapping[str, list[Entry]]
    announced: Announced | None
    call_counts: Mapping[UUID, int]


def rows_of(search: Search, lookups: Sequence[Lookup], sees: Sees) -> Rows:
    """Reads the rows of all lookups at once: a page takes as many queries for twenty as for one."""
    calls: dict[UUID, list[Call]] = defaultdict(list)
    counts: dict[UUID, int] = {}
    for call in _newest_calls(lookups) if sees(Call) else ():
        calls[call.lookup_id].append(call)
        counts[call.lookup_id] = call.of_lookup
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in _newest_entries(lookups) if sees(Entry) else ():
        entries[entry.reference].append(entry)
    announced = announcements.of(search) if sees(Event) and sees(Delivery) else None
    return Rows(calls=dict(calls), entries=dict(entries), announced=announced, call_counts=counts)


def _newest_calls(lookups: Sequence[Lookup]) -> Iterable[Any]:
    own = Call.objects.filter(lookup__in=lookups).defer("excerpt")
    numbered = own.annotate(
        newest=Window(RowNumber(), partition_by="lookup", order_by="-id"),
        of_lookup=Window(Count("id"), partition_by="lookup"),
    )
    return numbered.filter(newest__lte=MOST_CALLS).order_by("id")


def _newest_entries(lookups: Sequence[Lookup]) -> Iterable[Entry]:
    own = Entry.objects.filter(reference__in=[lookup.reference for lookup in lookups])
    holds_first = Case(When(kind=Entry.Kind.HOLD, then=0), default=1)
    newest = Window(RowNumber(), partition_by="reference", order_by=(holds_first, F("number").desc()))
    return own.annotate(newest=newest).filter(newest__lte=MOST_ENTRIES).order_by("number")


def of(lookup: Lookup, rows: Rows, forecast: Forecast | None) -> Line:
    calls = rows.calls.get(lookup.pk, [])
    hidden = rows.call_counts.get(lookup.pk, 0) - len(calls)
    steps = chain(
        _begins(lookup),
        _calls(lookup, calls, all_shown=not hidden),
        map(_entry, rows.entries.get(lookup.reference, ())),
        _end(lookup),
        announced(rows.announced, lookup.pk, lookup.finished_at),
    )
    ordered = sorted(steps, key=place)
    address = list_of(Call, lookup__id__exact=lookup.pk)
    return Line(
        lookup=lookup,
        steps=[*_with_time_since(ordered, lookup.created_at), *_now(lookup, forecast)],
        earlier_calls=link(address, waits.number(hidden, "earlier call")) if hidden else "",
    )


def announced(told: Announced | None, subject: UUID, ended_at: datetime | None) -> Iterator[Step]:
    """Yields the events about a lookup or a search that has ended, and what became of their deliveries."""
    found = told.events.get(str(subject), []) if told else []
    if told and ended_at is not None and not found:
        yield Step(at=ended_at, kind="announced", word="not announced", text=NOBODY)
    for event in found:
        deliveries = told.deliveries.get(event.pk, []) if told else []
        to = f", to {waits.number(len(deliveries), 'endpoint')}" if deliveries else ""
        text = format_html("{}{}", link(page_of(event), event.type), to)
        yield Step(at=event.created_at, kind="announced", word="announced", text=text)
        yield from map(_delivery, deliveries)


def place(step: Step) -> tuple[Any, int]:
    return step.at, ORDER.index(step.kind) if step.kind in ORDER else len(ORDER)


def _with_time_since(steps: Iterable[Step], start: datetime) -> Iterator[Step]:
    for step in steps:
        assert step.at is not None
        after = (step.at - start).total_seconds()
        since = f"+ {waits.span(after)}" if after > 0 else ""
        yield replace(step, since=since)


def _begins(lookup: Lookup) -> Iterator[Step]:
    text: str = f"{waits.number(lookup.limit, 'result')} asked for" if lookup.limit else "All results asked for"
    if lookup.repeat_of_id and lookup.repeat != Repeat.MISS:
        verb = "It takes the answer of" if lookup.repeat == Repeat.HIT else "It follows"
        text = format_html(
            "{}. {} {}, at no cost.", text, verb, link(_page_of_lookup(lookup.repeat_of_id), "an equal lookup")
        )
    elif lookup.repeat != Repeat.MISS:
        text = f"{text}. It repeats an equal lookup that is gone."
    yield Step(at=lookup.created_at, kind="submitted", word="submitted", text=text)


def _page_of_lookup(lookup_id: UUID) -> str:
    return page_of(Lookup(pk=lookup_id))


def _calls(lookup: Lookup, calls: Sequence[Call], *, all_shown: bool) -> Iterator[Step]:
    """Yields the steps of each call, and the wait before it, which began at the submit or at the end of the call before."""
    free_at: datetime | None = lookup.created_at if all_shown else None
    before: Call | None = None
    for call in calls:
        if free_at is not None and call.armed_at - free_at > SHORTEST_WAIT:
            took = waits.span((call.armed_at - free_at).total_seconds())
            yield Step(at=call.armed_at, kind="waited", word="waited", text=f"{took}, {waits.before_call(before)}")
        yield from _call(call)
        free_at, before = call.finished_at, call


def _call(call: Call) -> Iterator[Step]:
    page = link(page_of(call), f"page {call.page}")
    if call.sent_at:
        yield Step(at=call.sent_at, kind="sent", word="sent", text=format_html("The call for {}", page))
    if call.state == Call.State.ARMED:
        if not call.sent_at:
            yield Step(
                at=call.armed_at, kind="sent", word="claimed", text=format_html("The call for {} is under way", page)
            )
        return
    kind = str(call.state)
    word = {"answered": "answered", "failed": "failed", "unknown": "lost"}[kind]
    yield Step(at=call.finished_at or call.armed_at, kind=kind, word=word, text=_outcome(call, page))


def _outcome(call: Call, page: SafeString) -> str:
    status = f"HTTP {call.status}" if call.status else "" if call.sent_at else "nothing was sent"
    took = waits.span((call.finished_at - call.sent_at).total_seconds()) if call.sent_at and call.finished_at else ""
    found = (
        waits.number(call.returned, "result") if call.returned is not None and call.state == Call.State.ANSWERED else ""
    )
    unreadable = f"{call.unreadable} unreadable" if call.unreadable else ""
    facts = ", ".join(part for part in (status, f"in {took}" if took else "", found, unreadable) if part)
    error = f"{call.error_code}: {call.error_detail}" if call.error_detail else call.error_code
    return format_html("{}: {}{}{}", page, facts, ". " if facts and error else "", error)


def _entry(entry: Entry) -> Step:
    word = MONEY.get(entry.kind, entry.kind)
    by = f" by {entry.person}: {entry.memo}" if entry.person else ""
    text = format_html("{}{}", link(page_of(entry), f"Entry {entry.number} of the ledger"), by)
    return Step(at=entry.created_at, kind=entry.kind, word=word, text=text, credits=credits_text(entry.amount))


def _end(lookup: Lookup) -> Iterator[Step]:
    if lookup.finished_at is not None:
        found = waits.number(lookup.result_count, "result")
        again = f"{waits.number(lookup.duplicates, 'duplicate')}" if lookup.duplicates else ""
        text = ", ".join(part for part in (lookup.error_code, found, again) if part)
        yield Step(at=lookup.finished_at, kind="ended", word=str(lookup.status), text=text)


def _delivery(delivery: Delivery) -> Step:
    to = link(page_of(delivery), f"to {delivery.endpoint.target or delivery.endpoint}")
    tried = f"after {waits.number(delivery.attempt_count, 'attempt')}"
    if delivery.finished_at is not None:
        return Step(
            at=delivery.finished_at,
            kind="failed" if delivery.state == Delivery.State.FAILED else "delivered",
            word=f"delivery {delivery.state}" if delivery.state == Delivery.State.FAILED else "delivered",
            text=format_html("{} {}", to, tried),
        )
    again = f", tried next at {delivery.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC" if delivery.next_attempt_at else ""
    return Step(at=delivery.created_at, kind="pending", word="pending", text=format_html("{} {}{}", to, tried, again))


def _now(lookup: Lookup, forecast: Forecast | None) -> Iterator[Step]:
    """Yields what an open lookup does now."""
    if lookup.status in Lookup.OPEN:
        kind, word, sentence = (
            ("waits", "waits", waits.sentence(forecast)) if forecast else ("sent", "runs", waits.UNDER_WAY)
        )
        yield Step(at=None, kind=kind, word=word, text=sentence)
