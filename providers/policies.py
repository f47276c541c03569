"""The rules in force for a provider: its row, made from the adapter's defaults the first time it is asked for."""

from __future__ import annotations

from dataclasses import asdict

from providers import registry
from providers.limiter import Rate
from providers.models import Policy


def of(provider: str) -> Policy:
    """The provider's policy as operators have it now."""
    policy = Policy.objects.filter(pk=provider).first()
    if policy is None:
        defaults = asdict(registry.PROVIDERS[provider].policy)
        policy = Policy.objects.get_or_create(provider=provider, defaults=defaults)[0]
    return policy


def rate(policy: Policy) -> Rate:
    """The policy as the limiter counts it, in microseconds."""
    return Rate(calls=policy.calls, window_us=policy.window_ms * 1000, guard_us=int(policy.guard_ms * 1000))
