"""Waiting lookups whose time is up end at no cost, unless they have a part of their results."""

from __future__ import annotations

from decimal import Decimal

import pytest

from providers.failures import BadCredential, Faulty
from providers.models import Policy
from searches.calls import outcomes
from searches.lifecycle import deadlines
from searches.models import Lookup
from tests.searches.lives import PAGE, Submit, answer, claim_next, end, money, no_lookup_waits, states

pytestmark = pytest.mark.django_db


def test_a_lookup_that_never_began_expires_at_no_cost(submit: Submit) -> None:
    search, later = submit(2), submit()
    end(search)
    assert deadlines.expire() == 2
    assert states(search) == "expired: expired expired"
    assert states(later) == "queued: queued"
    assert money() == (Decimal("99.5"), PAGE)
    assert deadlines.expire() == 0


def test_a_search_continues_when_one_of_its_lookups_expires(submit: Submit) -> None:
    search = submit(2)
    end(search, ordinal=1)
    deadlines.expire()
    assert states(search) == "running: queued expired"
    outcomes.answered(claim_next(), answer(last=True))
    assert states(search) == "partial: succeeded expired"
    assert money() == (Decimal("99.5"), 0)


def test_a_call_under_way_does_not_expire(submit: Submit) -> None:
    search = submit()
    claimed = claim_next()
    end(search)
    assert deadlines.expire() == 0
    outcomes.answered(claimed, answer(last=True))
    assert states(search) == "succeeded: succeeded"


def test_a_lookup_that_has_some_pages_does_not_expire(submit: Submit) -> None:
    search = submit(pages=2)
    outcomes.answered(claim_next(), answer())
    end(search)
    assert deadlines.expire() == 0
    outcomes.answered(claim_next(), answer())
    assert states(search) == "succeeded: succeeded"
    assert money() == (99, 0)


def test_a_blocked_lookup_expires_even_with_pages(submit: Submit) -> None:
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
    assert no_lookup_waits()


def test_a_lookup_delayed_after_a_failure_expires(submit: Submit) -> None:
    search = submit()
    outcomes.failed(claim_next(), Policy.objects.get(), Faulty("provider_error", "…"))
    end(search)
    assert deadlines.expire() == 1
    assert states(search) == "expired: expired"
    assert money() == (100, 0)
