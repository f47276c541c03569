"""Outcomes of a call whose search, worker or answer is gone before it is settled."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from accounts import clock
from providers import limiter
from providers.models import Policy
from searches.calls import outcomes, recovery, request, worker
from searches.lifecycle import cancellation
from searches.models import Call, Lookup, QueueState, Status
from tests.providers.conftest import Site
from tests.searches.calls.test_worker import Submit, at, brisk, claim_next, money, submit, visit

__all__ = ["at", "brisk", "submit"]
pytestmark = pytest.mark.django_db


def test_a_cancel_between_pages_keeps_what_came_and_releases_the_rest(
    submit: Submit, at: Callable[[str], None], site: Site
) -> None:
    at(f"{site.url}/modash/v1")
    search = submit(limit=60)
    visit()
    cancellation.cancel(search)
    lookup = Lookup.objects.get()
    assert (lookup.status, lookup.result_count) == (Status.CANCELED, 20)
    assert money(lookup) == (0, 0.5, 0)
    worker.run("modash", "nobody")
    assert Call.objects.count() == 1


def test_a_call_under_way_when_its_search_is_canceled_is_finished_charged_and_kept(
    submit: Submit, at: Callable[[str], None], site: Site
) -> None:
    at(f"{site.url}/modash/v1")
    search = submit(limit=20)
    claimed, token = claim_next()
    cancellation.cancel(search)
    answer = request.send(claimed, Policy.objects.get(), token)
    outcomes.answered(claimed, answer)
    lookup = Lookup.objects.get()
    assert (lookup.status, lookup.result_count) == (Status.CANCELED, 20)
    assert money(lookup) == (0, 0.5, 0)


def test_an_answer_is_settled_once_however_often(submit: Submit, at: Callable[[str], None], site: Site) -> None:
    at(f"{site.url}/modash/v1")
    submit(limit=20)
    claimed, token = claim_next()
    answer = request.send(claimed, Policy.objects.get(), token)
    for _ in range(3):
        outcomes.answered(claimed, answer)
    assert money(Lookup.objects.get()) == (0, 0.5, 0)


def test_a_lookup_whose_call_was_never_sent_gets_its_old_turn_back(submit: Submit) -> None:
    submit()
    claimed, token = claim_next()
    recovery.recover(claimed.call)
    assert not Call.objects.exists()
    assert Lookup.objects.get().queue_state == QueueState.READY
    with pytest.raises(limiter.TokenRefused):
        token.redeem()


def test_a_call_may_connect_for_as_long_as_its_policy_says(submit: Submit, at: Callable[[str], None]) -> None:
    """A call that cannot connect counts as an attempt, instead of being recovered by the sweep again and again."""
    Policy.objects.update(connect_timeout_ms=60_000)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        at(f"http://127.0.0.1:{gone.getsockname()[1]}")
    submit()
    assert visit().attempts == 1
    call = Call.objects.get()
    assert (call.state, call.error_code) == ("failed", "unreachable")
    assert call.leased_until - call.armed_at > timedelta(seconds=60 + limiter.PATIENCE_SECONDS)


def test_a_call_that_connected_slowly_is_not_recovered_before_its_time_is_over(submit: Submit) -> None:
    Policy.objects.update(connect_timeout_ms=60_000)
    submit()
    _, token = claim_next()
    token.redeem()
    Call.objects.update(armed_at=clock.now() - timedelta(seconds=60))
    recovery.recover(Call.objects.select_related("lookup").get())
    assert Call.objects.get().state == Call.State.ARMED


def test_a_worker_that_died_with_its_call_under_way_leaves_an_unknown_outcome(submit: Submit) -> None:
    submit()
    claimed, token = claim_next()
    token.redeem()
    recovery.recover(claimed.call)
    assert Call.objects.get().state == Call.State.ARMED
    Call.objects.update(armed_at=clock.now() - timedelta(seconds=60))
    recovery.recover(Call.objects.select_related("lookup").get())
    lookup = Lookup.objects.get()
    assert (Call.objects.get().state, lookup.queue_state) == ("unknown", "ready")
    assert money(lookup) == (0.5, 0, 0.5)


def test_a_late_answer_settles_an_unknown_outcome(submit: Submit, at: Callable[[str], None], site: Site) -> None:
    at(f"{site.url}/modash/v1")
    submit(limit=20)
    claimed, token = claim_next()
    answer = request.send(claimed, Policy.objects.get(), token)
    Call.objects.update(armed_at=clock.now() - timedelta(seconds=60))
    recovery.recover(Call.objects.select_related("lookup").get())
    outcomes.answered(claimed, answer)
    assert money(Lookup.objects.get()) == (0.5, 0.5, 0)
