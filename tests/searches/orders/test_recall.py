"""A search is canceled or erased while its call is about to be sent: the lane's log decides whether it was sent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
from pytest_django import Settings

from providers import policies
from providers.limiter import Token, TokenRefused
from providers.models import Policy
from searches.calls import outcomes, settlement
from searches.lanes.queue import ClaimedLookup
from searches.models import Call, Lookup, Search
from searches.orders import recall
from tests.racing import at_once
from tests.searches.lives import Submit, answer, claim_next, money, no_lookup_waits, states

pytestmark = pytest.mark.django_db
STOPS = [recall.cancel, recall.erase]
Stop = Callable[[Search], object]
Committed = Callable[[Stop, Search], None]


@pytest.fixture
def policy(policy: Policy, redis_client: redis.Redis) -> Policy:
    """Returns the policy of a fast lane, whose log began long ago."""
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    policy.refresh_from_db()
    redis_client.flushdb()
    policies.lane_limiter("modash", policy).pause(seconds=0)
    redis_client.hset("lane:{modash}", "log_began", 0)
    return policy


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Committed:
    """Returns a function that stops a search and does what follows the commit."""

    def committed(stop: Stop, search: Search) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            stop(search)

    return committed


def token(claimed: ClaimedLookup) -> Token:
    waiter = policies.lane_limiter("modash", Policy.objects.get()).waiter(str(claimed.call.pk))
    waiter.start(seconds=60)
    return Token(waiter=waiter, call=str(claimed.call.pk))


@pytest.mark.parametrize("stop", STOPS)
def test_an_unsent_call_ends_at_once_and_is_never_sent(submit: Submit, stop: Stop, committed: Committed) -> None:
    search = submit()
    claimed = claim_next()
    mine = token(claimed)
    committed(stop, search)
    assert states(search) == "canceled: canceled"
    assert money() == (100, 0)
    assert not Call.objects.exists()
    with pytest.raises(TokenRefused):
        mine.redeem()
    settlement.unsent(claimed.call, claimed.lookup)
    assert states(search) == "canceled: canceled"
    assert no_lookup_waits()


@pytest.mark.parametrize("stop", STOPS)
def test_a_sent_call_is_finished_and_charged(submit: Submit, stop: Stop, committed: Committed) -> None:
    search = submit()
    claimed = claim_next()
    token(claimed).redeem()
    committed(stop, search)
    assert states(search) == "running: running"
    outcomes.answered(claimed, answer())
    assert states(search) == "canceled: canceled"
    assert search.results.count() == (20 if stop is recall.cancel else 0)
    assert money() == (100 - 20 * claimed.lookup.price_per_result, 0)


def test_another_searchs_call_is_still_sent(submit: Submit, committed: Committed) -> None:
    mine, other = submit(), submit()
    claims = [claim_next(), claim_next()]
    committed(recall.cancel, mine)
    assert states(other) == "running: running"
    for claimed in claims[1:]:
        token(claimed).redeem()


def test_without_redis_the_search_is_stopped_and_the_worker_ends_its_call(
    submit: Submit, settings: Settings, committed: Committed
) -> None:
    search = submit()
    claimed = claim_next()
    settings.REDIS_URL = "redis://127.0.0.1:1"
    committed(recall.cancel, search)
    assert states(search) == "running: running"
    settlement.unsent(claimed.call, claimed.lookup)
    assert states(search) == "canceled: canceled"
    assert money() == (100, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stop", STOPS)
def test_a_stop_and_a_first_byte_exclude_each_other(submit: Submit, stop: Stop) -> None:
    searches = [submit() for _ in range(12)]
    claims = [claim_next() for _ in searches]
    tokens = [token(claimed) for claimed in claims]
    sent: set[str] = set()

    def redeem(mine: Token) -> None:
        try:
            mine.redeem()
        except TokenRefused:
            return
        sent.add(mine.call)

    tasks: list[Callable[[], object]] = [partial(redeem, mine) for mine in tokens]
    tasks += [partial(stop, search) for search in searches]
    at_once(tasks)
    assert {str(call) for call in Call.objects.values_list("pk", flat=True)} == sent
    for claimed in claims:
        if str(claimed.call.pk) in sent:
            outcomes.answered(claimed, answer())
        else:
            settlement.unsent(claimed.call, claimed.lookup)
    assert set(Lookup.objects.values_list("status", flat=True)) == {"canceled"}
    assert money() == (100 - len(sent) * 20 * claims[0].lookup.price_per_result, 0)
