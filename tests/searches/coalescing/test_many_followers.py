"""Many followers are resolved a few at a time, and no claim of another tenant waits for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from kombu.exceptions import OperationalError
from uuid_utils.compat import uuid7

from accounts.models import Tenant
from accounts.redis_client import Cooldown
from providers import policies
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches import tasks
from searches.calls import outcomes
from searches.coalescing import followers as resolving
from searches.coalescing import matching
from searches.lanes import queue, wakeups
from searches.lifecycle import cancellation, completion
from searches.models import Lookup, Search, Status
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.bench.picture import jpeg
from tests.patience import HANGS_AFTER_SECONDS
from tests.searches.conftest import LEASE
from tests.searches.repeating import (
    Asker,
    answer,
    answered,
    asker,
    claim_next,
    in_line,
    money,
    only,
    resolved,
    statuses,
)

pytestmark = pytest.mark.django_db
Sent = list[Any]


@pytest.fixture
def alice_asks(alice: Tenant) -> Asker:
    return asker(alice)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Returns the leaders for which a wake-up was sent."""
    leaders: Sent = []
    monkeypatch.setattr(wakeups, "resolve_followers", leaders.append)
    return leaders


def with_followers(alice_asks: Asker, count: int, number: int = 0) -> tuple[Search, list[Search]]:
    """Returns a search and so many followers. Each `number` is another picture."""
    return alice_asks.ask(jpeg(number)), [alice_asks.ask(jpeg(number)) for _ in range(count)]


def queries_of(work: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        work()
    return len(queries)


# A few at a time


def test_one_batch_is_resolved_and_a_wake_up_is_sent_for_the_others(
    alice_asks: Asker, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "BATCH", 3)
    first, followers = with_followers(alice_asks, 5)
    answered(1)
    resolving.resolve(only(first).pk)
    assert statuses(*followers) == ["succeeded/coalesced"] * 3 + ["queued/coalesced"] * 2
    assert sent == [only(first).pk]
    resolving.resolve(only(first).pk)
    assert statuses(*followers) == ["succeeded/coalesced"] * 5
    assert len(sent) == 1


def test_followers_that_cannot_be_resolved_send_no_wake_ups_without_end(
    alice_asks: Asker, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "BATCH", 3)
    first, _ = with_followers(alice_asks, 5)
    answered(1)
    monkeypatch.setattr(resolving, "_end_as", lambda hit: 1 / 0)
    resolving.resolve(only(first).pk)
    assert sent == []
    assert only(first).has_followers


def test_the_sweep_of_lanes_resolves_no_followers(alice_asks: Asker, sent: Sent) -> None:
    _, [follower] = with_followers(alice_asks, 1)
    answered(1)
    tasks.sweep_lanes()
    assert statuses(follower) == ["queued/coalesced"]
    tasks.sweep_followers()
    assert statuses(follower) == ["succeeded/coalesced"]


def test_attaching_many_to_another_leader_asks_only_whether_each_still_follows(alice_asks: Asker) -> None:
    few, many = with_followers(alice_asks, 5, number=1), with_followers(alice_asks, 25, number=2)
    for first, _ in (few, many):
        cancellation.cancel(first)
    with_few, with_many = (queries_of(partial(resolving.resolve, only(first).pk)) for first, _ in (few, many))
    assert with_many - with_few <= 20
    assert statuses(*many[1]) == ["queued/miss"] + ["queued/coalesced"] * 24
    assert {only(follower).repeat_of for follower in many[1][1:]} == {only(many[1][0])}
    # Nothing changed for the others, so there is nothing to announce.
    assert {Search.objects.get(pk=follower.pk).version for follower in many[1][1:]} == {1}


def test_many_that_cannot_pay_cost_no_more_each_than_few(alice: Tenant) -> None:
    alice_asks = asker(alice, credits=1)
    few, many = with_followers(alice_asks, 5, number=1), with_followers(alice_asks, 20, number=2)
    for first, _ in (few, many):
        cancellation.cancel(first)
    Lookup.objects.update(price_per_call=2)
    with_few, with_many = (queries_of(partial(resolving.resolve, only(first).pk)) for first, _ in (few, many))
    assert with_many <= 4 * with_few
    assert {lookup.error_code for lookup in Lookup.objects.filter(status=Status.FAILED)} == {"insufficient_credits"}
    assert Lookup.objects.filter(status=Status.FAILED).count() == 25
    assert (money(), in_line()) == ((1, 0), 0)


def test_a_follower_that_cannot_be_promoted_delays_no_other(alice_asks: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, [one]), (second, [other]) = with_followers(alice_asks, 1, number=1), with_followers(alice_asks, 1, number=2)
    for search in (first, second):
        cancellation.cancel(search)
        only(search).delete()
    real, bad = resolving._present_lane, only(one).pk
    monkeypatch.setattr(resolving, "_present_lane", lambda follower: 1 / 0 if follower.pk == bad else real(follower))
    resolved()
    assert statuses(one, other) == ["queued/coalesced", "queued/miss"]


def test_long_answers_beyond_what_one_submit_copies_follow_it(
    alice_asks: Asker, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MOST_COPIED", 45)
    first = alice_asks.ask()
    answered(20)
    before = money()
    search = alice_asks.ask(count=3)
    assert list(search.lookups.values_list("status", "repeat", "result_count")) == [
        ("succeeded", "hit", 20),
        ("succeeded", "hit", 20),
        ("queued", "hit", 0),
    ]
    resolved()
    search.refresh_from_db()
    assert (search.status, search.results_count) == ("succeeded", 60)
    assert money() == before
    assert not only(first).has_followers


def test_while_the_broker_is_silent_no_wake_up_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Any] = []

    def fail(*arguments: Any, **options: Any) -> None:
        tries.append(arguments)
        raise OperationalError

    monkeypatch.setattr(wakeups, "_broker_failed", Cooldown(60))
    monkeypatch.setattr("searches.lanes.wakeups.current_app.send_task", fail)
    for _ in range(20):
        wakeups.resolve_followers(uuid7())
    assert len(tries) == 1


# The key was replaced


def test_an_answer_to_a_replaced_key_serves_no_lookup_if_it_depends_on_the_key(alice: Tenant) -> None:
    alice_asks = asker(alice)
    library = credentials.create(alice, "memories", "key-of-library-one", label="lib")

    def ask() -> Search:
        return alice_asks.ask(source="private-videos", limit=None, credential="lib")

    first, follower = ask(), ask()
    credentials.change(Credential.objects.get(pk=library.pk), secret="key-of-library-two")
    claimed = queue.claim(only(first).lane_id, policies.of("memories"), lease=LEASE)
    assert claimed is not None
    outcomes.answered(claimed, answer(3))
    resolved()
    assert statuses(first, follower) == ["succeeded/miss", "queued/miss"]
    credentials.change(Credential.objects.get(pk=library.pk), secret="key-of-library-one")
    assert only(ask()).result_count == 0


def test_an_answer_to_a_replaced_key_serves_lookups_if_it_does_not_depend_on_the_key(alice_asks: Asker) -> None:
    first, [follower] = with_followers(alice_asks, 1)
    credentials.change(Credential.objects.get(), secret="another-key-of-alices")
    answered(3)
    resolved()
    assert statuses(first, follower) == ["succeeded/miss", "succeeded/coalesced"]


# Beside others


@pytest.mark.django_db(transaction=True)
def test_a_claim_passes_over_the_tenant_whose_follower_is_being_attached(alice: Tenant, bob: Tenant) -> None:
    alice_asks, bob_asks = asker(alice), asker(bob)
    alice_asks.ask()
    bobs = bob_asks.ask()
    with background() as start, transaction.atomic():
        alice_asks.ask()
        assert start(claim_next).result(HANGS_AFTER_SECONDS).lookup == only(bobs)


@pytest.mark.django_db(transaction=True)
def test_a_cancel_and_a_new_follower_do_not_wait_for_each_other(alice: Tenant) -> None:
    """The later lookup of the search is queued, the earlier one is under way."""
    alice_asks = asker(alice)
    search = alice_asks.ask(also={"limit": 40})
    claim_next()
    with background() as start:
        with transaction.atomic():
            # The cancel's lookups are locked now, but for the one under way.
            taken = queue.withdraw(search.lookups.all())
            joins = start(partial(alice_asks.ask, also={"limit": 40}))
            until_somebody_waits_for_a_lock()
            search.lookups.exclude(pk__in=[lookup.pk for lookup in taken]).update(cancel_requested=True)
            for lookup in taken:
                completion.finish(lookup, completion.lock(search.pk), Status.CANCELED)
        assert joins.result(HANGS_AFTER_SECONDS)


@pytest.mark.django_db(transaction=True)
def test_a_promotion_into_another_lane_waits_for_the_queue_in_the_first(alice: Tenant) -> None:
    """A change of lane locks the tenant's queue in both lanes. `withdraw` relies on that."""
    alice_asks = asker(alice)
    first, [follower] = with_followers(alice_asks, 1)
    cancellation.cancel(first)
    old = only(follower).lane_id
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    with background() as start:
        with transaction.atomic():
            queue.lock_tenant_queue(old, alice.pk)
            resolves = start(partial(resolving.resolve, only(first).pk))
            until_somebody_waits_for_a_lock()
        resolves.result(HANGS_AFTER_SECONDS)
    assert statuses(follower) == ["queued/miss"]
    assert only(follower).lane_id != old
