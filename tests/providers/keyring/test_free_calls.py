"""Tests free calls: they have a lane of their own, wait for a few seconds, and never make a key dead."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
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
from providers.keyring.turns import Turn
from providers.models import Credential, Policy
from tests.patience import HANGS_AFTER_SECONDS, until
from tests.providers import wire
from tests.providers.conftest import Provider, Site
from tests.racing import at_once

pytestmark = pytest.mark.django_db
ACCOUNT = registry.FREE_CALLS["modash"].account
ALICE, BOB, CHARLIE = UUID(int=1), UUID(int=2), UUID(int=3)
GOOD = {"error": False, "user": {}, "billing": {"credits": 5}}
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Silence:
    """A provider that says nothing before its end."""

    url: str
    end: threading.Event


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


def test_a_call_that_would_wait_too_long_is_refused_and_waits_for_nothing(
    provider: Provider, at: Callable[[str], Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    Policy.objects.update(calls=1, window_ms=60_000)
    caller = at(provider.url)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert (type(failure := failure_of(caller)), failure.code) == (Unreachable, "busy")
    assert waits == []
    assert not provider.headers


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    """Runs a provider that says nothing until `end` is set, and then hangs up. A call waits longer than any test takes."""
    monkeypatch.setattr(free_calls, "TOTAL_SECONDS", HANGS_AFTER_SECONDS)
    Policy.objects.update(total_timeout_ms=HANGS_AFTER_SECONDS * 1000)
    end = threading.Event()

    def silent(caller: wire.Caller) -> None:
        caller.hear_head()
        end.wait(HANGS_AFTER_SECONDS)

    with wire.wire(silent) as it:
        yield Silence(url=it.url, end=end)


@pytest.mark.django_db(transaction=True)
def test_a_silent_provider_occupies_few_threads_and_a_tenant_half_of_them(
    at: Callable[..., Caller], silence: Silence
) -> None:
    most = free_calls.MOST_AT_ONCE

    def codes_of(*tenants: UUID, refused: int) -> list[str]:
        """Returns how calls at once end. The provider is silent until so many have ended, which were therefore refused."""
        silence.end.clear()
        codes: list[str] = []

        def ask(caller: Caller) -> None:
            codes.append(failure_of(caller).code)
            if len(codes) == refused:
                silence.end.set()

        at_once([partial(ask, at(silence.url, of=tenant)) for tenant in tenants])
        return sorted(codes)

    assert codes_of(*[ALICE] * 9, refused=9 - most // 2) == ["busy"] * (9 - most // 2) + ["no_answer"] * (most // 2)
    # One place may be left for a fourth tenant.
    everybodys = codes_of(*[ALICE, BOB, CHARLIE] * 4, refused=12 - most)
    assert everybodys.count("no_answer") in (most - 1, most)
    assert not free_calls.slots.taken


@pytest.mark.django_db(transaction=True)
def test_a_tenant_that_calls_a_silent_provider_in_a_loop_blocks_no_other_tenant(
    provider: Provider, at: Callable[..., Caller], silence: Silence
) -> None:
    provider.answers(GOOD)
    hers, his = at(silence.url), at(provider.url, of=BOB)

    def ask() -> object:
        try:
            return free_calls.make(ACCOUNT, his)
        finally:
            silence.end.set()

    outcomes = at_once([lambda: failure_of(hers)] * 8 + [ask])
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


@pytest.mark.parametrize(("policys_ms", "seconds"), [(300, 0.3), (60_000, free_calls.TOTAL_SECONDS)])
def test_an_answer_is_waited_for_a_few_seconds(at: Callable[[str], Caller], policys_ms: int, seconds: float) -> None:
    Policy.objects.update(total_timeout_ms=policys_ms)
    assert free_calls.make(lambda access: access.client.total_seconds, at("http://modash")) == seconds


def test_a_silent_provider_is_given_up(at: Callable[[str], Caller]) -> None:
    Policy.objects.update(total_timeout_ms=300)
    with wire.wire(wire.silent) as it:
        assert failure_of(at(it.url)).code == "no_answer"


@pytest.mark.django_db(transaction=True)
def test_a_tenant_that_calls_without_end_costs_another_one_turn_and_no_more(
    provider: Provider, at: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    Policy.objects.update(calls=1, window_ms=100, guard_ms=0)
    provider.answers(GOOD)
    hers, his = at(provider.url), at(provider.url, of=BOB, fingerprint="b" * 64)
    over = threading.Event()
    # Who joined the line, noted thereafter, and who passed the turn on, noted before: no turn seems longer than it was.
    noted: list[tuple[str, UUID]] = []
    has_come, pass_on = Turn.has_come, Turn.pass_on

    def coming(turn: Turn) -> bool:
        came = has_come(turn)
        noted.append(("waits", turn.tenant_id))
        return came

    def passing(turn: Turn) -> None:
        noted.append(("passes", turn.tenant_id))
        pass_on(turn)

    monkeypatch.setattr(Turn, "has_come", coming)
    monkeypatch.setattr(Turn, "pass_on", passing)

    def guess() -> None:
        while not over.is_set():
            with suppress(Failure):
                free_calls.make(ACCOUNT, hers)

    def wait_for_another_of_hers() -> None:
        before = noted.count(("passes", ALICE))
        until(lambda: noted.count(("passes", ALICE)) > before)

    def ask() -> None:
        try:
            for _ in range(4):
                wait_for_another_of_hers()
                free_calls.make(ACCOUNT, his)
        finally:
            over.set()

    at_once([guess] * 12 + [ask])
    # Hers may be in front of his when he joins the line; her next one is behind.
    assert most_between(noted, begin=("waits", BOB), end=("passes", BOB), counted=("passes", ALICE)) <= 1


def most_between(noted: Sequence[T], *, begin: T, end: T, counted: T) -> int:
    """Returns how often `counted` was noted between a `begin` and its `end`, at most."""
    counts, count = [0], 0
    is_begun = False
    for each in noted:
        if each == end:
            counts.append(count)
            is_begun, count = False, 0
        is_begun = is_begun or each == begin
        count += is_begun and each == counted
    return max(counts)
