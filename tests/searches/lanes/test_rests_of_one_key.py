"""Tests that a rest belongs to a provider's key: whichever row holds it, no slot is spent on it, and others are claimed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
import redis
from django.db import transaction
from pytest_django import Settings

from accounts import clock, keys
from accounts.models import Mode, Tenant
from billing import ledger
from providers import limiter, policies, registry
from providers.keyring import credentials, resting
from providers.models import Credential, Policy
from searches import pictures
from searches.calls import worker
from searches.lanes import directory, pauses, queue
from searches.models import Call, QueueState, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg
from tests.providers.conftest import Provider
from tests.racing import at_once

pytestmark = pytest.mark.django_db
Submit = Callable[..., None]
SECRET = "the-key-that-rests"
WAIT = {"Retry-After": "3000"}
NOTHING = {"error": True, "code": "no_result", "message": "Nothing"}


@pytest.fixture(autouse=True)
def brisk(db: None, redis_client: redis.Redis, settings: Settings, provider: Provider) -> None:
    """Gives the lane a short interval, and a log that began long ago."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis_client.flushdb()
    policies.lane_limiter("modash", Policy.objects.get()).pause(seconds=0)
    redis_client.hset("lane:{modash}", "log_began", 0)
    settings.MODASH_BASE_URL = provider.url
    provider.answers(NOTHING, status=404)


@pytest.fixture
def submit() -> Submit:
    """Returns `submit`: `submit(alice, 3)` submits three searches of hers."""

    def submit(tenant: Tenant, count: int = 1) -> None:
        ledger.grant(ledger.account_of(tenant, "modash"), Decimal(10))
        key = keys.issue(tenant, Mode.LIVE)[0]
        fit = {"modash": registry.adapter("tiktok-creators").picture_limits}
        for _ in range(count):
            order = Order(lookups=[LookupOrder(source="tiktok-creators", parameters={}, limit=20)])
            with pictures.received(tenant, jpeg(), fit=fit) as picture:
                submission.submit(key, order, picture)

    return submit


@pytest.fixture
def told_to_wait(alice: Tenant, submit: Submit, provider: Provider) -> None:
    """Lets Alice's key rest, in its row and in the limiter."""
    Tenant.objects.update(max_age=0)
    credentials.store(alice, "modash", SECRET)
    submit(alice, 3)
    provider.answers({"error": True, "code": "slow"}, status=429, headers=WAIT)
    visit()
    provider.answers(NOTHING, status=404)


def visit(times: int = 1) -> None:
    for _ in range(times):
        worker.run("modash", str(uuid4()))


def answered() -> dict[str, int]:
    """Returns how many calls of each tenant were answered."""
    names = Call.objects.filter(state=Call.State.ANSWERED).values_list("lookup__tenant__name", flat=True)
    return {name: list(names).count(name) for name in names}


def rest_of(credential: Credential) -> timedelta:
    credential.refresh_from_db()
    return (credential.rests_until or clock.now()) - clock.now()


def is_long(rest: timedelta) -> bool:
    return timedelta(seconds=2900) < rest <= timedelta(seconds=3000)


# A row that takes the key in


@pytest.mark.usefixtures("told_to_wait")
@pytest.mark.parametrize("how", ["the same secret", "a second label", "another tenant", "a changed credential"])
def test_a_row_into_which_a_resting_key_is_entered_rests_too(how: str, alice: Tenant, bob: Tenant) -> None:
    stored = {
        "the same secret": lambda: credentials.store(alice, "modash", f" {SECRET} "),
        "a second label": lambda: credentials.create(alice, "modash", SECRET, label="second"),
        "another tenant": lambda: credentials.store(bob, "modash", SECRET),
        "a changed credential": lambda: credentials.store(bob, "modash", "another-key"),
    }[how]()
    if how == "a changed credential":
        assert stored.rests_until is None
        credentials.change(stored, secret=SECRET)
    assert is_long(rest_of(stored))
    assert stored.times_told_to_wait == 1


@pytest.mark.usefixtures("told_to_wait")
def test_a_key_does_not_rest_at_another_provider_nor_does_another_key(alice: Tenant, bob: Tenant) -> None:
    assert credentials.store(alice, "keyapi", SECRET).rests_until is None
    assert credentials.store(bob, "modash", "another-key").rests_until is None
    renewed = credentials.store(alice, "modash", "a-new-key")
    assert (renewed.rests_until, renewed.told_to_wait_at, renewed.times_told_to_wait) == (None, None, 0)


@pytest.mark.usefixtures("told_to_wait")
@pytest.mark.parametrize("how", ["the same secret", "another tenant", "removed and stored", "passed over"])
def test_others_have_their_turns_whichever_row_holds_a_key_that_rests(
    how: str, alice: Tenant, bob: Tenant, charlie: Tenant, submit: Submit
) -> None:
    """The lane's next slots are theirs, and the limiter is asked for the key once at the most."""
    if how == "another tenant":
        credentials.store(bob, "modash", SECRET)
        submit(bob, 3)
    elif how == "passed over":
        Credential.objects.update(rests_until=None)
    else:
        if how == "removed and stored":
            credentials.remove(alice.credentials.get())
        credentials.store(alice, "modash", SECRET)
        submit(alice, 3)
    credentials.store(charlie, "modash", "another-key")
    submit(charlie, 3)
    visit(5)
    assert answered() == {charlie.name: 3}
    assert not Call.objects.filter(state=Call.State.ARMED).exists()


# What the limiter knows and the row does not


@pytest.mark.usefixtures("told_to_wait")
def test_a_rest_for_which_the_limiter_refuses_a_token_is_written_to_every_row_of_the_key(
    alice: Tenant, bob: Tenant, provider: Provider
) -> None:
    other = credentials.store(bob, "modash", SECRET)
    Credential.objects.update(rests_until=None)
    TenantQueue.objects.update(rests_until=None, wake_at=None)
    before = TenantQueue.objects.get(tenant=alice).virtual_time
    provider.body = b""
    visit()
    assert is_long(rest_of(alice.credentials.get()))
    assert is_long(rest_of(other))
    assert provider.body == b""
    assert set(alice.lookups.values_list("queue_state", "attempts")) == {(QueueState.READY, 0)}
    # With its virtual time refunded the tenant would be claimed next again and again.
    assert TenantQueue.objects.get(tenant=alice).virtual_time == before + queue.STEP


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("told_to_wait")
def test_a_row_that_was_locked_when_its_key_was_told_to_wait_rests_at_its_next_turn(
    alice: Tenant, bob: Tenant, charlie: Tenant, submit: Submit, provider: Provider
) -> None:
    Credential.objects.update(rests_until=None, told_to_wait_at=None, times_told_to_wait=0)
    TenantQueue.objects.update(rests_until=None, wake_at=None)
    policies.lane_limiter("modash", Policy.objects.get()).end_rests()
    other = credentials.store(bob, "modash", SECRET)
    provider.answers({"error": True, "code": "slow"}, status=429, headers=WAIT)
    with transaction.atomic():
        Credential.objects.select_for_update(no_key=True).get(pk=other.pk)
        at_once([visit])
    provider.answers(NOTHING, status=404)
    assert rest_of(other) < timedelta(seconds=1)
    submit(bob, 3)
    credentials.store(charlie, "modash", "another-key")
    submit(charlie, 3)
    visit(5)
    assert is_long(rest_of(other))
    assert answered() == {charlie.name: 3}


@pytest.mark.usefixtures("told_to_wait")
def test_a_rest_that_only_the_limiter_knew_of_does_not_count_as_one_in_a_row(alice: Tenant, provider: Provider) -> None:
    """A token that is refused between the pause of the limiter and that of the row must not hide the refusal of the call."""
    Credential.objects.update(rests_until=None)
    TenantQueue.objects.update(rests_until=None, wake_at=None)
    visit()
    [credential] = alice.credentials.all()
    assert (is_long(rest_of(credential)), credential.times_told_to_wait) == (True, 1)
    moment = clock.now()
    resting.rest(credential, claimed_at=moment, moment=moment, seconds=1)
    assert alice.credentials.get().times_told_to_wait == 2


@pytest.mark.usefixtures("told_to_wait")
def test_an_operator_who_ends_the_pause_ends_the_rest_in_every_row_and_in_the_limiter(
    alice: Tenant, bob: Tenant, submit: Submit
) -> None:
    credentials.store(bob, "modash", SECRET)
    submit(bob)
    pauses.clear(directory.lane_of(Policy.objects.get(), mode=Mode.LIVE, tenant_id=alice.pk))
    visit(5)
    assert answered() == {alice.name: 3, bob.name: 1}


def test_the_limiter_tells_how_long_a_key_rests_still() -> None:
    modash = policies.lane_limiter("modash", Policy.objects.get())
    modash.rest_key("a-key", seconds=30)
    waiter = modash.waiter("mine")
    waiter.start(seconds=30)
    with pytest.raises(limiter.KeyRests) as refused:
        waiter.redeem("a-call", "a-key")
    assert 25 < refused.value.seconds <= 30
    time.sleep(0.05)
    with pytest.raises(limiter.TokenRefused) as never_sent:
        modash.waiter("nobody").redeem("a-call", "another-key")
    assert not isinstance(never_sent.value, limiter.KeyRests)
