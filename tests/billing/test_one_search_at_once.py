"""Lookups of one search are held, held again and promoted at once: never above its `max_credits`, and up to it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest

from accounts import keys
from accounts.models import Mode, Tenant
from billing import audit, ledger
from billing.caps import LimitReached, Spender
from billing.models import Budget, Hold
from tests.billing.test_ledger import demand, in_one
from tests.racing import at_once

pytestmark = pytest.mark.django_db(transaction=True)
ROOM, FIRST, TRIES = 37, 20, 60
COST = Decimal("0.05")


@pytest.fixture
def spender(alice: Tenant) -> Spender:
    """Alice's search with its first lookups held, and room for more."""
    key = keys.issue(alice, Mode.LIVE)[0]
    spender = Spender(api_key_id=key.pk, search=f"search:{uuid4()}", max_credits={"modash": ROOM * COST})
    in_one(ledger.hold, [demand(alice, COST, f"lookup:{number}") for number in range(FIRST)], spender)
    return spender


def asked_again(number: int) -> bool:
    """Holds more for a lookup whose page must be asked for once more."""
    return in_one(ledger.hold_more, f"lookup:{number % FIRST}", COST, key=f"call-{number}")


def promoted(tenant: Tenant, spender: Spender, number: int) -> bool:
    """Holds for a lookup that had a leader until now."""
    try:
        in_one(ledger.hold, [demand(tenant, COST, f"lookup:promoted-{number}")], spender)
    except LimitReached:
        return False
    return True


def test_a_search_holds_up_to_its_max_credits_and_no_more(alice: Tenant, spender: Spender) -> None:
    tasks: list[Callable[[], bool]] = [
        partial(asked_again, number) if number % 2 else partial(promoted, alice, spender, number)
        for number in range(TRIES)
    ]
    assert sum(at_once(tasks)) == ROOM - FIRST
    budget = Budget.objects.get()
    assert [budget.used, budget.held, budget.most] == [0, ROOM * COST, ROOM * COST]
    assert sum(Hold.objects.values_list("open", flat=True)) == ROOM * COST
    assert audit.differences() == []


def test_what_one_lookup_releases_another_of_the_search_may_hold(alice: Tenant, spender: Spender) -> None:
    def ended(number: int) -> bool:
        in_one(ledger.close, f"lookup:{number}", COST / 5, key=f"last-{number}")
        return False

    tasks: list[Callable[[], bool]] = [partial(promoted, alice, spender, number) for number in range(TRIES - FIRST)]
    held = sum(at_once([*(partial(ended, number) for number in range(FIRST)), *tasks]))
    budget = Budget.objects.get()
    assert (budget.used, budget.held) == (FIRST * COST / 5, held * COST)
    # A part of each lookup's hold was charged, so that the last credit cannot be reached.
    assert ROOM - FIRST <= held <= ROOM - FIRST / 5
    assert audit.differences() == []
