"""Followers do not share the erasure of their leader."""

from __future__ import annotations

import pytest

from searches.calls import outcomes
from searches.lifecycle import erasure
from searches.models import Result
from tests.searches.coalescing.test_followers import alice_asks
from tests.searches.repeating import (
    PAGE,
    Asker,
    answer,
    answered,
    claim_next,
    in_line,
    money,
    resolved,
    statuses,
)

__all__ = ["alice_asks"]
pytestmark = pytest.mark.django_db


def test_an_erased_leader_is_replaced_like_a_canceled_one(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    erasure.erase(first)
    resolved()
    assert statuses(second, third) == ["queued/miss", "queued/coalesced"]
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)


def test_a_leader_erased_during_its_call_is_replaced_when_that_has_ended(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    claimed = claim_next()
    erasure.erase(first)
    outcomes.answered(claimed, answer())
    resolved()
    assert statuses(second) == ["queued/miss"]
    assert not Result.objects.exists()


def test_a_leader_erased_after_its_end_answers_no_follower(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    answered()
    erasure.erase(first)
    resolved()
    assert statuses(second) == ["queued/miss"]
    assert not Result.objects.exists()


def test_an_erased_lookup_answers_no_later_one(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    answered()
    erasure.erase(first)
    assert statuses(alice_asks.ask()) == ["queued/miss"]


def test_a_hit_keeps_its_results_when_the_first_is_erased(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    answered(3)
    second = alice_asks.ask()
    erasure.erase(first)
    assert second.results.count() == 3
    assert statuses(alice_asks.ask()) == ["queued/miss"]


def test_an_erased_follower_leaves_the_others_alone(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    erasure.erase(second)
    answered(3)
    resolved()
    assert statuses(first, second, third) == ["succeeded/miss", "canceled/coalesced", "succeeded/coalesced"]
    assert not second.results.exists()
