"""With fifty transactions at once, counts are exact, every call is settled once, and no deadlock occurs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import TypeVar

import pytest
from django.db import connection, transaction
from django.db.models import Count

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from billing import audit, ledger
from billing.caps import LimitReached
from billing.models import Account, Hold, Price
from providers import policies, registry
from providers.contract import Answer, Hit
from providers.failures import Faulty, Lost, Throttled
from providers.keyring import credentials
from providers.models import Policy
from searches import pictures
from searches.calls import outcomes, settlement, worker
from searches.lanes import queue, wakeups
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import cancellation
from searches.models import Call, Image, Lane, Lookup, QueueState, Rendering, Search, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.racing import patiently
from tests.searches.samples import jpeg

pytestmark = pytest.mark.django_db(transaction=True)

FIFTY = 50
T = TypeVar("T")
FIT = {"modash": registry.adapter("tiktok-creators").picture_limits}
NOTHING = Answer(hits=(), billed_results=0, last=True, status=200)
FOUND = Answer(
    hits=tuple(Hit(type="creator", external_id=str(number), title="", detail={}, raw={}) for number in range(2)),
    billed_results=2,
    last=True,
    status=200,
)


@pytest.fixture
def policy(db: None) -> Policy:
    # Both kinds of price, so that an answer that found nothing moves credits too.
    Price.objects.create(source="tiktok-creators", per_call=Decimal("0.5"), per_result=Decimal("0.025"))
    return policies.of("modash")


@pytest.fixture
def customers(policy: Policy) -> list[ApiKey]:
    return [customer(f"tenant-{number}") for number in range(5)]


def customer(name: str) -> ApiKey:
    tenant = Tenant.objects.create(name=name, max_age=0)
    credentials.store(tenant, "modash", f"key-of-{name}")
    return keys.issue(tenant, Mode.LIVE)[0]


def submit(api_key: ApiKey, *, lookups: int = 1) -> Search:
    return patiently(lambda: submit_once(api_key, lookups))


def submit_once(api_key: ApiKey, lookups: int) -> Search:
    order = Order(lookups=[LookupOrder(source="tiktok-creators", parameters={}, limit=2)] * lookups)
    with pictures.received(api_key.tenant, jpeg(), fit=FIT) as picture:
        return submission.submit(api_key, order, picture).search


def claim(policy: Policy) -> ClaimedLookup | None:
    with suppress(queue.Contended):
        return queue.claim("modash", policy, lease=timedelta(seconds=10))
    return claim(policy)


def at_once(work: Callable[[int], T], times: int = FIFTY) -> list[T]:
    """Runs the functions in threads that start at the same time."""
    started = Event()

    def alone(number: int) -> T:
        started.wait()
        try:
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        running = [pool.submit(alone, number) for number in range(times)]
        started.set()
        return [one.result() for one in running]


def the_line_adds_up() -> None:
    """Checks that each queue counts its ready lookups, and that each balance follows from its entries."""
    actual = Lookup.objects.filter(queue_state=QueueState.READY).values_list("lane", "tenant").annotate(Count("pk"))
    counted = TenantQueue.objects.filter(ready__gt=0).values_list("lane", "tenant", "ready")
    assert sorted(counted, key=str) == sorted(actual.order_by(), key=str)
    assert audit.differences() == []


def test_fifty_submits_with_room_for_37_give_37(customers: list[ApiKey]) -> None:
    alice = customers[0]
    ledger.grant(ledger.account_of(alice.tenant, "modash"), 37 * Decimal("0.55"))

    def accepted(_: int) -> bool:
        try:
            return bool(submit(alice))
        except LimitReached:
            return False

    assert Counter(at_once(accepted)) == {True: 37, False: 13}
    account = Account.objects.get()
    assert account.available == 0
    assert Search.objects.count() == Hold.objects.count() == 37
    the_line_adds_up()


def test_fifty_equal_pictures_at_once_are_one_row_and_one_file(customers: list[ApiKey], storage: Path) -> None:
    at_once(lambda _: submit(customers[0]))
    assert (Search.objects.count(), Image.objects.count(), Rendering.objects.count()) == (50, 1, 1)
    files = [path for path in storage.rglob("*") if path.is_file()]
    assert [str(path.relative_to(storage)) for path in files] == [Image.objects.get().file]
    the_line_adds_up()


def test_a_cancel_that_races_a_claim_ends_every_lookup_once(customers: list[ApiKey], policy: Policy) -> None:
    searches = [submit(customers[number % 5], lookups=3) for number in range(25)]

    def cancel_or_work(number: int) -> None:
        if number % 2:
            cancellation.cancel(searches[number // 2])
        elif claimed := claim(policy):
            outcomes.answered(claimed, FOUND)

    at_once(cancel_or_work)
    for search in searches:
        cancellation.cancel(search)
    assert not Lookup.objects.exclude(status__in=Lookup.ENDED).exists()
    assert not Hold.objects.exists()
    the_line_adds_up()


def test_a_tenant_keeps_its_turn_while_a_call_of_its_own_is_settled(customers: list[ApiKey], policy: Policy) -> None:
    heavy, light = customers[:2]
    Tenant.objects.filter(pk=heavy.tenant_id).update(weight=1000)
    for api_key in (heavy, heavy, light, light):
        submit(api_key)
    claims = {claimed.lookup.tenant_id: claimed for claimed in (claim(policy), claim(policy)) if claimed}
    with transaction.atomic():
        outcomes.answered(claims[heavy.tenant_id], FOUND)
        (next_one,) = at_once(lambda _: claim(policy), 1)
    assert next_one is not None
    assert next_one.lookup.tenant_id == heavy.tenant_id


def test_a_tenant_queue_that_is_locked_for_long_stops_neither_the_lane_nor_the_visits(
    customers: list[ApiKey], policy: Policy
) -> None:
    held, over = Event(), Event()
    submit(customers[0])

    def hold() -> None:
        with transaction.atomic():
            queue.lock_tenant_queue("modash", customers[0].tenant_id)
            held.set()
            over.wait()
        connection.close()

    with ThreadPoolExecutor() as pool:
        holding = pool.submit(hold)
        held.wait()
        try:
            with pytest.raises(queue.Contended):
                queue.claim("modash", policy, lease=timedelta(seconds=10))
            lane = Lane.objects.get()
            again = worker.visit(lane, policy, wakeups.waiter(lane, policy, "mine"), 0.0)
            submit(customers[1])
            another = claim(policy)
        finally:
            over.set()
        holding.result()
    assert again
    assert another is not None
    assert another.lookup.tenant_id == customers[1].tenant_id
    assert claim(policy) is not None


def test_no_lookup_is_claimed_twice_while_many_submit(customers: list[ApiKey], policy: Policy) -> None:
    def submit_or_claim(number: int) -> ClaimedLookup | None:
        if number % 3 == 0:
            return claim(policy)
        submit(customers[number % 5])
        return None

    pks = [claimed.lookup.pk for claimed in at_once(submit_or_claim) if claimed]
    assert len(set(pks)) == len(pks) == Call.objects.count()
    assert Lookup.objects.filter(queue_state=QueueState.NONE).count() == len(pks)
    the_line_adds_up()


def settle(claimed: ClaimedLookup, policy: Policy) -> None:
    """Settles a call in one of all the ways in which it can end."""
    failures = [Lost("no_answer", ""), Throttled("rate_limited", "", retry_after=0.001), Faulty("provider_error", "")]
    match random.choice([NOTHING, FOUND, FOUND, None, *failures]):
        case Answer() as answer:
            outcomes.answered(claimed, answer)
        case None:
            settlement.unsent(claimed.call, claimed.lookup)
        case failure:
            outcomes.failed(claimed, policy, failure)


def test_no_transactions_wait_for_each_other_in_a_circle(customers: list[ApiKey], policy: Policy) -> None:
    """A deadlock would end one of them with an error."""
    searches = [submit(customers[number % 2], lookups=5) for number in range(10)]

    def work(number: int) -> None:
        for _ in range(10):
            if number % 10 == 0:
                submit(random.choice(customers), lookups=2)
            elif number % 10 == 1:
                cancellation.cancel(random.choice(searches))
            elif number % 10 == 2:
                ledger.grant(ledger.account_of(customers[0].tenant, "modash"), Decimal(1000))
            elif claimed := claim(policy):
                settle(claimed, policy)

    at_once(work, 30)
    the_line_adds_up()


def test_fifty_first_grants_at_once_are_all_written(customers: list[ApiKey]) -> None:
    alice = customers[0]
    submit(alice)
    at_once(lambda _: ledger.grant(ledger.account_of(alice.tenant, "modash"), Decimal(1)))
    assert Account.objects.get().available == 50
    the_line_adds_up()
