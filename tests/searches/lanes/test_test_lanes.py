"""Tests of test keys: their searches call the sandbox under its own rules, and without a provider's key."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from pytest_django import Settings

from accounts import keys
from accounts.models import Mode, Tenant
from providers import policies, registry
from providers.keyring import credentials, free_calls
from providers.models import Policy
from searches import pictures
from searches.api import source_catalog
from searches.calls import worker
from searches.lanes import estimates, wakeups
from searches.models import Lane, Lookup, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg
from tests.providers.conftest import Provider

pytestmark = pytest.mark.django_db
Submit = Callable[[str | None], Lookup]


@pytest.fixture
def submit(alice: Tenant) -> Submit:
    """Returns `submit`: `submit(label)` submits a test key's lookup with the credential of that label, or with none."""
    caller = keys.issue(alice, Mode.TEST)[0]

    def submit(credential: str | None) -> Lookup:
        order = Order(lookups=[LookupOrder(source="tiktok-creators", limit=20, parameters={}, credential=credential)])
        fit = {"modash": registry.adapter("tiktok-creators").picture_limits}
        with pictures.received(alice, jpeg(), fit=fit) as picture:
            return submission.submit(caller, order, picture).search.lookups.get()

    return submit


@pytest.fixture
def heard(submit: Submit, provider: Provider, settings: Settings) -> Callable[[str | None], str]:
    """Returns the key that such a lookup sends to the sandbox."""
    settings.SANDBOX_URL = provider.url

    def heard(credential: str | None) -> str:
        worker.run(submit(credential).lane_id, str(uuid4()))
        return str(provider.headers["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")

    return heard


def test_a_providers_key_never_reaches_the_sandbox(heard: Callable[[str | None], str], alice: Tenant) -> None:
    stored = credentials.store(alice, "modash", "alices-modash-key", label="live")
    assert heard("live") == f"sandbox-{alice.pk}-{stored.pk}"


def test_a_magic_one_does(heard: Callable[[str | None], str], alice: Tenant) -> None:
    credentials.store(alice, "modash", "sandbox_empty_alice", label="magic")
    assert heard("magic") == "sandbox_empty_alice"


def test_who_names_none_has_the_tenants(heard: Callable[[str | None], str], alice: Tenant) -> None:
    credentials.store(alice, "modash", "alices-modash-key")
    assert heard(None) == f"sandbox-{alice.pk}"


@pytest.fixture
def strange(db: None) -> Policy:
    """Sets a policy for the provider that would not fit the sandbox."""
    policies.of("modash")
    Policy.objects.update(calls=5, window_ms=60_000, guard_ms=7, scope="account", paused=True, page_size=7)
    return policies.of("modash")


def test_the_sandboxs_rules_are_those_of_the_providers_documents(strange: Policy) -> None:
    rules, said = policies.in_force(strange, Mode.TEST), registry.PROVIDERS["modash"].policy
    assert (rules.calls, rules.window_ms, rules.guard_ms) == (said.calls, said.window_ms, said.guard_ms)
    assert (rules.page_size, rules.paused, rules.scope) == (said.page_size, False, "provider")
    assert policies.in_force(strange, Mode.LIVE) is strange
    assert Policy.objects.get().calls == 5


def test_a_test_lane_runs_while_the_provider_is_paused(
    strange: Policy, heard: Callable[[str | None], str], alice: Tenant
) -> None:
    assert heard(None) == f"sandbox-{alice.pk}"


def test_its_estimate_says_so(strange: Policy, submit: Submit, alice: Tenant) -> None:
    lookup = submit(None)
    assert lookup.page_size == 20
    forecast = estimates.forecast([lookup])[lookup.pk]
    assert (forecast.position, forecast.waiting_on) == (1, "rate")
    assert lookup.search.api_key
    [shown] = source_catalog.describe(["tiktok-creators"], lookup.search.api_key)
    assert (shown["rate"]["calls"], shown["rate"]["window_ms"], shown["rate"]["scope"]) == (1, 1000, "provider")
    assert shown["line"].expected_wait_seconds == pytest.approx(1.003)


def test_the_sweep_fills_it(strange: Policy, submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved: list[tuple[str, int]] = []
    monkeypatch.setattr(wakeups, "_reserve", lambda lane, policy: reserved.append((lane.name, policy.calls)))
    lane = submit(None).lane_id
    assert TenantQueue.objects.get(lane=lane).ready == 1
    reserved.clear()
    wakeups.fill_all()
    assert set(reserved) == {(lane, 1)}
    Lane.objects.update(mode=Mode.LIVE)
    reserved.clear()
    wakeups.fill_all()
    assert reserved == []


def test_its_free_calls_are_made_too(strange: Policy, alice: Tenant, provider: Provider, settings: Settings) -> None:
    settings.SANDBOX_URL = provider.url
    provider.answers({"error": False, "user": {}, "billing": {"credits": 5}})
    free_calls.make(registry.FREE_CALLS["modash"].account, free_calls.sandboxed("modash", alice))
    assert provider.headers


def test_it_takes_few_of_the_workers_that_all_test_keys_share(strange: Policy) -> None:
    assert strange.max_in_flight == 12
    assert policies.in_force(strange, Mode.TEST).max_in_flight == 4
