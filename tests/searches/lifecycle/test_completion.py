"""Ends of lookups and searches, and their credits then."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
import redis
from django.db import connection, transaction

from providers.failures import Failure, Garbled, Lost, Refused, Unreachable
from providers.models import Policy
from searches.calls import outcomes
from searches.lifecycle import cancellation, completion, deadlines, live_updates
from searches.models import Lookup, Search
from tests.searches.lives import Submit, answer, claim_next, end, money, states

pytestmark = pytest.mark.django_db


# The status of a search


def described(lookups: tuple[str, ...]) -> str:
    """Returns the status that the API's description gives a search of these lookups."""
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
def test_a_search_has_the_status_that_the_api_describes_for_its_lookups(count: int) -> None:
    mixtures = list(product(LOOKUP_STATES, repeat=count))
    with connection.cursor() as cursor:
        cursor.execute(STATUSES_OF, [json.dumps(mixtures)])
        found = [status for (status,) in cursor.fetchall()]
    assert found == [described(lookups) for lookups in mixtures]


def test_a_change_is_counted_and_published_once_it_is_committed(
    submit: Submit,
    redis_client: redis.Redis,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[Any]],
) -> None:
    search = submit()
    channel = redis_client.pubsub(ignore_subscribe_messages=True)
    channel.subscribe(live_updates.channel(search.pk))
    channel.get_message(timeout=1)
    with django_capture_on_commit_callbacks(execute=True):
        completion.recount(completion.lock(search.pk))
        assert channel.get_message(timeout=0.05) is None
    assert channel.get_message(timeout=2) is not None
    channel.close()
    assert Search.objects.get().version == search.version + 1


# Failing


def test_a_failure_has_an_error_and_releases_the_hold(submit: Submit) -> None:
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


# One meaning for each error code


@pytest.mark.parametrize(
    "then",
    [
        Lost("outcome_unknown", "Lost again."),
        Refused("refused", "Refused."),
        Unreachable("unreachable", "Not reached."),
        Garbled("unreadable_answer", "Nonsense.", status=200, billed_results=0),
    ],
)
def test_after_a_call_that_may_have_been_billed_every_failure_is_outcome_unknown(submit: Submit, then: Failure) -> None:
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


def test_a_lookup_that_was_never_sent_has_no_answer(submit: Submit) -> None:
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


def test_a_canceled_or_expired_lookup_also_says_what_may_have_been_billed(submit: Submit) -> None:
    canceled, expired = submit(), submit()
    outcomes.failed(claim_next(), Policy.objects.get(), Lost("outcome_unknown", "Lost."))
    cancellation.cancel(canceled)
    outcomes.failed(claim_next(), Policy.objects.get(), Lost("outcome_unknown", "Lost."))
    end(expired)
    deadlines.expire()
    ended = Lookup.objects.values_list("status", "error_code", "error_retryable").order_by("status")
    assert list(ended) == [("canceled", "outcome_unknown", True), ("expired", "outcome_unknown", True)]
