"""A lookup ends on each magic credential as `docs/api.md` promises, at every provider."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from providers import registry
from providers.keyring import credentials
from providers.sandbox import settings as sandbox
from providers.sandbox.magic_keys import MAGIC
from searches import pictures
from searches.calls import worker
from searches.lanes import backoff
from searches.models import Lookup
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg
from tests.providers.asking import SOURCES
from tests.providers.conftest import sandbox_site

pytestmark = pytest.mark.django_db
Ended = Callable[[str, str], Lookup]

# The end of the lookup, and the number of its calls.
ENDS = {
    "sandbox_rejected": ("failed credential_invalid", 1),
    "sandbox_no_credits": ("failed credential_exhausted", 1),
    "sandbox_throttled": ("succeeded", 3),
    "sandbox_throttled_retry_after": ("succeeded", 3),
    "sandbox_error": ("succeeded", 2),
    "sandbox_reset": ("failed outcome_unknown", 2),
    "sandbox_hang": ("failed outcome_unknown", 2),
    "sandbox_slow": ("succeeded", 1),
    "sandbox_garbage": ("failed outcome_unknown", 1),
    "sandbox_empty": ("succeeded", 1),
}


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with sandbox_site(sandbox.SandboxSettings(calls=1_000_000, latency=0, slow=0.2, hang=2.5)) as site:
        yield site.url


@pytest.fixture
def ended(
    sandbox_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, alice: Tenant, redis_client: redis.Redis
) -> Ended:
    """Returns `ended(source, key)`, which returns a test key's lookup after its end. Waits are short."""
    settings.SANDBOX_URL = sandbox_url
    monkeypatch.setattr(backoff, "BACKOFF_SECONDS", (0.01,))
    redis_client.flushdb()
    caller = keys.issue(alice, Mode.TEST)[0]

    def ended(source: str, key: str) -> Lookup:
        adapter = registry.PROVIDERS[registry.adapter(source).provider]
        documented = registry.adapter(source).policy
        patience = 300 if key == "sandbox_hang" else 1000
        brisk = replace(documented, calls=1000, window_ms=10, guard_ms=Decimal(0), total_timeout_ms=patience)
        monkeypatch.setattr(adapter, "policy", brisk)
        lookup = submit(caller, source, f"{key}_{uuid4()}")
        deadline = time.monotonic() + 20
        while lookup.status in Lookup.OPEN:
            assert time.monotonic() < deadline, f"{lookup.status}, {lookup.queue_state}"
            worker.run(lookup.lane_id, str(uuid4()))
            lookup.refresh_from_db()
            time.sleep(0.01)
        return lookup

    return ended


def submit(caller: ApiKey, source: str, key: str) -> Lookup:
    adapter = registry.adapter(source)
    stored = credentials.store(caller.tenant, adapter.provider, key)
    wanted = LookupOrder(source=source, limit=adapter.default_limit, parameters={}, credential=stored.label)
    order = Order(lookups=[wanted])
    with pictures.received(caller.tenant, jpeg(), fit={adapter.provider: adapter.picture_limits}) as picture:
        return submission.submit(caller, order, picture).search.lookups.get()


def end_of(lookup: Lookup) -> tuple[str, int]:
    return f"{lookup.status} {lookup.error_code}".strip(), lookup.calls.count()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("key", ENDS)
def test_a_lookup_on_a_magic_key_ends_as_the_table_says(ended: Ended, source: str, key: str) -> None:
    assert end_of(ended(source, key)) == ENDS[key]


@pytest.mark.parametrize("source", SOURCES)
def test_a_lookup_fails_after_the_attempts_of_the_policy_if_the_provider_is_down(ended: Ended, source: str) -> None:
    assert end_of(ended(source, "sandbox_down")) == ("failed provider_error", registry.adapter(source).policy.attempts)


@pytest.mark.parametrize("source", SOURCES)
def test_a_lookup_on_an_unsteady_key_succeeds_or_fails(ended: Ended, source: str) -> None:
    for _ in range(3):
        assert end_of(ended(source, "sandbox_unsteady"))[0] in (
            "succeeded",
            "failed outcome_unknown",
            "failed provider_error",
        )


def test_every_magic_key_is_tested() -> None:
    assert MAGIC.keys() - ENDS.keys() == {"sandbox_down", "sandbox_unsteady"}
