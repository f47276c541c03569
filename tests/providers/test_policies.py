from __future__ import annotations

from decimal import Decimal

import pytest

from providers import policies, registry
from providers.http import ProviderClient
from providers.models import Policy
from tests.racing import at_once

pytestmark = pytest.mark.django_db


def test_a_policy_begins_with_the_documented_limits() -> None:
    policy, said = policies.of("modash"), registry.PROVIDERS["modash"].policy
    assert (policy.calls, policy.window_ms, policy.guard_ms) == (said.calls, said.window_ms, said.guard_ms)
    assert (policy.page_size, policy.attempts, policy.max_in_flight) == (50, 4, said.max_in_flight)
    assert (policy.scope, policy.on_unknown, policy.paused) == ("provider", "retry", False)
    policy.full_clean()


def test_an_edited_policy_is_in_force_at_once() -> None:
    policies.of("modash")
    Policy.objects.update(calls=20, paused=True)
    policy = policies.of("modash")
    assert (policy.calls, policy.paused) == (20, True)


@pytest.mark.django_db(transaction=True)
def test_concurrent_first_reads_make_one_row() -> None:
    assert {policy.pk for policy in at_once([lambda: policies.of("modash")] * 10)} == {"modash"}
    assert Policy.objects.count() == 1


def test_the_client_has_each_time_limit_of_the_policy() -> None:
    policy = Policy(connect_timeout_ms=2500, write_timeout_ms=300, read_timeout_ms=4000, total_timeout_ms=5000)
    client = ProviderClient(connect_seconds=2.5, write_seconds=0.3, read_seconds=4, total_seconds=5)
    assert policies.client(policy) == client


@pytest.mark.parametrize(("guard_ms", "guard_us"), [("0", 0), ("2", 2000), ("1.2", 1200), ("0.001", 1)])
def test_the_limiter_counts_in_whole_microseconds(guard_ms: str, guard_us: int) -> None:
    rate = policies.rate(Policy(provider="modash", calls=20, window_ms=1000, guard_ms=Decimal(guard_ms)))
    assert (rate.calls, rate.window_us, rate.guard_us) == (20, 1_000_000, guard_us)
    assert rate.full_window_us == 1_000_000 + guard_us
    assert rate.interval_seconds == pytest.approx(rate.full_window_us / 20 / 1_000_000)
