"""Decides which limits are in force for a provider: those of its row, which is made from the adapter's defaults when it is
needed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from accounts.models import Mode
from providers import registry
from providers.http import ProviderClient
from providers.limiter import LaneLimiter, Rate
from providers.models import Policy

# Calls under way in one test lane. All test lanes share the sandbox's workers, so one that hangs must not occupy them all.
MOST_IN_A_TEST_LANE = 4


def of(provider: str) -> Policy:
    """Returns the provider's policy as operators have set it."""
    policy = Policy.objects.filter(pk=provider).first()
    if policy is None:
        policy = Policy.objects.get_or_create(provider=provider, defaults=_documented(provider))[0]
    return policy


def documented(provider: str) -> Policy:
    """Returns the policy that `of` would write, without writing it."""
    return Policy(provider=provider, **_documented(provider))


def in_force(policy: Policy, mode: str) -> Policy:
    """Returns the policy of a lane of this mode.

    The sandbox enforces the limits in the provider's documents. A test lane therefore follows these, whatever operators have
    set or paused for the provider itself.
    """
    if mode == Mode.LIVE:
        return policy
    documented = _documented(policy.provider)
    few = min(documented["max_in_flight"], MOST_IN_A_TEST_LANE)
    # Some providers punish a call that comes too early after a 429. The sandbox does not, so a test key need not wait as long.
    return Policy(provider=policy.provider, **documented | {"max_in_flight": few, "throttled_seconds": 0})


def _documented(provider: str) -> dict[str, Any]:
    return asdict(registry.PROVIDERS[provider].policy)


def rate(policy: Policy) -> Rate:
    """Returns the policy's limit as the limiter counts it, in microseconds."""
    return Rate(calls=policy.calls, window_us=policy.window_ms * 1000, guard_us=int(policy.guard_ms * 1000))


def lane_limiter(lane: str, policy: Policy) -> LaneLimiter:
    """Returns the limiter of a lane under a policy that is in force there."""
    return LaneLimiter(lane=lane, rate=rate(policy), max_in_flight=policy.max_in_flight)


def client(policy: Policy) -> ProviderClient:
    return ProviderClient(
        connect_seconds=policy.connect_timeout_ms / 1000,
        write_seconds=policy.write_timeout_ms / 1000,
        read_seconds=policy.read_timeout_ms / 1000,
        total_seconds=policy.total_timeout_ms / 1000,
    )
