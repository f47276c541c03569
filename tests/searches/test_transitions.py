"""Tests of the transitions: each pair of states is tried in SQL, and every transition says its cause in `transitions.sql`."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from uuid_utils.compat import uuid7

from accounts import clock
from accounts.models import Tenant
from searches.lanes.queue import ClaimedLookup
from searches.models import Call, Lookup, QueueState, Status
from tests.searches.conftest import Fill

Claim = Callable[[], ClaimedLookup | None]
pytestmark = pytest.mark.django_db
ENDS = ("succeeded none", "failed none", "canceled none", "expired none")
LOOKUPS = {
    "queued ready": {"running none", "queued blocked", "queued none"},
    "queued blocked": {"queued ready", "queued none"},
    "queued following": {"queued ready", "queued blocked", "queued none"},
    "queued none": {*ENDS},
    "running ready": {"running none", "running blocked"},
    "running delayed": {"running ready", "running blocked", "running none"},
    "running blocked": {"running ready", "running none"},
    "running none": {"running ready", "running delayed", "running blocked", *ENDS},
}
TRANSITIONS = (settings.BASE_DIR / "searches/transitions.sql").read_text()
CALLS = {"armed": {"answered", "failed", "unknown"}, "unknown": {"answered"}}
STATUSES = [status for status in Status if status != Status.PARTIAL]
# Constraints refuse all other states, whatever the state before.
STATES = [*(f"{status} {at}" for status, at in product(("queued", "running"), sorted(QueueState))), *ENDS]


def becomes(row: Lookup | Call, before: dict[str, Any], after: dict[str, str]) -> str:
    """Returns what the database says when a row that is `before` becomes `after`, or nothing if it allows it. Changes nothing."""
    point = transaction.savepoint()
    new = copy(row)
    new.pk = uuid7()
    for name, value in before.items():
        setattr(new, name, value)
    new.save(force_insert=True)
    names = ", ".join(f"{name} = %s" for name in after)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {new._meta.db_table} SET {names} WHERE id = %s", [*after.values(), str(new.pk)])
            assert cursor.rowcount == 1
    except IntegrityError as error:
        return str(error).splitlines()[0]
    finally:
        transaction.savepoint_rollback(point)
    return ""


def of_lookup(state: str) -> dict[str, str]:
    status, queue_state = state.split()
    return {"status": status, "queue_state": queue_state}


def documented(state: str) -> dict[str, set[str]]:
    """Returns the transitions between states that match the pattern, as the file lists them with their causes."""
    found: dict[str, set[str]] = {}
    for before, after in re.findall(rf"^        '({state}) > ({state})',? +-- \w", TRANSITIONS, re.MULTILINE):
        found.setdefault(before, set()).add(after)
    return found


@pytest.fixture
def claimed(fill: Fill, claim: Claim, alice: Tenant) -> ClaimedLookup:
    fill(alice, 1)
    claimed = claim()
    assert claimed is not None
    return claimed


def test_every_transition_is_listed_with_its_cause() -> None:
    assert documented(r"\w+ \w+") == LOOKUPS
    assert documented(r"\w+") == CALLS


def test_the_transitions_name_every_state() -> None:
    states = {*LOOKUPS, *(after for afters in LOOKUPS.values() for after in afters)}
    assert {queue_state for _, queue_state in map(str.split, states)} == set(QueueState)
    assert {status for status, _ in map(str.split, states)} == {*STATUSES}
    assert {*CALLS, *(after for afters in CALLS.values() for after in afters)} == {*Call.State}


@pytest.mark.parametrize("before", STATES)
def test_a_lookup_changes_its_state_only_by_a_listed_transition(before: str, claimed: ClaimedLookup) -> None:
    for after in STATES:
        due = {"ordinal": 1, "not_before": clock.now()}
        refusal = becomes(claimed.lookup, of_lookup(before) | due, of_lookup(after))
        allowed = before == after or after in LOOKUPS.get(before, ())
        words = "A lookup that is {} ({}) never becomes {} ({}).".format(*before.split(), *after.split())
        assert refusal == ("" if allowed else words)


@pytest.mark.parametrize("before", Call.State.values)
def test_a_call_changes_its_state_only_by_a_listed_transition(before: str, claimed: ClaimedLookup) -> None:
    for after in Call.State.values:
        refusal = becomes(claimed.call, {"state": before}, {"state": after})
        allowed = before == after or after in CALLS.get(before, ())
        assert refusal == ("" if allowed else f"A call that is {before} never becomes {after}.")


def test_other_columns_of_an_ended_lookup_may_be_written(claimed: ClaimedLookup) -> None:
    ended = Lookup.objects.filter(pk=claimed.lookup.pk)
    ended.update(status=Status.FAILED)
    assert ended.update(error_code="refused") == 1
    assert ended.update(status=Status.FAILED, queue_state=QueueState.NONE, duplicates=1) == 1


def test_an_ended_lookup_never_runs_again(claimed: ClaimedLookup) -> None:
    Lookup.objects.update(status=Status.CANCELED)
    with pytest.raises(IntegrityError, match=r"never becomes running \(none\)"):
        Lookup.objects.update(status=Status.RUNNING)
