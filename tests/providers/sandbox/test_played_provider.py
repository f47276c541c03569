"""Tests what the sandbox does for every provider that it plays: the limit, the counts and the bill. The last tests start its
server.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from config import sandbox_settings
from config.environment import Environment
from providers import registry
from providers.failures import BadCredential, Throttled
from providers.sandbox.meter import Meter, fingerprint
from providers.sandbox.routes import PROVIDERS
from providers.sandbox.settings import SandboxSettings
from tests.patience import until
from tests.providers.asking import SOURCES, ask
from tests.providers.conftest import Site, granian_sandbox

SEARCH = "/modash/v1/ai/tiktok/image-search"


def test_each_provider_is_where_its_adapters_look_for_it(site: Site) -> None:
    played = {name: provider.path for name, provider in site.sandbox.providers.items()}
    assert played == {provider: adapter.sandbox_path for provider, adapter in registry.PROVIDERS.items()}
    assert all(adapter.sandbox_path == played[adapter.provider] for adapter in registry.ADAPTERS.values())


# The limit


def test_a_call_before_its_second_is_a_breach_and_takes_no_slot() -> None:
    meter = Meter(calls=1, window=1.0)
    arrivals = [0.0, 0.999, 1.0, 1.5, 1.9995, 2.0]
    assert [meter.admit("a", arrived) for arrived in arrivals] == [1, None, 2, None, None, 3]
    assert meter.stats()["breaches"] == 3
    assert meter.tally("a").shortest_gap == 1.0


def test_several_calls_a_window_are_counted_over_any_window() -> None:
    meter = Meter(calls=3, window=1.0)
    arrivals = [0.0, 0.1, 0.9, 0.95, 1.0, 1.05, 1.1, 1.95]
    admitted = [meter.admit("a", arrived) is not None for arrived in arrivals]
    assert admitted == [True, True, True, False, True, False, True, True]


def test_each_key_has_a_limit_of_its_own() -> None:
    meter = Meter(calls=1, window=1.0)
    assert meter.admit("a", 0.0)
    assert meter.admit("b", 0.1)
    assert not meter.admit("a", 0.2)


def test_keys_of_one_account_share_its_limit_and_keep_their_counts() -> None:
    meter = Meter(calls=1, window=1.0, shared=True)
    assert [meter.admit(key, arrived) for key, arrived in [("a", 0.0), ("b", 0.75), ("b", 1.0), ("a", 2.0)]] == [
        1,
        None,
        1,
        2,
    ]
    assert (meter.tally("a").breaches, meter.tally("b").breaches) == (0, 1)
    assert meter.tally("b").shown()["most_early_ms"] == 250


def test_settings_come_from_the_environment() -> None:
    times = {"SANDBOX_WINDOW_MS": "500", "SANDBOX_LATENCY_MS": "0", "SANDBOX_SLOW_MS": "900", "SANDBOX_HANG_MS": "4000"}
    limit = {"SANDBOX_CALLS": "20", "SANDBOX_ONE_ACCOUNT": "true", "SANDBOX_CREDITS": "2.5"}
    faults = {"SANDBOX_BILLED_PERCENT": "150", "SANDBOX_SURPLUS": "3"}
    read = sandbox_settings.read(Environment(times | limit | faults))
    assert read == SandboxSettings(
        calls=20,
        window=0.5,
        one_account=True,
        latency=0.0,
        slow=0.9,
        hang=4.0,
        credits=Decimal("2.5"),
        billed_percent=150,
        surplus=3,
    )
    assert sandbox_settings.read(Environment({})) == SandboxSettings(
        calls=None, window=None, one_account=False, latency=0.3, slow=4.0, hang=35.0, credits=Decimal(1_000_000)
    )


# The counts


@pytest.mark.parametrize("source", SOURCES)
def test_calls_and_credits_are_counted_a_provider_and_a_key(site: Site, source: str) -> None:
    provider = registry.adapter(source).provider
    ask(source, site.url, "alice")
    ask(source, site.url, "alice")
    ask(source, site.url, "bob")
    stats = site.client.get("/_stats").json()
    counted = stats.pop(provider)
    assert (counted["calls"], counted["refusals"], counted["breaches"], counted["played"]) == (3, 0, 0, {})
    alice, bob = (counted["keys"][fingerprint(key)] for key in ("alice", "bob"))
    assert (alice["calls"], bob["calls"]) == (2, 1)
    assert Decimal(alice["credits"]) + Decimal(bob["credits"]) == Decimal(counted["credits"]) > 0
    assert all(other["calls"] == 0 for other in stats.values())
    assert "alice" not in str(counted)


@pytest.mark.parametrize("source", SOURCES)
def test_the_sandbox_bills_the_price_that_the_adapter_declares(site: Site, source: str) -> None:
    adapter = registry.adapter(source)
    answer = ask(source, site.url, "alice")
    cost = adapter.price.per_call + answer.billed_results * adapter.price.per_result
    assert Decimal(site.client.get("/_stats").json()[adapter.provider]["credits"]) == cost


def test_a_reset_clears_the_counts(site: Site) -> None:
    for source in SOURCES:
        ask(source, site.url, "alice")
    assert site.client.post("/_reset").status_code == 200
    cleared = {"calls": 0, "breaches": 0, "refusals": 0, "played": {}, "credits": "0", "keys": {}}
    stats = site.client.get("/_stats").json()
    assert stats == dict.fromkeys(site.sandbox.providers, cleared)


def test_head_is_answered_where_get_is(site: Site) -> None:
    gets = [path for method, path in site.sandbox.routes if method == "GET"]
    assert "/_stats" in gets
    for path in [*gets, "/nothing"]:
        get, head = site.client.get(path), site.client.head(path)
        assert (head.status_code, head.headers["Content-Type"]) == (get.status_code, get.headers["Content-Type"])


@pytest.mark.parametrize("path", ["/", "/modash/v1/nothing", "/pictures/1.jpg", SEARCH])
def test_an_unknown_path_is_404(site: Site, path: str) -> None:
    assert site.client.get(path).status_code == 404


# Served in a process of its own


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """Yields the address of a sandbox with the calls of the real providers, and a window that no test lasts: on a busy
    machine a second may pass between two calls.
    """
    with granian_sandbox(latency_ms=100, window_ms=3_600_000) as url:
        yield url


def shown(url: str, source: str, key: str) -> dict[str, Any]:
    """Returns the counts of a key; nothing before its first call."""
    keys = httpx.get(f"{url}/_stats").json()[registry.adapter(source).provider]["keys"]
    counted: dict[str, Any] = keys.get(fingerprint(key), {})
    return counted


@pytest.mark.parametrize("source", SOURCES)
def test_the_served_sandbox_has_its_latency_and_its_limit(served: str, source: str) -> None:
    calls, key = registry.adapter(source).policy.calls, f"carol-{uuid4()}"
    began = time.monotonic()
    for _ in range(calls):
        ask(source, served, key)
    assert time.monotonic() - began >= 0.1
    with pytest.raises(Throttled) as refused:
        ask(source, served, key)
    assert refused.value.retry_after is None
    tally = shown(served, source, key)
    assert (tally["calls"], tally["breaches"], tally["refusals"]) == (calls + 1, 1, 1)


def test_the_limits_of_sandbox_and_adapters_agree() -> None:
    policies = {provider: adapter.policy for provider, adapter in registry.PROVIDERS.items()}
    said = {name: (policy.calls, policy.window_ms / 1000) for name, policy in policies.items()}
    assert {played.name: (played.calls, played.window) for played in PROVIDERS} == said


def test_a_call_counts_from_the_arrival_of_its_head() -> None:
    """By the time that the window is over its body is still on its way."""
    with granian_sandbox(latency_ms=0, window_ms=200) as url:
        host, port = url.removeprefix("http://").split(":")
        head = f"POST {SEARCH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer dora\r\nContent-Length: 2\r\n\r\n"
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(head.encode())
            until(lambda: bool(shown(url, "tiktok-creators", "dora")), "its head is never counted")
            time.sleep(0.2)
            ask("tiktok-creators", url, "dora")
            slow.sendall(b"{}")
            assert b"invalid_body_params" in slow.recv(4096)


@pytest.mark.parametrize("source", SOURCES)
def test_a_magic_key_has_the_limit_of_any_other(served: str, source: str) -> None:
    calls, key = registry.adapter(source).policy.calls, f"sandbox_rejected_{uuid4()}"
    for _ in range(calls):
        with pytest.raises(BadCredential):
            ask(source, served, key)
    with pytest.raises(Throttled):
        ask(source, served, key)
    tally = shown(served, source, key)
    assert (tally["calls"], tally["breaches"], tally["refusals"]) == (calls + 1, 1, calls + 1)
    assert tally["played"] == {"rejected": calls}
