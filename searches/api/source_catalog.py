"""The sources that a tenant can search, each with its parameters, its price, its rate limit and the length of its queue now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from accounts.models import ApiKey, Mode
from accounts.web.fields import Number
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
    """The price in the provider's own credits. A test key's searches cost nothing."""

    per_call = Credits(help_text="For each call, whatever it returns.")
    per_result = Credits(help_text="For each result that a call returns.")


class RateSerializer(serializers.Serializer[Any]):
    """The rate limit: at most `calls` calls in any `window_ms` milliseconds."""

    calls = serializers.IntegerField(min_value=1, help_text="The most calls in a window.")
    window_ms = serializers.IntegerField(min_value=1, help_text="The length of the window, in milliseconds.")
    scope = serializers.ChoiceField(
        choices=Policy.Scope.values,
        help_text="`provider`: one limit for all tenants. `account`: one limit for each account with the provider.",
    )
    whose = serializers.CharField(help_text="The owner of the limit, in a sentence.")


class LineSerializer(serializers.Serializer[Any]):
    """The queue in which a lookup with your default credential would wait now."""

    waiting = serializers.IntegerField(min_value=0, help_text="The number of waiting lookups of all tenants.")
    expected_wait_seconds = Number(
        allow_null=True,
        min_value=0,
        help_text="The expected wait of a lookup that is submitted now, in seconds. Null while operators have paused the "
        "provider.",
    )


class ScoreRangeSerializer(serializers.Serializer[Any]):
    """The bounds of the scores of a source's results."""

    min = Number(help_text="The least score.")
    max = Number(help_text="The greatest score.")


@extend_schema_serializer(component_name="SearchSource")
class SourceSerializer(serializers.Serializer[Any]):
    """Something that can be searched."""

    source: Any = serializers.ChoiceField(
        choices=sorted(registry.ADAPTERS), help_text="Its name, which lookups and results have."
    )
    provider = serializers.CharField(help_text="The provider that is asked.")
    title = serializers.CharField(help_text="Its name for people.")
    result_type = serializers.CharField()
    parameters = serializers.DictField(help_text="The JSON Schema (2020-12) of `parameters`.")
    default_limit = serializers.IntegerField(
        allow_null=True,
        min_value=1,
        help_text="The `limit` of a lookup that gives none. Null: the source takes no limit.",
    )
    max_results = serializers.IntegerField(
        allow_null=True, min_value=1, help_text="The most results that `limit` and `offset` can reach."
    )
    price = PriceSerializer(
        allow_null=True, help_text="Null: the source has no price, and live searches of it are refused."
    )
    rate = RateSerializer()
    line = LineSerializer()
    score_range = ScoreRangeSerializer(
        allow_null=True, help_text="Null: the results have no score, or one without bounds."
    )
    lag = serializers.CharField(help_text="How old the source's data can be.")
    caveats = serializers.ListField(child=serializers.CharField(), help_text="The gaps of the source's data.")


def describe(sources: Sequence[str], api_key: ApiKey) -> list[dict[str, Any]]:
    quoted = quotes.of(api_key, [(source, None) for source in sources])
    return [_described(registry.adapter(source), quote, api_key) for source, quote in zip(sources, quoted, strict=True)]


def _described(adapter: Adapter, quote: Quote, api_key: ApiKey) -> dict[str, Any]:
    policy, credential, mode = quote.policy, quote.credential, api_key.mode
    # The lane that a lookup with the default credential would wait in.
    fingerprint = credential.fingerprint if credential else ""
    lane = directory.lane_name(policy, mode=mode, tenant_id=api_key.tenant_id, fingerprint=fingerprint)
    return {
        "source": adapter.source,
        "provider": adapter.provider,
        "title": adapter.title,
        "result_type": adapter.result_type,
        "parameters": json_schema.of(adapter.parameters),
        "default_limit": adapter.default_limit,
        "max_results": adapter.max_results,
        "price": quote.price,
        "rate": {
            "calls": policy.calls,
            "window_ms": policy.window_ms,
            "scope": policy.scope,
            "whose": WHOSE_TEST if mode == Mode.TEST else WHOSE[Policy.Scope(policy.scope)],
        },
        "line": estimates.lane_state(lane, policy),
        "score_range": adapter.score_range and dict(zip(("min", "max"), adapter.score_range, strict=True)),
        "lag": adapter.lag,
        "caveats": adapter.caveats,
    }
