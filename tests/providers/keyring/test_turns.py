"""Tests turns in a lane: tenants alternate, however much each of them asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from providers.keyring import turns
from providers.keyring.turns import Turn

ALICE, BOB, CHARLIE = UUID(int=1), UUID(int=2), UUID(int=3)
TurnOf = Callable[[UUID], Turn]


@pytest.fixture
def turn_of() -> TurnOf:
    """Returns the turn of a new call of this tenant, in a lane of the test's own."""
    lane = f"free:{uuid4()}"
    return lambda tenant: Turn(lane=lane, tenant_id=tenant, call=str(uuid4()))


def test_the_tenant_that_joined_first_is_first(turn_of: TurnOf) -> None:
    alice, bob = turn_of(ALICE), turn_of(BOB)
    assert [alice.has_come(), bob.has_come(), alice.has_come()] == [True, False, True]
    alice.pass_on()
    assert bob.has_come()


def test_a_tenant_is_in_line_once(turn_of: TurnOf) -> None:
    first, second = turn_of(ALICE), turn_of(ALICE)
    assert first.has_come()
    assert not second.has_come()
    first.pass_on()
    assert not second.has_come(), "its first call waits for its slot"
    first.end()
    assert second.has_come()


def test_the_next_call_of_a_tenant_comes_after_those_of_all_others(turn_of: TurnOf) -> None:
    first, again, bob, charlie = (turn_of(tenant) for tenant in (ALICE, ALICE, BOB, CHARLIE))
    assert [turn.has_come() for turn in (first, again, bob, charlie)] == [True, False, False, False]
    first.pass_on()
    first.end()
    assert [turn.has_come() for turn in (again, charlie, bob)] == [False, False, True]
    bob.end()
    assert [turn.has_come() for turn in (again, charlie)] == [False, True]
    charlie.end()
    assert again.has_come()


def test_a_call_that_gives_up_is_not_waited_for(turn_of: TurnOf) -> None:
    alice, bob = turn_of(ALICE), turn_of(BOB)
    assert alice.has_come()
    assert not bob.has_come()
    alice.end()
    assert bob.has_come()


def test_a_call_ends_no_turn_but_its_own(turn_of: TurnOf) -> None:
    mine, other = turn_of(ALICE), turn_of(ALICE)
    assert mine.has_come()
    other.end()
    assert mine.has_come()
    assert not other.has_come()


def test_a_call_whose_process_died_is_forgotten(turn_of: TurnOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STALE_SECONDS", 0.05)
    assert turn_of(ALICE).has_come()
    time.sleep(0.06)
    assert turn_of(BOB).has_come()
