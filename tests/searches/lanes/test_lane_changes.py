"""Tests that changes by operators are in force at once, also for lookups that wait already."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from pytest_django import Settings

from accounts import clock
from accounts.models import Mode, Tenant
from providers import policies
from providers.keyring import credentials
from providers.models import Policy
from searches.calls import worker
from searches.lanes import directory, pauses, queue
from searches.models import Call, Image, Lane, Lookup, Rendering
from tests.providers.conftest import Provider
from tests.searches import samples
from tests.searches.conftest import LEASE, Fill

Visit = Callable[[], bool]
pytestmark = pytest.mark.django_db


@pytest.fixture
def visit(policy: Policy, lane: Lane, redis_client: redis.Redis, provider: Provider, settings: Settings) -> Visit:
    """Returns `visit`, which tells whether a worker's visit sent a call. The lane's log began long ago."""
    settings.MODASH_BASE_URL = provider.url
    provider.answers({"error": False, "total": 0, "profiles": []})
    redis_client.flushdb()
    policies.lane_limiter(lane.name, policy).pause(seconds=0)
    redis_client.hset(f"lane:{{{lane.name}}}", "log_began", 0)

    def visit() -> bool:
        before = Call.objects.exclude(sent_at=None).count()
        worker.run(lane.name, str(uuid4()))
        return Call.objects.exclude(sent_at=None).count() > before

    return visit


@pytest.fixture
def line(fill: Fill, alice: Tenant) -> list[Lookup]:
    lookups = fill(alice, 6)
    file = default_storage.save("picture.jpeg", ContentFile(samples.jpeg()))
    image = Image.objects.get()
    Rendering.objects.create(image=image, provider="modash", media_type="image/jpeg", bytes=1, file=file)
    return lookups


@pytest.mark.parametrize(
    ("brisk", "strict"),
    [
        ({"calls": 1000, "window_ms": 60_000, "guard_ms": 0}, {"calls": 1}),
        ({"calls": 1, "window_ms": 10, "guard_ms": 0}, {"window_ms": 60_000}),
        ({"calls": 1, "window_ms": 10, "guard_ms": 0}, {"guard_ms": 9_000}),
        ({"calls": 1, "window_ms": 10, "guard_ms": 0}, {"paused": True}),
    ],
    ids=["calls", "window", "guard", "paused"],
)
def test_a_limit_holds_from_the_next_call_on_and_no_longer_than_it_is_set(
    visit: Visit, line: list[Lookup], brisk: dict[str, Any], strict: dict[str, Any]
) -> None:
    Policy.objects.update(**brisk)
    assert visit()
    Policy.objects.update(**strict)
    assert not visit()
    Policy.objects.update(paused=False, **brisk)
    assert visit()


def test_a_limit_that_was_lowered_while_a_worker_waited_holds_for_its_call(
    fill: Fill, lane: Lane, policy: Policy, alice: Tenant
) -> None:
    fill(alice, 1)
    Policy.objects.update(calls=1, window_ms=7000)
    claimed = queue.claim(lane.name, policy, lease=LEASE)
    assert claimed is not None
    assert policies.rate(claimed.policy).window_us == 7_000_000 > policies.rate(policy).window_us


def test_a_provider_that_was_paused_while_a_worker_waited_gets_no_call(
    fill: Fill, lane: Lane, policy: Policy, alice: Tenant
) -> None:
    fill(alice, 1)
    Policy.objects.update(paused=True)
    assert queue.claim(lane.name, policy, lease=LEASE) is None
    Lane.objects.update(mode=Mode.TEST)
    assert queue.claim(lane.name, policy, lease=LEASE) is not None


# The scope


@pytest.fixture
def account(fill: Fill, lane: Lane, alice: Tenant) -> Lane:
    """Returns the empty lane of Alice's account. Three lookups of hers wait in the shared lane."""
    fill(alice, 3)
    [credential] = alice.credentials.all()
    with_scope = Policy(provider="modash", scope=Policy.Scope.ACCOUNT)
    return directory.lane_of(with_scope, mode=Mode.LIVE, tenant_id=alice.pk, fingerprint=credential.fingerprint)


def rescope(scope: Policy.Scope) -> None:
    Policy.objects.update(scope=scope)
    directory.move_lookups()


def claims(lane: Lane) -> bool:
    return queue.claim(lane.pk, lane.policy, lease=LEASE) is not None


@pytest.mark.parametrize("column", ["paused_until", "broken_until"])
def test_a_pause_follows_to_the_lane_of_a_narrower_scope(
    account: Lane, lane: Lane, column: str, redis_client: redis.Redis
) -> None:
    until = clock.now() + timedelta(seconds=60)
    Lane.objects.filter(pk=lane.pk).update(**{column: until})
    rescope(Policy.Scope.ACCOUNT)
    account.refresh_from_db()
    assert (account.paused_until, account.paused) == (until, False)
    assert not claims(account)
    assert int(redis_client.hget(f"lane:{{{account.pk}}}", "closed_until") or 0) > until.timestamp() * 1e6 - 2e6


def test_the_pause_of_one_accounts_lane_becomes_the_rest_of_its_key_in_the_shared_lane(
    account: Lane, lane: Lane, fill: Fill, alice: Tenant, bob: Tenant
) -> None:
    rescope(Policy.Scope.ACCOUNT)
    pauses.throttle_lane(account.pk, seconds=60)
    account.refresh_from_db()
    rescope(Policy.Scope.PROVIDER)
    fill(bob, 1)
    lane.refresh_from_db()
    assert (lane.paused_until, alice.credentials.get().rests_until) == (None, account.paused_until)
    assert claims(lane)
    assert not claims(lane)


def test_a_key_that_rests_does_so_in_the_lane_of_its_account_too(account: Lane, alice: Tenant) -> None:
    alice.credentials.update(rests_until=clock.now() + timedelta(seconds=60))
    rescope(Policy.Scope.ACCOUNT)
    assert not claims(account)


def test_a_lane_that_is_not_paused_passes_no_pause_on(account: Lane) -> None:
    rescope(Policy.Scope.ACCOUNT)
    assert claims(account)


def test_what_operators_paused_stays_so_in_narrower_lanes(account: Lane, lane: Lane) -> None:
    pauses.pause(lane)
    rescope(Policy.Scope.ACCOUNT)
    assert not claims(account)


def test_an_operators_pause_of_one_account_does_not_pause_the_shared_lane(account: Lane, lane: Lane) -> None:
    rescope(Policy.Scope.ACCOUNT)
    pauses.pause(account)
    rescope(Policy.Scope.PROVIDER)
    assert claims(lane)


def test_a_new_key_does_not_wait_for_the_pause_of_the_old_one(account: Lane, alice: Tenant) -> None:
    rescope(Policy.Scope.ACCOUNT)
    pauses.throttle_lane(account.pk, seconds=60)
    replaced = credentials.store(alice, "modash", "another-key")
    directory.move_lookups()
    policy = Policy.objects.get()
    new = directory.lane_of(policy, mode=Mode.LIVE, tenant_id=alice.pk, fingerprint=replaced.fingerprint)
    assert new != account
    assert claims(new)
