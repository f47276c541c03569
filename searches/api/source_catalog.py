"""The sources that a tenant can search, each with its parameters, its price, its rate limit and the length of its queue now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from accounts.models import ApiKey, Mode
from billing.serializers import Credits
from providers import json_schema, registry
from providers.contract import Adapter
from providers.models import Policy
from searches.lanes import directory, estimates
from searches.orders import quotes
from searches.orders.quotes import Quote

WHOSE = {
    Policy.Scope.PROVIDER: "The provider's; everyone on this Sightline shares it, in turns.",
    Policy.Scope.ACCOUNT: "The provider's, for your own account there; nobody else's searches count.",
}
WHOSE_TEST = "The sandbox's, for you alone."


class PriceSerializer(serializers.Serializer[Any]):
    """In the provider's own credits. A test key's searches cost nothing."""

    per_call = Credits()
    per_result = Credits()


class RateSerializer(serializers.Serializer[Any]):
    """At most `calls` in any `window_ms`."""

    calls = serializers.IntegerField()
    window_ms = serializers.IntegerField()
    scope = serializers.ChoiceField(
        choices=Policy.Scope.values, help_text="`provider`: one for all; `account`: one a provider account."
    )
    whose = serializers.CharField(help_text="Whose limit it is, in a sentence.")


class LineSerializer(serializers.Serializer[Any]):
    waiting = serializers.IntegerField(help_text="Lookups of all tenants that wait for their turn.")
    expected_wait_seconds = serializers.FloatField(
        allow_null=True, help_text="For a lookup that came now; null while operators have paused the provider."
    )


class ScoreRangeSerializer(serializers.Serializer[Any]):
    min = serializers.FloatField()
    max = serializers.FloatField()


class SourceSerializer(serializers.Serializer[Any]):
    """Something that can be searched."""

    source: Any = serializers.ChoiceField(choices=sorted(registry.ADAPTERS))
    provider = serializers.CharField()
    title = serializers.CharField()
    result_type = serializers.CharField()
    parameters = serializers.DictField(help_text="What `parameters` may hold, as JSON Schema (2020-12).")
    default_limit = serializers.IntegerField(allow_null=True)
    max_results = serializers.IntegerField(allow_null=True, help_text="The most that `limit` and `offset` reach.")
    price = PriceSerializer(allow_null=True, help_text="Null: there is none, and live searches of it are refused.")
    rate = RateSerializer()
    line = LineSerializer()
    score_range = ScoreRangeSerializer(
        allow_null=True, help_text="Null: its results have no score, or one without an end."
    )
    lag = serializers.CharField(help_text="How far its data are behind what is true now.")
    caveats = serializers.ListField(child=serializers.CharField(), help_text="What its data leaves out.")


def describe(sources: Sequence[str], api_key: ApiKey) -> list[dict[str, Any]]:
    quoted = quotes.of(api_key, [(source, None) for source in sources])
    return [_described(registry.adapter(source), quote, api_key) for source, quote in zip(sources, quoted, strict=True)]


def _described(adapter: Adapter, quote: Quote, api_key: ApiKey) -> dict[str, Any]:
    return {
        "source": adapter.source,
        "provider": adapter.provider,
        "title": adapter.title,
        "result_type": adapter.result_type,
        "parameters": json_schema.of(adapter.parameters),
        "default_limit": adapter.default_limit,
        "max_results": adapter.max_results,
        "price": quote.price,
        "rate": rate_of(quote.policy, api_key),
        "line": estimates.lane_state(lane_name(quote, api_key), quote.policy),
        "score_range": score_range_of(adapter),
        "lag": adapter.lag,
        "caveats": adapter.caveats,
    }


def rate_of(policy: Policy, api_key: ApiKey) -> dict[str, Any]:
    return {
        "calls": policy.calls,
        "window_ms": policy.window_ms,
        "scope": policy.scope,
        "whose": WHOSE_TEST if api_key.mode == Mode.TEST else WHOSE[Policy.Scope(policy.scope)],
    }


def lane_name(quote: Quote, api_key: ApiKey) -> str:
    """Returns the name of the lane that a lookup with the default credential would wait in."""
    fingerprint = quote.credential.fingerprint if quote.credential else ""
    return directory.lane_name(quote.policy, mode=api_key.mode, tenant_id=api_key.tenant_id, fingerprint=fingerprint)


def score_range_of(adapter: Adapter) -> dict[str, float] | None:
    if adapter.score_range is None:
        return None
    least, most = adapter.score_range
    return {"min": least, "max": most}
