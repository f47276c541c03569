"""Tests free calls: they have a lane of their own, wait for a few seconds, and never make a key dead."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import Settings

from accounts.models import Tenant
from providers import policies, registry
from providers.contract import Access, ProviderAccount
from providers.failures import Failure, Garbled, Throttled, Unreachable
from providers.keyring import free_calls, sealing
from providers.keyring.free_calls import Caller
from providers.models import Credential, Policy
from tests.providers.conftest import Provider, Site
from tests.racing import at_once

pytestmark = pytest.mark.django_db
ACCOUNT = registry.FREE_CALLS["modash"].account
ALICE, BOB, CHARLIE = UUID(int=1), UUID(int=2), UUID(int=3)
GOOD = {"error": False, "user": {}, "billing": {"credits": 5}}


@pytest.fixture(autouse=True)
def brisk(db: None) -> None:
    """Sets limits with which a new lane hardly waits."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis.Redis.from_url(django_settings.REDIS_URL).flushdb()


@pytest.fixture
def at(settings: Settings) -> Callable[..., Caller]:
    def at(url: str, *, of: UUID = ALICE, fingerprint: str = "f" * 64) -> Caller:
        settings.MODASH_BASE_URL = url
        credential = Credential(tenant_id=of, provider="modash")
        sealing.seal(credential, "a-key")
        credential.fingerprint = fingerprint
        return free_calls.with_key_of(credential)

    return at


def failure_of(caller: Caller) -> Failure:
    with pytest.raises(Failure) as failed:
        free_calls.make(ACCOUNT, caller)
    return failed.value


def codes_of(failures: list[Failure]) -> list[str]:
    return sorted(failure.code for failure in failures)


def test_an_answer_comes_back(site: Site, at: Callable[[str], Caller]) -> None:
    assert isinstance(free_calls.make(ACCOUNT, at(f"{site.url}/modash/v1")), ProviderAccount)


@pytest.mark.django_db(transaction=True)
def test_free_calls_keep_the_providers_limit_and_no_search_waits_for_them(
    provider: Provider, at: Callable[..., Caller]
) -> None:
    Policy.objects.update(calls=1, window_ms=200, guard_ms=0)
    provider.answers(GOOD)
    caller = at(provider.url)
    started = time.monotonic()
    others = at(provider.url, of=BOB)
    at_once([lambda: free_calls.make(ACCOUNT, caller), lambda: free_calls.make(ACCOUNT, others)] * 2)
    # The first call waits out a window, because a new lane does not know its past.
    assert time.monotonic() - started >= 0.79
    searching = redis.Redis.from_url(django_settings.REDIS_URL).keys("lane:{modash}*")
    assert searching == []


@pytest.mark.parametrize(("scope", "lane"), [("provider", "free:modash"), ("account", f"free:modash:{'f' * 32}")])
def test_the_lane_is_as_wide_as_the_policy_says(at: Callable[[str], Caller], scope: str, lane: str) -> None:
    Policy.objects.update(scope=scope)
    assert at("http://modash").lane == lane


def test_the_sandboxes_lane_is_a_tenants_own(alice: Tenant, settings: Settings) -> None:
    caller = free_calls.sandboxed("modash", alice)
    assert caller.lane == f"free:test:modash:{alice.pk}"
    assert caller.base_url == f"{settings.SANDBOX_URL}/modash/v1"


def test_a_call_that_would_wait_too_long_is_refused_at_once(provider: Provider, at: Callable[[str], Caller]) -> None:
    Policy.objects.update(calls=1, window_ms=60_000)
    started = time.monotonic()
    assert (type(failure := failure_of(at(provider.url))), failure.code) == (Unreachable, "busy")
    assert time.monotonic() - started < 1


@pytest.mark.django_db(transaction=True)
def test_a_silent_provider_occupies_few_threads_and_a_tenant_half_of_them(at: Callable[..., Caller]) -> None:
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0, total_timeout_ms=1500)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        alices, bobs, charlies = (at(url, of=tenant) for tenant in (ALICE, BOB, CHARLIE))
        hers = at_once([lambda: failure_of(alices)] * 9)
        everybodys = at_once([lambda: failure_of(alices), lambda: failure_of(bobs), lambda: failure_of(charlies)] * 4)
    most = free_calls.MOST_AT_ONCE
    assert codes_of(hers) == ["busy"] * (9 - most // 2) + ["no_answer"] * (most // 2)
    # One place may be left for a fourth tenant.
    assert codes_of(everybodys).count("no_answer") in (most - 1, most)
    assert not free_calls.slots.taken


@pytest.mark.django_db(transaction=True)
def test_a_tenant_that_calls_a_silent_provider_in_a_loop_blocks_no_other_tenant(
    provider: Provider, settings: Settings, at: Callable[..., Caller]
) -> None:
    Policy.objects.update(total_timeout_ms=1500)
    provider.answers(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hers = at(f"http://127.0.0.1:{silent.getsockname()[1]}")
        his = at(provider.url, of=BOB)
        outcomes = at_once([lambda: failure_of(hers)] * 8 + [lambda: free_calls.make(ACCOUNT, his)])
    assert isinstance(outcomes[-1], ProviderAccount)


def test_no_call_is_made_while_the_provider_is_paused(provider: Provider, at: Callable[[str], Caller]) -> None:
    Policy.objects.update(paused=True)
    assert failure_of(at(provider.url)).code == "paused"
    assert not provider.headers


def test_no_call_is_made_without_redis(provider: Provider, at: Callable[[str], Caller], settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        settings.REDIS_URL = f"redis://127.0.0.1:{gone.getsockname()[1]}"
    failure = failure_of(at(provider.url))
    assert (failure.code, "Redis" in failure.detail) == ("not_ready", True)
    assert not provider.headers


def test_a_key_that_is_asked_to_wait_rests_and_other_keys_are_used(
    provider: Provider, at: Callable[..., Caller]
) -> None:
    provider.answers({"error": True, "code": "slow"}, status=429, headers={"Retry-After": "30"})
    caller = at(provider.url)
    assert isinstance(failure_of(caller), Throttled)
    provider.answers(GOOD)
    assert failure_of(caller).code == "busy"
    assert isinstance(free_calls.make(ACCOUNT, at(provider.url, of=BOB, fingerprint="b" * 64)), ProviderAccount)


def margin_ms() -> float:
    return policies.lane_limiter("free:modash", Policy.objects.get()).margin_ms()


def test_a_call_that_is_refused_at_its_windows_edge_widens_the_guard_of_the_lane(
    provider: Provider, at: Callable[..., Caller]
) -> None:
    Policy.objects.update(calls=1, window_ms=1000, guard_ms=0)
    provider.answers({"error": True, "code": "slow"}, status=429)
    # A call that leaves late on a busy machine kept its distance, and says nothing; the next one will.
    for number in range(6):
        assert isinstance(failure_of(at(provider.url, fingerprint=f"{number}" * 64)), Throttled)
        if margin_ms():
            break
    assert margin_ms() >= 1


def test_refusals_of_one_tenant_widen_the_guard_a_little_and_those_of_a_second_one_more(
    provider: Provider, at: Callable[..., Caller]
) -> None:
    Policy.objects.update(calls=1, window_ms=500, guard_ms=0)
    provider.answers({"error": True, "code": "slow"}, status=429)
    for number in range(5):
        assert isinstance(failure_of(at(provider.url, fingerprint=f"{number}" * 64)), Throttled)
    assert margin_ms() <= 1
    # A call that leaves late on a busy machine kept its distance, and says nothing; the next one will.
    for number in range(5, 10):
        failure_of(at(provider.url, of=BOB, fingerprint=f"{number}" * 64))
        if margin_ms() > 1:
            break
    assert margin_ms() > 1


def test_a_rest_without_a_stated_length_is_short(
    provider: Provider, at: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_calls, "REST_SECONDS", 0.1)
    provider.answers({"error": True, "code": "slow"}, status=429)
    caller = at(provider.url)
    assert isinstance(failure_of(caller), Throttled)
    provider.answers(GOOD)
    time.sleep(0.15)
    assert isinstance(free_calls.make(ACCOUNT, caller), ProviderAccount)


def test_a_mistake_of_ours_is_a_failure_that_quotes_nothing(at: Callable[[str], Caller]) -> None:
    def broken(access: Access) -> None:
        raise ValueError(access.secret.value)

    with pytest.raises(Garbled) as failed:
        free_calls.make(broken, at("http://modash"))
    assert "a-key" not in f"{failed.value} {failed.value.__cause__}"


def test_a_silent_provider_is_waited_for_a_few_seconds(at: Callable[[str], Caller]) -> None:
    Policy.objects.update(total_timeout_ms=300)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        failure = failure_of(at(f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert failure.code == "no_answer"
    assert time.monotonic() - started < 2


@pytest.mark.django_db(transaction=True)
def test_a_tenant_that_calls_without_end_costs_another_one_turn_and_no_more(
    provider: Provider, at: Callable[..., Caller]
) -> None:
    Policy.objects.update(calls=1, window_ms=400, guard_ms=0)
    provider.answers(GOOD)
    hers, his = at(provider.url), at(provider.url, of=BOB, fingerprint="b" * 64)
    over = threading.Event()

    def guess() -> None:
        while not over.is_set():
            with suppress(Failure):
                free_calls.make(ACCOUNT, hers)

    def ask() -> list[float]:
        """Returns the seconds that each call took."""
        time.sleep(1)
        took = []
        try:
            for _ in range(4):
                began = time.monotonic()
                free_calls.make(ACCOUNT, his)
                took.append(time.monotonic() - began)
        finally:
            over.set()
        return took

    # More than the three windows in front of a newcomer: one that is over, her call's, and his own.
    assert max(at_once([guess] * 12 + [ask])[-1]) < 2.5
