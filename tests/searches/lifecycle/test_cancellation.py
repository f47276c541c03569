"""A cancel ends waiting lookups at once and at no cost; calls under way are finished, charged and kept."""

from __future__ import annotations

from decimal import Decimal

import pytest

from providers.failures import BadCredential, Faulty, Lost, Refused
from providers.models import Policy
from searches.calls import outcomes, settlement
from searches.lifecycle import cancellation
from searches.models import Lookup, Search, TenantQueue
from tests.searches.lives import PAGE, Submit, answer, claim_next, money, no_lookup_waits, states

pytestmark = pytest.mark.django_db


def test_waiting_lookups_end_at_once_at_no_cost(submit: Submit) -> None:
    search = submit(2, pages=3)
    assert money() == (97, 3)
    cancellation.cancel(search)
    assert states(search) == "canceled: canceled canceled"
    assert search.finished_at is not None
    assert money() == (100, 0)
    assert no_lookup_waits()


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
    assert no_lookup_waits()


def test_earlier_pages_are_kept_and_only_the_rest_is_released(submit: Submit) -> None:
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
def test_delayed_and_blocked_lookups_are_canceled_too(
    submit: Submit, failure: Faulty | BadCredential, queue_state: str
) -> None:
    search = submit()
    outcomes.failed(claim_next(), Policy.objects.get(), failure)
    assert Lookup.objects.get().queue_state == queue_state
    cancellation.cancel(search)
    assert states(search) == "canceled: canceled"
    assert money() == (100, 0)
    assert no_lookup_waits()


def test_an_unknown_outcome_stays_held_after_a_cancel(submit: Submit) -> None:
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
    assert no_lookup_waits()


def test_a_canceled_call_that_was_never_sent_is_not_sent_again(submit: Submit) -> None:
    search = submit()
    claimed = claim_next()
    cancellation.cancel(search)
    settlement.unsent(claimed.call, claimed.lookup)
    assert states(search) == "canceled: canceled"
    assert money() == (100, 0)
    assert no_lookup_waits()


def test_another_search_is_not_changed(submit: Submit) -> None:
    mine, other = submit(), submit(2)
    cancellation.cancel(mine)
    assert states(other) == "queued: queued queued"
    assert money() == (99, 2 * PAGE)
    assert TenantQueue.objects.get().ready == 2
