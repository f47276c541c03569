"""Helpers that submit, claim and settle searches of Alice, and read her credits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from accounts import clock, keys
from accounts.models import Mode, Tenant
from billing import audit, ledger
from billing.models import Account
from providers import registry
from providers.contract import Answer, Hit
from providers.keyring import credentials
from providers.models import Policy
from searches import pictures
from searches.lanes import queue
from searches.lanes.queue import ClaimedLookup
from searches.models import Lookup, QueueState, Search, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg

Submit = Callable[..., Search]
SOURCE = "tiktok-creators"
# The most that a page of 20 costs, at 0.025 credits a result.
PAGE = Decimal("0.5")


@pytest.fixture
def submit(policy: Policy, alice: Tenant) -> Submit:
    """Submits a search of Alice's with so many lookups of so many pages each; she has 100 credits."""
    Policy.objects.update(page_size=20)
    credentials.store(alice, "modash", "a-modash-key")
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(100))
    key = keys.issue(alice, Mode.LIVE)[0]

    def submit(lookups: int = 1, *, pages: int = 1) -> Search:
        order = Order(lookups=[LookupOrder(source=SOURCE, parameters={}, limit=20 * pages)] * lookups)
        fit = {"modash": registry.adapter(SOURCE).picture_limits}
        with pictures.received(alice, jpeg(), fit=fit) as picture:
            return submission.submit(key, order, picture).search

    return submit


def claim_next() -> ClaimedLookup:
    claimed = queue.claim("modash", Policy.objects.get(), lease=timedelta(seconds=30))
    assert claimed is not None
    return claimed


def answer(results: int = 20, *, last: bool = False) -> Answer:
    hits = [Hit(type="creator", external_id=str(uuid4()), title="…", detail={}, raw={}) for _ in range(results)]
    return Answer(hits=tuple(hits), billed_results=results, last=last, status=200)


def end(search: Search, **which: object) -> None:
    """Moves the deadline into the past."""
    search.lookups.filter(**which).update(expires_at=clock.now())


def states(search: Search) -> str:
    search.refresh_from_db()
    return f"{search.status}: {' '.join(search.lookups.order_by('ordinal').values_list('status', flat=True))}"


def money() -> tuple[Any, Any]:
    """Returns the credits that Alice has available and held."""
    assert audit.differences() == []
    account = Account.objects.get()
    return account.available, account.held


def no_lookup_waits() -> bool:
    return (
        not Lookup.objects.exclude(queue_state=QueueState.NONE).exists()
        and not TenantQueue.objects.filter(ready__gt=0).exists()
    )
