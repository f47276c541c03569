"""Tests that the lists of states in SQL and in indexes, which are copies for speed, equal those in Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.db.models import Q

from accounts import clock
from accounts.models import Tenant
from searches.lanes import directory, queue
from searches.lanes.queue import ClaimedLookup
from searches.models import Lookup, QueueState, Status, TenantQueue
from tests.searches.conftest import Fill

LIST = re.compile(r"(?:IN \(|ARRAY\[)('\w+'(?:, '\w+')+)[)\]]")
NOT_READY = {*queue.WAITING} - {QueueState.READY}
COPIES = {
    "lanes/backlog.sql": [NOT_READY],
    "lanes/estimates.sql": [{*queue.SCHEDULED}],
    "lifecycle/search_status.sql": [{*Lookup.OPEN}, {*Lookup.OPEN}],
}
CONDITIONS = {
    "lookups_by_credential": [{*queue.IN_QUEUE}],
    "lookups_to_expire": [{*queue.WAITING}],
    "lookups_without_credential": [{*queue.IN_QUEUE}],
    "lookups_not_ready": [NOT_READY],
    "lookups_to_repeat": [{*Lookup.OPEN, Status.SUCCEEDED}],
    "leaders_that_ended": [{*Lookup.ENDED}],
    "ended_lookups_are_in_no_queue": [{*Lookup.OPEN}],
}


def lists(sql: str) -> list[set[str]]:
    return [set(re.findall(r"\w+", found)) for found in LIST.findall(sql)]


def listed(condition: Q) -> Iterator[set[str]]:
    """Yields the values of each `…__in` of the condition."""
    for part in condition.children:
        if isinstance(part, Q):
            yield from listed(part)
        elif isinstance(part, tuple) and part[0].endswith("__in"):
            yield set(part[1])


def test_lists_of_states_in_sql_files_equal_those_in_python() -> None:
    folder = settings.BASE_DIR / "searches"
    found = {str(path.relative_to(folder)): lists(path.read_text()) for path in folder.rglob("*.sql")}
    assert {path: states for path, states in found.items() if states} == COPIES


def test_the_query_for_credentials_in_use_looks_into_every_queue() -> None:
    assert lists(directory.IN_USE) == [{*queue.IN_QUEUE}]


def test_conditions_of_indexes_and_constraints_equal_the_lists_in_python() -> None:
    parts: list[Any] = [*Lookup._meta.indexes, *Lookup._meta.constraints]
    found = {part.name: list(listed(getattr(part, "condition", None) or Q())) for part in parts}
    assert {name: states for name, states in found.items() if states} == CONDITIONS


@pytest.mark.django_db
@pytest.mark.parametrize(("is_ready", "rests", "is_suspended"), [*product((True, False), repeat=3)])
def test_a_claim_takes_lookups_from_claimable_queues_only(
    is_ready: bool,
    rests: bool,
    is_suspended: bool,
    fill: Fill,
    claim: Callable[[], ClaimedLookup | None],
    alice: Tenant,
    bob: Tenant,
) -> None:
    fill(alice, 1)
    fill(bob, 1)
    hers = TenantQueue.objects.filter(tenant=alice)
    hers.update(virtual_time=queue.STEP, ready=int(is_ready), rests_until=clock.now() if rests else None)
    if is_suspended:
        Tenant.objects.filter(pk=alice.pk).update(suspended_at=clock.now())
    is_claimable = hers.filter(queue.CLAIMABLE).exists()
    assert is_claimable == (is_ready and not rests and not is_suspended)
    first, second = claim(), claim()
    assert first is not None
    assert (first.lookup.tenant_id, first.more) == (bob.pk, is_claimable)
    assert (second is not None) == is_claimable
