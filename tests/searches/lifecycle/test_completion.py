"""How lookups and searches end, and what is left of the money then, to the credit."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
import redis
from django.db import connection, transaction

from providers.failures import BadCredential, Failure, Faulty, Garbled, Lost, Refused, Unreachable
from providers.models import Policy
from searches.calls import outcomes, settlement
from searches.lifecycle import cancellation, completion, deadlines, live_updates
from searches.models import Lookup, Search, TenantQueue
from tests.searches.lives import PAGE, Submit, answer, claim_next, end, money, nobody_in_line, states

pytestmark = pytest.mark.django_db


# A search is what its lookups are


def described(lookups: tuple[str, ...]) -> str:
    """As the API's description puts it."""
    if all(status == "queued" for status in lookups):
        return "queued"
    if any(status in ("queued", "running") for status in lookups):
        return "running"
    if all(status == "succeeded" for status in lookups):
        return "succeeded"
    if any(status == "succeeded" for status in lookups):
        return "partial"
    if any(status == "failed" for status in lookups):
        return "failed"
    return "canceled" if any(status == "canceled" for status in lookups) else "expired"


STATUSES_OF = """
SELECT searches_status_of(ARRAY(SELECT jsonb_array_elements_text(lookups))) FROM jsonb_array_elements(%s) AS lookups
"""
LOOKUP_STATES = ("queued", "running", *Lookup.ENDED)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_search_is_what_the_api_says_of_lookups_like_its_own(count: int) -> None:
    mixtures = list(product(LOOKUP_STATES, repeat=count))
    with connection.cursor() as cursor:
        cursor.execute(STATUSES_OF, [json.dumps(mixtures)])
        found = [status for (status,) in cursor.fetchall()]
    assert found == [described(lookups) for lookups in mixtures]


def test_a_change_is_counted_and_told_once_it_is_committed(
    submit: Submit,
    redis_client: redis.Redis,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[Any]],
) -> None:
    search = submit()
    told = redis_client.pubsub(ignore_subscribe_messages=True)
    told.subscribe(live_updates.channel(search.pk))
    told.get_message(timeout=1)
    with django_capture_on_commit_callbacks(execute=True):
        completion.recount(completion.lock(search.pk))
        assert told.get_message(timeout=0.05) is None
    assert told.get_message(timeout=2) is not None
    told.close()
    assert Search.objects.get().version == search.version + 1


# Canceling


def test_what_waits_ends_at_once_at_no_cost(submit: Submit) -> None:
    search = submit(2, pages=3)
    assert money() == (97, 3)
    cancellation.cancel(search)
    assert states(search) == "canceled: canceled canceled"
    assert search.finished_at is not None
    assert money() == (100, 0)
    assert nobody_in_line()


def test_canceling_twice_changes_nothing_more(submit: Submit) -> None:
    search = submit()
    cancellation.cancel(search)
    before = Search.objects.values().get()
    cancellation.cancel(search)
    assert Search.objects.values().get() == before


def test_a_search_that_has_ended_cannot_be_canceled(submit: Submit) -> None:
    search = submit()
    outcomes.answered(claim_next(), answer(last=True))
    cancellation.cancel(search)
    assert states(search) == "succeeded: succeeded"
    assert money() == (Decimal("99.5"), 0)


def test_a_call_under_way_is_finished_charged_and_kept(submit: Submit) -> None:
    search = submit(3, pages=2)
    claimed = claim_next()
    cancellation.cancel(search)
    assert states(search) == "running: running canceled canceled"
    assert money() == (99, 1)
    outcomes.answered(claimed, answer(7))
    assert states(search) == "canceled: canceled canceled canceled"
    assert claimed.lookup.results.count() == 7
    assert money() == (100 - 7 * Decimal("0.025"), 0)
    assert nobody_in_line()


def test_what_came_before_is_kept_and_only_the_rest_released(submit: Submit) -> None:
    search = submit(pages=3)
    outcomes.answered(claim_next(), answer())
    cancellation.cancel(search)
    assert states(search) == "canceled: canceled"
    assert search.results.count() == 20
    assert money() == (Decimal("99.5"), 0)


@pytest.mark.parametrize(
    ("failure", "queue_state"),
    [(Faulty("provider_error", "…"), "delayed"), (BadCredential("credential_invalid", "…"), "blocked")],
)
def test_who_waits_for_something_else_is_canceled_too(
    submit: Submit, failure: Faulty | BadCredential, queue_state: str
) -> None:
    search = submit()
    outcomes.failed(claim_next(), Policy.objects.get(), failure)
    assert Lookup.objects.get().queue_state == queue_state
    cancellation.cancel(search)
    assert states(search) == "canceled: canceled"
    assert money() == (100, 0)
    assert nobody_in_line()


def test_what_may_have_been_billed_stays_held_after_a_cancel(submit: Submit) -> None:
    search = submit()
    outcomes.failed(claim_next(), Policy.objects.get(), Lost("no_answer", "…"))
    assert money() == (99, 2 * PAGE)
    cancellation.cancel(search)
    assert states(search) == "canceled: canceled"
    assert money() == (Decimal("99.5"), PAGE)


def test_a_canceled_call_that_fails_costs_nothing(submit: Submit) -> None:
    for failure in (Faulty("provider_error", "…"), Refused("refused", "…")):
        search = submit()
        claimed = claim_next()
        cancellation.cancel(search)
        outcomes.failed(claimed, Policy.objects.get(), failure)
        search.refresh_from_db()
        assert search.finished_at is not None
        assert money() == (100, 0)
    assert nobody_in_line()


def test_a_canceled_call_that_never_left_is_not_sent_again(submit: Submit) -> None:
    search = submit()
    claimed = claim_next()
    cancellation.cancel(search)
    settlement.unsent(claimed.call, claimed.lookup)
    assert states(search) == "canceled: canceled"
    assert money() == (100, 0)
    assert nobody_in_line()


def test_a_neighbours_search_is_left_alone(submit: Submit) -> None:
    mine, other = submit(), submit(2)
    cancellation.cancel(mine)
    assert states(other) == "queued: queued queued"
    assert money() == (99, 2 * PAGE)
    assert TenantQueue.objects.get().ready == 2


# Expiring


def test_what_never_began_expires_at_no_cost(submit: Submit) -> None:
    search, later = submit(2), submit()
    end(search)
    assert deadlines.expire() == 2
    assert states(search) == "expired: expired expired"
    assert states(later) == "queued: queued"
    assert money() == (Decimal("99.5"), PAGE)
    assert deadlines.expire() == 0


def test_a_search_of_which_some_expires_goes_on(submit: Submit) -> None:
    search = submit(2)
    end(search, ordinal=1)
    deadlines.expire()
    assert states(search) == "running: queued expired"
    outcomes.answered(claim_next(), answer(last=True))
    assert states(search) == "partial: succeeded expired"
    assert money() == (Decimal("99.5"), 0)


def test_a_call_under_way_is_left_to_end_by_itself(submit: Submit) -> None:
    search = submit()
    claimed = claim_next()
    end(search)
    assert deadlines.expire() == 0
    outcomes.answered(claimed, answer(last=True))
    assert states(search) == "succeeded: succeeded"


def test_what_has_begun_is_brought_to_its_end(submit: Submit) -> None:
    search = submit(pages=2)
    outcomes.answered(claim_next(), answer())
    end(search)
    assert deadlines.expire() == 0
    outcomes.answered(claim_next(), answer())
    assert states(search) == "succeeded: succeeded"
    assert money() == (99, 0)


def test_what_waits_for_a_credential_expires_whatever_it_has(submit: Submit) -> None:
    fresh, begun = submit(), submit(pages=2)
    Lookup.objects.filter(search=begun).update(sort_key=0)
    outcomes.answered(claim_next(), answer(4))
    outcomes.failed(claim_next(), Policy.objects.get(), BadCredential("credential_invalid", "…"))
    for search in (fresh, begun):
        end(search)
    assert deadlines.expire() == 2
    assert (states(fresh), states(begun)) == ("expired: expired", "expired: expired")
    assert begun.results.count() == 4
    assert money() == (Decimal("99.9"), 0)
    assert nobody_in_line()


def test_what_sleeps_after_a_failure_expires(submit: Submit) -> None:
    search = submit()
    outcomes.failed(claim_next(), Policy.objects.get(), Faulty("provider_error", "…"))
    end(search)
    assert deadlines.expire() == 1
    assert states(search) == "expired: expired"
    assert money() == (100, 0)


# Failing


def test_a_failure_is_told_to_the_tenant_and_gives_back_what_was_held(submit: Submit) -> None:
    search = submit()
    outcomes.failed(claim_next(), Policy.objects.get(), Refused("refused", "Modash refused it."))
    lookup = Lookup.objects.get()
    assert (lookup.error_code, lookup.error_detail, lookup.error_retryable) == ("refused", "Modash refused it.", False)
    assert lookup.finished_at is not None
    assert states(search) == "failed: failed"
    assert money() == (100, 0)


def test_a_search_is_finished_once(submit: Submit) -> None:
    search = submit()
    cancellation.cancel(search)
    finished_at = Search.objects.get().finished_at
    with transaction.atomic():
        completion.recount(completion.lock(search.pk))
    assert Search.objects.get().finished_at == finished_at
    assert finished_at is not None
    assert finished_at - search.created_at < timedelta(minutes=1)


# One code for one fact


@pytest.mark.parametrize(
    "then",
    [
        Lost("outcome_unknown", "Lost again."),
        Refused("refused", "Refused."),
        Unreachable("unreachable", "Not reached."),
        Garbled("unreadable_answer", "Nonsense.", status=200, billed_results=0),
    ],
)
def test_whatever_follows_a_call_that_may_have_been_billed_the_outcome_is_unknown(
    submit: Submit, then: Failure
) -> None:
    submit()
    policy = Policy.objects.get()
    outcomes.failed(claim_next(), policy, Lost("outcome_unknown", "Lost."))
    Policy.objects.update(attempts=1)
    outcomes.failed(claim_next(), Policy.objects.get(), then)
    lookup = Lookup.objects.get()
    assert (lookup.status, lookup.error_code) == ("failed", "outcome_unknown")
    assert lookup.error_detail.startswith(then.detail)
    assert "may have been billed" in lookup.error_detail
    assert lookup.error_retryable == then.retryable


def test_what_was_never_sent_says_that_there_is_no_answer(submit: Submit) -> None:
    submit()
    Policy.objects.update(attempts=1)
    outcomes.failed(claim_next(), Policy.objects.get(), Unreachable("unreachable", "Nothing was sent."))
    lookup = Lookup.objects.get()
    assert (lookup.error_code, lookup.error_detail, lookup.error_retryable) == ("no_answer", "Nothing was sent.", True)


def test_a_loss_that_was_settled_before_the_end_leaves_nothing_unknown(submit: Submit) -> None:
    submit()
    lost = claim_next()
    outcomes.failed(lost, Policy.objects.get(), Lost("outcome_unknown", "Lost."))
    outcomes.answered(lost, answer(3))
    outcomes.failed(claim_next(), Policy.objects.get(), Refused("refused", "Refused."))
    lookup = Lookup.objects.get()
    assert (lookup.error_code, lookup.error_detail) == ("refused", "Refused.")


def test_an_end_by_cancel_or_by_time_says_what_may_have_been_billed_too(submit: Submit) -> None:
    canceled, expired = submit(), submit()
    outcomes.failed(claim_next(), Policy.objects.get(), Lost("outcome_unknown", "Lost."))
    cancellation.cancel(canceled)
    outcomes.failed(claim_next(), Policy.objects.get(), Lost("outcome_unknown", "Lost."))
    end(expired)
    deadlines.expire()
    ended = Lookup.objects.values_list("status", "error_code", "error_retryable").order_by("status")
    assert list(ended) == [("canceled", "outcome_unknown", True), ("expired", "outcome_unknown", True)]
