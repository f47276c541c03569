"""Equal lookups at once and in every order of events: one call, one charge, and every lookup ends."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from accounts import clock
from accounts.models import Tenant
from billing import audit
from billing.caps import LimitReached
from billing.models import Account, Entry, Hold
from providers import policies
from providers.failures import Faulty, Lost
from providers.models import Policy
from searches import pictures
from searches.calls import outcomes, settlement, worker
from searches.coalescing import followers
from searches.lanes import queue
from searches.lifecycle import cancellation, deadlines, erasure
from searches.models import Call, Lane, Lookup, QueueState, Repeat, Search, Status, TenantQueue
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.providers.conftest import Site
from tests.racing import at_once, run
from tests.searches.conftest import LEASE
from tests.searches.repeating import PAGE, REFUSED, Asker, answer, asker, in_line, overdue

HUNDRED = 100


def claim() -> queue.ClaimedLookup | None:
    """Claims as a worker does, which asks again later where the lane is locked for too long."""
    while True:
        with suppress(queue.Contended):
            return queue.claim("modash", Policy.objects.get(), lease=LEASE)


def work(claimed: queue.ClaimedLookup | None, come: Callable[[queue.ClaimedLookup], None]) -> None:
    if claimed is not None:
        come(claimed)


def succeeds(claimed: queue.ClaimedLookup) -> None:
    outcomes.answered(claimed, answer(3))


def succeeds_with_nothing(claimed: queue.ClaimedLookup) -> None:
    outcomes.answered(claimed, answer(0))


def fails(claimed: queue.ClaimedLookup, failure: Any = REFUSED) -> None:
    outcomes.failed(claimed, Policy.objects.get(), failure)


def unsent(claimed: queue.ClaimedLookup) -> None:
    settlement.unsent(claimed.call, claimed.lookup)


def some_search() -> Search | None:
    ids = list(Search.objects.filter(erased_at=None).order_by("pk").values_list("pk", flat=True))
    return Search.objects.get(pk=random.choice(ids)) if ids else None


def no_follower_holds_credits() -> None:
    """Asserts that only lookups that ask and are open hold anything; a follower never does."""
    asking = Lookup.objects.filter(repeat=Repeat.MISS, status__in=Lookup.OPEN)
    references = {lookup.reference for lookup in asking}
    assert set(Hold.objects.exclude(open=0).values_list("reference", flat=True)) <= references


def every_follower_has_a_leader() -> None:
    """Asserts that each leader is in progress, or that the sweep will find it."""
    leaders = Lookup.objects.filter(pk=OuterRef("repeat_of"), has_followers=True, repeat=Repeat.MISS)
    assert not Lookup.objects.filter(~Exists(leaders), queue_state=QueueState.FOLLOWING).exists()


def all_come_to_an_end() -> None:
    """Acts as a worker and the sweep until every lookup has ended."""
    for _ in range(50):
        followers.resolve_all()
        Lookup.objects.filter(queue_state=QueueState.DELAYED).update(not_before=clock.now())
        TenantQueue.objects.exclude(wake_at=None).update(wake_at=clock.now())
        while claimed := claim():
            succeeds(claimed)
        if not Lookup.objects.exclude(status__in=Lookup.ENDED).exists():
            break
    followers.resolve_all()
    assert not Lookup.objects.exclude(status__in=Lookup.ENDED).exists()
    assert not Search.objects.filter(finished_at=None).exists()
    assert not Lookup.objects.filter(has_followers=True).exists()
    assert not Hold.objects.filter(unknown=0).exists()
    assert in_line() == 0
    assert audit.differences() == []


# At once


@pytest.fixture
def brisk(transactional_db: None, redis_client: redis.Redis, settings: Settings, site: Site) -> None:
    """Points a fast lane at the sandbox. Its log began long ago."""
    settings.MODASH_BASE_URL = f"{site.url}/modash/v1"
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis_client.flushdb()
    policies.lane_limiter("modash", Policy.objects.get()).pause(seconds=0)
    redis_client.hset("lane:{modash}", "log_began", 0)


def visits() -> None:
    """Acts as a worker, with the sweep beside it, until every search has ended."""
    deadline = time.monotonic() + 60
    while Search.objects.count() < HUNDRED or Lookup.objects.exclude(status__in=Lookup.ENDED).exists():
        assert time.monotonic() < deadline
        if Lane.objects.exists():
            worker.run("modash", str(uuid4()))
        followers.resolve_all()


def test_a_hundred_equal_submits_at_once_are_one_call_and_one_charge(brisk: None, alice: Tenant, site: Site) -> None:
    alice_asks = asker(alice)

    def ask() -> None:
        for _ in range(5):
            alice_asks.ask()

    at_once([*(ask for _ in range(HUNDRED // 5)), visits, visits])
    assert Counter(Search.objects.values_list("status")) == {("succeeded",): HUNDRED}
    kinds = Counter(Lookup.objects.values_list("repeat", flat=True))
    assert (kinds["miss"], kinds["hit"] + kinds["coalesced"]) == (1, HUNDRED - 1)
    assert (Call.objects.count(), Entry.objects.filter(kind="charge").count()) == (1, 1)
    assert site.client.get("/_stats").json()["modash"]["calls"] == 1
    assert Account.objects.get().available == 100 - PAGE
    found = Search.objects.annotate(found=Count("results")).values_list("found", "results_count")
    assert set(found) == {(20, 20)}
    assert audit.differences() == []


@pytest.mark.parametrize("queries", [1, 2, 3])
def test_an_equal_lookup_that_succeeds_between_the_queries_of_a_submit_answers_it(
    transactional_db: None, alice: Tenant, queries: int
) -> None:
    """Ends it after so many queries for equal lookups, or before the submit has written anything."""
    alice_asks = asker(alice)
    alice_asks.ask()
    claimed = claim()
    assert claimed is not None
    seen: list[str] = []

    def come_between(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        found = execute(sql, *rest)
        if 'FROM "searches_lookup"' in sql and "repeat_key" in sql:
            seen.append(sql)
            if len(seen) == queries:
                thread = Thread(target=run, args=(partial(succeeds, claimed),))
                thread.start()
                thread.join()
        return found

    with connection.execute_wrapper(come_between):
        second = alice_asks.ask()
    assert len(seen) >= queries
    assert second.lookups.get().repeat != Repeat.MISS
    all_come_to_an_end()
    assert Call.objects.count() == 1


def test_every_lookup_ends_whatever_happens_at_once(transactional_db: None, alice: Tenant) -> None:
    """A deadlock would end one of them with an error."""
    alice_asks = asker(alice)

    def ask() -> None:
        # The erasure of a search erases its picture too.
        with suppress(pictures.Deleted):
            asks()

    def asks() -> None:
        also: list[dict[str, Any] | None] = [None, {"limit": 10}, {"limit": 5}]
        alice_asks.ask(count=random.choice((1, 2)), also=random.choice(also), priority=random.choice((0, 5)))

    def leave(how: Callable[[Search], object]) -> None:
        if search := some_search():
            how(search)

    def expires() -> None:
        leave(overdue)
        deadlines.expire()

    comes: list[Callable[[queue.ClaimedLookup], None]] = [
        succeeds,
        fails,
        unsent,
        partial(fails, failure=Lost("lost", "")),
    ]
    tasks: list[Callable[[], Any]] = [
        *(ask for _ in range(20)),
        *(partial(leave, cancellation.cancel) for _ in range(8)),
        *(partial(leave, erasure.erase) for _ in range(4)),
        *(expires for _ in range(3)),
        *(lambda come=come: work(claim(), come) for come in comes * 3),
        *(followers.resolve_all for _ in range(6)),
    ]

    def again(task: Callable[[], Any]) -> None:
        for _ in range(3):
            task()

    at_once([partial(again, task) for task in random.sample(tasks, len(tasks))])
    every_follower_has_a_leader()
    no_follower_holds_credits()
    all_come_to_an_end()


@pytest.mark.parametrize("come", [succeeds_with_nothing, fails])
def test_two_workers_that_resolve_the_same_at_once_resolve_it_once(
    transactional_db: None, alice: Tenant, come: Callable[[queue.ClaimedLookup], None]
) -> None:
    alice_asks = asker(alice)
    first, second = alice_asks.ask(), alice_asks.ask()
    work(claim(), come)
    with background() as start, transaction.atomic():
        Lookup.objects.select_for_update().get(search=second)
        for _ in range(2):
            start(partial(followers.resolve, first.lookups.get().pk))
        until_somebody_waits_for_a_lock(2)
    second.refresh_from_db()
    assert (second.version, second.finished_at is not None) == (2, True)


def test_a_cancel_that_races_new_followers_resolves_them_all(transactional_db: None, alice: Tenant) -> None:
    alice_asks = asker(alice)
    for _ in range(5):
        first = alice_asks.ask()
        at_once([*(alice_asks.ask for _ in range(8)), partial(cancellation.cancel, first), followers.resolve_all])
        every_follower_has_a_leader()
        all_come_to_an_end()
        Lookup.objects.update(repeat_key="")
    assert Counter(Search.objects.values_list("status")) == {("canceled",): 5, ("succeeded",): 40}


# In every order

STEPS = ("ask", "ask_anew", "ask_twice", "claim", "succeed", "fail", "stumble", "cancel", "expire", "erase", "resolve")


class Play:
    """A tenant, a worker and the sweep, one step at a time. `number` picks a search, or a priority."""

    def __init__(self, alice_asks: Asker) -> None:
        self.alice_asks = alice_asks
        self.under_way: list[queue.ClaimedLookup] = []

    def step(self, name: str, number: int) -> None:
        with suppress(LimitReached):
            getattr(self, name)(number)
        no_follower_holds_credits()
        every_follower_has_a_leader()
        assert audit.differences() == []

    def ask(self, number: int) -> None:
        self.alice_asks.ask(priority=number % 3 - 1)

    def ask_anew(self, number: int) -> None:
        self.alice_asks.ask(max_age=0)

    def ask_twice(self, number: int) -> None:
        self.alice_asks.ask(count=2, also={"limit": 10})

    def claim(self, number: int) -> None:
        if claimed := claim():
            self.under_way.append(claimed)

    def settle(self, come: Callable[[queue.ClaimedLookup], None]) -> None:
        if self.under_way:
            come(self.under_way.pop(0))

    def succeed(self, number: int) -> None:
        self.settle(succeeds)

    def fail(self, number: int) -> None:
        self.settle(fails)

    def stumble(self, number: int) -> None:
        self.settle(partial(fails, failure=Faulty("provider_error", "")))

    def leave(self, number: int, how: Callable[[Search], object]) -> None:
        if present := list(Search.objects.filter(erased_at=None).order_by("pk")):
            how(present[number % len(present)])

    def cancel(self, number: int) -> None:
        self.leave(number, cancellation.cancel)

    def erase(self, number: int) -> None:
        self.leave(number, erasure.erase)

    def expire(self, number: int) -> None:
        self.leave(number, overdue)
        deadlines.expire()

    def resolve(self, number: int) -> None:
        followers.resolve_all()


@pytest.fixture
def alice_asks(alice: Tenant) -> Asker:
    """There are credits for two, so that some cannot pay."""
    return asker(alice, credits=1)


@pytest.mark.django_db
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), max_size=15))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_every_order_of_events_all_lookups_end_and_money_adds_up(
    alice_asks: Asker, steps: list[tuple[str, int]]
) -> None:
    point = transaction.savepoint()
    try:
        play = Play(alice_asks)
        for name, number in steps:
            play.step(name, number)
        while play.under_way:
            play.succeed(0)
        all_come_to_an_end()
        assert not Lookup.objects.filter(repeat=Repeat.HIT).exclude(status=Status.SUCCEEDED).exists()
    finally:
        transaction.savepoint_rollback(point)
