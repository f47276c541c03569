"""What can be searched: each source with its parameters, price, limit and line, as they are now for who asks."""

from __future__ import annotations

from typing import Any

from accounts.models import ApiKey, Mode
from billing import prices
from billing.models import Price
from providers import json_schema, policies, registry
from providers.contract import Adapter
from providers.keyring import credentials
from providers.models import Policy
from searches.lanes import estimates, queue

WHOSE = {
    Policy.Scope.PROVIDER: "The provider's; everyone on this Sightline shares it, in turns.",
    Policy.Scope.ACCOUNT: "The provider's, for your own account there; nobody else's searches count.",
}
WHOSE_TEST = "The sandbox's, for you alone."


def described(source: str, api_key: ApiKey) -> dict[str, Any]:
    adapter = registry.adapter(source)
    policy = policies.in_force(policies.of(adapter.provider), api_key.mode)
    return {
        "source": source,
        "provider": adapter.provider,
        "title": adapter.title,
        "result_type": adapter.result_type,
        "parameters": json_schema.of(adapter.parameters),
        "default_limit": adapter.default_limit,
        "max_results": adapter.max_results,
        "price": price_of(source),
        "rate": rate_of(policy, api_key),
        "line": estimates.lane_state(lane_name(policy, api_key), policy),
        "score_range": score_range_of(adapter),
        "lag": adapter.lag,
        "caveats": adapter.caveats,
    }


def price_of(source: str) -> Price | None:
    try:
        return prices.current(source)
    except prices.PriceMissing:
        return None


def rate_of(policy: Policy, api_key: ApiKey) -> dict[str, Any]:
    return {
        "calls": policy.calls,
        "window_ms": policy.window_ms,
        "scope": policy.scope,
        "whose": WHOSE_TEST if api_key.mode == Mode.TEST else WHOSE[Policy.Scope(policy.scope)],
    }


def lane_name(policy: Policy, api_key: ApiKey) -> str:
    """The lane that a lookup on the default credential would stand in."""
    credential = credentials.default_of(api_key.tenant_id, policy.provider)
    fingerprint = credential.fingerprint if credential else ""
    return queue.lane_name(policy, mode=api_key.mode, tenant_id=api_key.tenant_id, fingerprint=fingerprint)


def score_range_of(adapter: Adapter) -> dict[str, float] | None:
    if adapter.score_range is None:
        return None
    least, most = adapter.score_range
    return {"min": least, "max": most}
