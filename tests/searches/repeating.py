"""Helpers that submit equal searches of one tenant, and act as its worker and the sweep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from accounts import clock, keys
from accounts.models import ApiKey, Mode, Tenant
from billing import audit, ledger
from billing.models import Account
from providers import policies, registry
from providers.contract import Answer, Hit
from providers.failures import Failure, Refused
from providers.keyring import credentials
from providers.models import Policy
from searches import pictures
from searches.calls import outcomes
from searches.coalescing import followers
from searches.lanes import queue
from searches.lanes.queue import ClaimedLookup
from searches.models import Lookup, QueueState, Search, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg
from tests.racing import patiently
from tests.searches.conftest import LEASE

SOURCE = "tiktok-creators"
# The most that a page of 20 costs, at 0.025 credits a result.
PAGE = Decimal("0.5")
REFUSED = Refused("refused", "Modash refused it.")


@dataclass(frozen=True)
class Asker:
    """Submits with one API key. Each lookup has one page of 20 results."""

    key: ApiKey

    def ask(
        self,
        picture: bytes | None = None,
        *,
        count: int = 1,
        max_age: int | None = None,
        also: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Search:
        """Submits a search of so many equal lookups. Changes are of the order, where it has such a field, or else of each lookup;
        `also`: of one more lookup.
        """
        of_order = {name: changes.pop(name) for name in ("crop", "priority", "expires_in") if name in changes}
        plain: dict[str, Any] = {"source": SOURCE, "parameters": {}, "limit": 20}
        lookup = LookupOrder(**plain | changes)
        lookups = [lookup] * count + ([LookupOrder(**plain | also)] if also else [])
        adapter = registry.adapter(lookup.source)
        fit = {adapter.provider: adapter.picture_limits}
        order = Order(lookups=lookups, max_age=max_age, **of_order)
        crop = of_order.get("crop", "")

        def submitted() -> Search:
            with pictures.received(self.key.tenant, picture or jpeg(), fit=fit, crop=crop) as draft:
                return submission.submit(self.key, order, draft).search

        return patiently(submitted)


def asker(tenant: Tenant, mode: Mode = Mode.LIVE, *, credits: int = 100) -> Asker:
    """Turns repeats on, as they are for a new tenant. Pages have 20 results."""
    tenant.max_age = 3600
    tenant.save()
    policies.of("modash")
    Policy.objects.update(page_size=20)
    if mode == Mode.LIVE:
        credentials.store(tenant, "modash", f"a-modash-key-of-{tenant.name}")
        ledger.grant(ledger.account_of(tenant, "modash"), Decimal(credits))
    return Asker(keys.issue(tenant, mode)[0])


def claim_next(lane: str = "modash") -> ClaimedLookup:
    claimed = queue.claim(lane, policies.in_force(Policy.objects.get(), Mode.LIVE), lease=LEASE)
    assert claimed is not None
    return claimed


def answer(results: int = 20, *, last: bool = True, first: int = 0) -> Answer:
    hits = [
        Hit(
            type="creator",
            external_id=str(number),
            title=f"Creator {number}",
            url=f"https://www.tiktok.com/@creator{number}",
            detail={"username": f"creator{number}"},
            raw={"userId": str(number)},
        )
        for number in range(first, first + results)
    ]
    return Answer(hits=tuple(hits), billed_results=results, total=results, last=last, status=200)


def answered(results: int = 20) -> None:
    """Claims the next lookup, and answers its call."""
    outcomes.answered(claim_next(), answer(results))


def failed(failure: Failure = REFUSED) -> None:
    outcomes.failed(claim_next(), Policy.objects.get(), failure)


def resolved() -> None:
    """Resolves followers as the sweep does."""
    followers.resolve_all()


def overdue(search: Search) -> None:
    """Moves the deadline of a search into the past."""
    search.lookups.update(expires_at=clock.now() - timedelta(seconds=1))


def only(search: Search) -> Lookup:
    return search.lookups.get()


def statuses(*searches: Search) -> list[str]:
    """Returns status and repeat of each search's lookups."""
    return [
        " ".join(f"{lookup.status}/{lookup.repeat}" for lookup in Lookup.objects.filter(search=search))
        for search in searches
    ]


def money() -> tuple[Any, Any]:
    """Returns the credits available and held, and asserts that the ledger agrees with itself."""
    assert audit.differences() == []
    account = Account.objects.get()
    return account.available, account.held


def in_line() -> int:
    """Returns how many lookups are ready, and asserts that the tenant queues count as many."""
    ready = Lookup.objects.filter(queue_state=QueueState.READY).count()
    assert sum(TenantQueue.objects.values_list("ready", flat=True)) == ready
    return ready
