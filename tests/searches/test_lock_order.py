"""Tests that every settlement locks a credential before a credit account, whatever the outcome of its call, and that the holds of
several lookups are locked before the account.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
import redis
from django.db import connection, transaction

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from billing import audit, ledger
from billing.models import Account, Hold, Price
from providers import registry
from providers.contract import Answer
from providers.failures import BadCredential, Failure, Throttled
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches import pictures
from searches.calls import outcomes, settlement
from searches.lanes import queue
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import cancellation
from searches.models import Lookup, QueueState, Search
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from searches.orders.submission import Submission
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.bench.picture import jpeg
from tests.patience import until
from tests.racing import at_once

pytestmark = pytest.mark.django_db(transaction=True)
FOUND = Answer(hits=(), billed_results=2, last=True, status=200)
WAIT = Throttled("rate_limited", "Slow down.", status=429, retry_after=0.0)
DEAD = BadCredential("invalid_key", "It is not known.", status=401)
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
Settle = Callable[[ClaimedLookup], None]


def failed(failure: Failure) -> Settle:
    return lambda claimed: outcomes.failed(claimed, Policy.objects.get(), failure)


SETTLEMENTS: dict[str, Settle] = {
    "answered": lambda claimed: outcomes.answered(claimed, FOUND),
    "told to wait": failed(WAIT),
    "refused its key": failed(DEAD),
    "token refused": lambda claimed: settlement.unsent(claimed.call, claimed.lookup, rests_for=1.0),
}


@pytest.fixture(autouse=True)
def empty_redis(redis_client: redis.Redis) -> None:
    redis_client.flushdb()


@pytest.fixture
def key(policy: Policy, alice: Tenant) -> ApiKey:
    """Returns a key of a tenant that has credits and a provider's key."""
    Price.objects.create(source="tiktok-creators", per_call=Decimal("0.5"), per_result=Decimal("0.025"))
    Tenant.objects.update(max_age=0)
    credentials.store(alice, "modash", "her-key")
    Credential.objects.update(times_told_to_wait=1)
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(100))
    return keys.issue(alice, Mode.LIVE)[0]


def submit(key: ApiKey, *, lookups: int) -> Submission:
    lookup = LookupOrder(source="tiktok-creators", parameters={}, limit=2)
    fit = {"modash": registry.adapter("tiktok-creators").picture_limits}
    with pictures.received(key.tenant, jpeg(), fit=fit) as picture:
        return submission.submit(key, Order(lookups=[lookup] * lookups), picture)


@pytest.fixture
def claims(policy: Policy, key: ApiKey) -> list[ClaimedLookup]:
    """Returns twelve claimed lookups of one tenant with one key, whose searches are being canceled."""
    for _ in range(12):
        submit(key, lookups=1)
    found = [queue.claim("modash", policy, lease=timedelta(seconds=60)) for _ in range(12)]
    for search in Search.objects.all():
        cancellation.cancel(search)
    return [claimed for claimed in found if claimed is not None]


def beside(task: Callable[[], None]) -> None:
    """Runs a settlement in a thread of its own."""
    try:
        task()
    finally:
        connection.close()


def wait_for_a_lock() -> None:
    """Returns when another transaction waits for what this one holds."""

    def somebody_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            return bool(cursor.fetchone()[0])

    until(somebody_waits, "nobody waits")


@pytest.mark.parametrize("how", SETTLEMENTS)
def test_a_transaction_that_waits_for_the_credential_has_not_locked_the_credit_account(
    how: str, claims: list[ClaimedLookup]
) -> None:
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Credential.objects.select_for_update(no_key=True).get()
        settled = pool.submit(beside, partial(SETTLEMENTS[how], claims[0]))
        wait_for_a_lock()
        assert Account.objects.select_for_update(nowait=True).get()
    settled.result()
    assert Lookup.objects.get(pk=claims[0].lookup.pk).status == "canceled"


def test_settlements_of_one_key_at_once_never_deadlock(claims: list[ClaimedLookup]) -> None:
    ways = list(SETTLEMENTS.values())
    at_once([partial(ways[number % len(ways)], claimed) for number, claimed in enumerate(claims)])
    assert set(Lookup.objects.values_list("status", "queue_state")) == {("canceled", QueueState.NONE)}
    assert audit.differences() == []


def test_a_cancellation_waits_for_a_settlement_by_hand_before_it_locks_the_account(key: ApiKey) -> None:
    submitted = submit(key, lookups=2)
    last = max(lookup.reference for lookup in submitted.lookups)
    with transaction.atomic():
        ledger.set_unknown(last, Decimal("0.1"))
    with background() as start, transaction.atomic():
        Hold.objects.select_for_update().get(reference=last)
        canceled = start(partial(cancellation.cancel, submitted.search))
        until_somebody_waits_for_a_lock()
        ledger.settle(last, charged=Decimal("0.1"))
    canceled.result()
    assert Account.objects.get().posted == Decimal("99.9")
    assert audit.differences() == []
