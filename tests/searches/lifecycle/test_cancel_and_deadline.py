"""The outcome of a lookup that is canceled, expires or is erased at each instant of its life: status, kept results and money.

A table has one outcome each. An empty column stands for none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import pytest
from django.db.models import Count

from accounts import clock
from billing import audit, ledger
from providers.failures import BadCredential, Failure, Faulty, Garbled, Lost, Refused, Throttled
from providers.models import Policy
from searches.calls import outcomes, settlement
from searches.lanes import queue
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import cancellation, deadlines, erasure
from searches.models import Call, Lane, Lookup, QueueState, Search, Status, TenantQueue
from tests.racing import at_once
from tests.searches.lives import Submit, answer, claim_next, end, money, no_lookup_waits

pytestmark = pytest.mark.django_db
# A search of one lookup, and its call where one is under way.
Moment = tuple[Search, ClaimedLookup | None]
THREE_PAGES = 3


# Outcomes of a call


def fail(failure: Failure) -> Callable[[ClaimedLookup], None]:
    return lambda claimed: outcomes.failed(claimed, Policy.objects.get(), failure)


def answer_after_all(claimed: ClaimedLookup) -> None:
    LOST(claimed)
    outcomes.answered(claimed, answer())


LOST = fail(Lost("no_answer", "…"))
COMES: dict[str, Callable[[ClaimedLookup], None]] = {
    "an answer": lambda claimed: outcomes.answered(claimed, answer()),
    "it never leaves": lambda claimed: settlement.unsent(claimed.call, claimed.lookup),
    "a fault": fail(Faulty("provider_error", "…")),
    "a 429": fail(Throttled("rate_limited", "…", retry_after=60)),
    "a dead key": fail(BadCredential("credential_invalid", "…")),
    "a refusal": fail(Refused("refused", "…")),
    "nonsense, 3 billed": fail(Garbled("garbled", "…", status=200, billed_results=3)),
    "nonsense": fail(Garbled("garbled", "…", status=200, billed_results=None)),
    "silence": LOST,
    "it after all": answer_after_all,
}


# Instants


def waiting(submit: Submit) -> Moment:
    return submit(), None


def claimed_now(submit: Submit) -> Moment:
    return submit(), claim_next()


def claimed_of_three(submit: Submit) -> Moment:
    return submit(pages=THREE_PAGES), claim_next()


def between_pages(submit: Submit) -> Moment:
    search = submit(pages=THREE_PAGES)
    outcomes.answered(claim_next(), answer())
    return search, None


def second_page(submit: Submit) -> Moment:
    search, _ = between_pages(submit)
    return search, claim_next()


def after(comes: str, instant: Callable[[Submit], Moment] = claimed_now) -> Callable[[Submit], Moment]:
    def at(submit: Submit) -> Moment:
        search, claimed = instant(submit)
        assert claimed is not None
        COMES[comes](claimed)
        return search, None

    return at


INSTANTS: dict[str, Callable[[Submit], Moment]] = {
    "waiting": waiting,
    "delayed": after("a fault"),
    "blocked": after("a dead key"),
    "back in line": after("it never leaves"),
    "unknown, again in line": after("silence"),
    "between pages": between_pages,
    "delayed between pages": after("a fault", second_page),
    "blocked between pages": after("a dead key", second_page),
    "under way": claimed_now,
    "under way, 1 of 3": claimed_of_three,
    "under way, 2 of 3": second_page,
    "succeeded": after("an answer"),
    "failed": after("a refusal"),
}

# A page is 20 results at 0.025: 0.5 credits.
TABLE = """
at                      then                 canceled               out of time             erased
waiting                 -                    canceled               expired                 canceled
delayed                 -                    canceled               expired                 canceled
blocked                 -                    canceled               expired                 canceled
back in line            -                    canceled               expired                 canceled
unknown, again in line  -                    canceled 0.5?          expired 0.5?            canceled 0.5?
between pages           -                    canceled 20r 0.5       succeeded 60r 1.5       canceled 0.5
delayed between pages   -                    canceled 20r 0.5       succeeded 60r 1.5       canceled 0.5
blocked between pages   -                    canceled 20r 0.5       expired 20r 0.5         canceled 0.5
under way               an answer            canceled 20r 0.5       succeeded 20r 0.5       canceled 0.5
under way               it never leaves      canceled               expired                 canceled
under way               a fault              canceled               expired                 canceled
under way               a 429                canceled               expired                 canceled
under way               a dead key           canceled               expired                 canceled
under way               a refusal            failed                 failed                  canceled
under way               nonsense, 3 billed   failed 0.075           failed 0.075            canceled 0.075
under way               nonsense             failed 0.5?            failed 0.5?             canceled 0.5?
under way               silence              canceled 0.5?          expired 0.5?            canceled 0.5?
under way               it after all         canceled 0.5           expired 0.5             canceled 0.5
under way, 1 of 3       an answer            canceled 20r 0.5       succeeded 60r 1.5       canceled 0.5
under way, 2 of 3       an answer            canceled 40r 1         succeeded 60r 1.5       canceled 1
under way, 2 of 3       a fault              canceled 20r 0.5       succeeded 60r 1.5       canceled 0.5
under way, 2 of 3       a refusal            failed 20r 0.5         failed 20r 0.5          canceled 0.5
under way, 2 of 3       silence              canceled 20r 0.5 0.5?  succeeded 60r 1.5 0.5?  canceled 0.5 0.5?
succeeded               -                    succeeded 20r 0.5      succeeded 20r 0.5       succeeded 0.5
failed                  -                    failed                 failed                  failed
"""


def rows() -> list[tuple[str, ...]]:
    """Returns the rows of the table. Their columns begin where those of its head do."""
    head, *lines = TABLE.strip().split("\n")
    begins = [head.index(word) for word in ("at", "then", "canceled", "out of time", "erased")]
    return [
        tuple(line[begin:until].strip() for begin, until in zip(begins, [*begins[1:], None], strict=True))
        for line in lines
    ]


ROWS = rows()


def run_out(search: Search) -> None:
    end(search)
    deadlines.expire()


ACTS: dict[str, Callable[[Search], object]] = {
    "canceled": cancellation.cancel,
    "out of time": run_out,
    "erased": erasure.erase,
}


def carry_on() -> None:
    """Acts as the sweep and the workers until no lookup is queued: due ones are woken, late ones expire."""
    for _ in range(THREE_PAGES):
        deadlines.expire()
        Lane.objects.update(paused_until=None)
        Lookup.objects.filter(queue_state=QueueState.DELAYED).update(not_before=clock.now())
        TenantQueue.objects.update(wake_at=clock.now())
        if no_lookup_waits():
            return
        outcomes.answered(claim_next(), answer())


def outcome(search: Search) -> str:
    """Returns the status, the results kept, the credits charged, and those that are unknown. Nothing else is held, and what
    ended without success while something may have been billed says so in its code.
    """
    lookup = search.lookups.get()
    tally = ledger.tallies([lookup.reference])[lookup.reference]
    _, held = money()
    assert tally.held == 0
    assert held == tally.unknown
    if tally.unknown and lookup.status != Status.SUCCEEDED:
        assert lookup.error_code == "outcome_unknown"
    assert lookup.result_count == search.results.count()
    parts = (f"{lookup.result_count}r", f"{tally.charged.normalize():f}", f"{tally.unknown.normalize():f}?")
    return " ".join([lookup.status, *(part for part in parts if part not in ("0r", "0", "0?"))])


def test_the_table_has_every_instant_with_every_outcome() -> None:
    assert {row[0] for row in ROWS} == set(INSTANTS)
    assert {row[1] for row in ROWS} == {"-", *COMES}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1]}")
def test_each_instant_has_the_outcome_of_the_table(submit: Submit, row: tuple[str, ...], act: str) -> None:
    at, then, *expected = row
    search, claimed = INSTANTS[at](submit)
    ACTS[act](search)
    if claimed is not None:
        COMES[then](claimed)
    carry_on()
    assert outcome(search) == expected[list(ACTS).index(act)]
    assert no_lookup_waits()
    assert not Call.objects.filter(state=Call.State.ARMED).exists()


# At the same instant


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("act", "after_all", "kept"),
    [("canceled", "canceled", 20), ("out of time", "succeeded", 20), ("erased", "canceled", 0)],
)
def test_a_settlement_that_races_a_cancel_has_one_of_two_outcomes(
    submit: Submit, act: str, after_all: str, kept: int
) -> None:
    searches = [submit() for _ in range(10)]
    claims = [claim_next() for _ in searches]
    by_lookup = {claimed.lookup.search_id: claimed for claimed in claims}
    tasks: list[Callable[[], object]] = []
    for search in searches:
        tasks.append(partial(ACTS[act], search))
        tasks.append(partial(COMES["an answer"], by_lookup[search.pk]))
    at_once(tasks)
    for search in searches:
        charged = "0.5" if not kept else f"{kept}r 0.5"
        assert outcome(search) in {f"succeeded {charged}", f"{after_all} {charged}"}
    assert no_lookup_waits()


@pytest.mark.django_db(transaction=True)
def test_a_lookup_whose_time_is_up_during_a_claim_is_called_or_expires(submit: Submit) -> None:
    searches = [submit() for _ in range(20)]
    for search in searches:
        end(search)

    def claim() -> None:
        # A claim that waits for too long takes nothing.
        with suppress(queue.Contended):
            queue.claim("modash", Policy.objects.get(), lease=timedelta(minutes=1))

    at_once([*[claim] * 10, *[lambda: (deadlines.expire(), None)[1]] * 4])
    ended = Counter(Lookup.objects.annotate(Count("calls")).values_list("status", "calls__count"))
    assert set(ended) <= {("running", 1), ("expired", 0)}
    assert sum(ended.values()) == 20
    assert no_lookup_waits()
    assert audit.differences() == []
