"""A bulkhead shares what a process has few of: a tenant that holds much leaves something to any other."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID, uuid4

import pytest

from accounts.web.bulkhead import Bulkhead, Busy


def taken(slots: Bulkhead, stack: ExitStack, tenant: UUID, times: int = 100) -> int:
    """Returns how many of so many slots the tenant gets, and keeps."""
    got = 0
    for _ in range(times):
        try:
            stack.enter_context(slots.acquire(tenant))
            got += 1
        except Busy:
            pass
    return got


@pytest.mark.parametrize(("most", "shares"), [(12, [6, 3, 2, 1, 0]), (8, [4, 2, 1, 1]), (4, [2, 1, 1]), (1, [1, 0])])
def test_an_owner_that_takes_all_it_can_leaves_as_many_slots(most: int, shares: list[int]) -> None:
    slots = Bulkhead(lambda: most, "Too many.")
    with ExitStack() as stack:
        assert [taken(slots, stack, uuid4()) for _ in shares] == shares
    assert not slots.taken


def test_two_tenants_never_shut_out_a_third() -> None:
    slots = Bulkhead(lambda: 6, "Too many.")
    greedy = uuid4(), uuid4()
    with ExitStack() as stack:
        for _ in range(20):
            for tenant in greedy:
                taken(slots, stack, tenant, 1)
        assert taken(slots, stack, uuid4(), 1) == 1
