"""A quote as JSON: what a search may cost, whether a repeat would answer it, when it should start, and whether it is allowed."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.models import Mode
from billing.caps import LimitReached
from billing.price_defaults import PriceMissing
from billing.serializers import Credits, LimitSerializer
from searches.api.exceptions import payment_required
from searches.models import Lookup, Repeat
from searches.orders.search_quotes import SearchQuote
from searches.representations import NO_FORECAST, WAITING_ON, WAITING_ON_HELP


class QuotedLookupSerializer(serializers.Serializer[Any]):
    """A lookup of the search, as it would be now."""

    source: Any = serializers.CharField()
    provider = serializers.CharField()
    most_credits = Credits(
        allow_null=True,
        help_text="The most that it can cost, in the provider's own unit, which a submit holds: 0 for a repeat and for a test "
        "key. Null where the source has no price.",
    )
    repeat = serializers.ChoiceField(
        choices=Repeat.values,
        help_text="`miss`: it would ask the provider. `hit`: an equal lookup that succeeded within `max_age` would answer it. "
        "`coalesced`: it would follow an equal one that is in progress, or another of this order.",
    )
    repeat_of = serializers.UUIDField(
        allow_null=True,
        help_text="The lookup whose answer it would take. Null too where that is another one of this order, which has no id yet.",
    )
    estimated_start_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When its first call should be made, if the search was submitted now. Null for a hit, while operators have "
        "paused the lane, and while the credential does not work.",
    )
    waiting_on = serializers.ChoiceField(
        choices=WAITING_ON, allow_null=True, help_text=f"The reason why it would wait. {WAITING_ON_HELP}"
    )


class QuotedProviderSerializer(serializers.Serializer[Any]):
    """A provider with what the search would hold there, and the limits that it would meet, the narrowest first."""

    provider = serializers.CharField()
    asked = Credits(help_text="The most that its lookups with the provider can cost together.")
    limits = LimitSerializer(many=True, help_text="The limits that the search would meet there, the narrowest first.")


class QuoteErrorSerializer(serializers.Serializer[Any]):
    """The 402 that a submit would answer."""

    code = serializers.CharField(help_text="The `code` of the problem.")
    detail = serializers.CharField(help_text="What is lacking, and the mend.")
    limit = LimitSerializer(allow_null=True, help_text="The limit that has no room. Null where a price is missing.")


class QuoteSerializer(serializers.Serializer[Any]):
    """The most that a search would cost, and whether it would be accepted. Nothing was written or held for it."""

    mode = serializers.ChoiceField(choices=Mode.values)
    allowed = serializers.BooleanField(help_text="False if the submit would be refused with a 402.")
    error = QuoteErrorSerializer(allow_null=True, help_text="Why it is not allowed; else null.")
    lookups = QuotedLookupSerializer(many=True, help_text="The lookups of the search, in the order of the request.")
    providers = QuotedProviderSerializer(many=True, help_text="What they would hold together, by provider.")


QUOTE = QuoteSerializer()


def of_quote(quote: SearchQuote, mode: str) -> dict[str, Any]:
    """Returns the JSON object of a quote."""
    return QUOTE.to_representation(
        {
            "mode": mode,
            "allowed": quote.refusal is None,
            "error": None if quote.refusal is None else _error(quote.refusal),
            "lookups": [_lookup(quote, lookup) for lookup in quote.lookups],
            "providers": [
                {"provider": provider, "asked": asked, "limits": quote.limits[provider]}
                for provider, asked in quote.asked.items()
            ],
        }
    )


def _error(refusal: PriceMissing | LimitReached) -> dict[str, Any]:
    answer = payment_required(refusal)
    limit = refusal.limit if isinstance(refusal, LimitReached) else None
    return {"code": answer.get_codes(), "detail": answer.detail, "limit": limit}


def _lookup(quote: SearchQuote, lookup: Lookup) -> dict[str, Any]:
    forecast = quote.forecasts.get(lookup.pk, NO_FORECAST)
    of_this_order = {other.pk for other in quote.lookups}
    return {
        "source": lookup.source,
        "provider": lookup.provider,
        "most_credits": quote.most_credits(lookup),
        "repeat": lookup.repeat,
        "repeat_of": None if lookup.repeat_of_id in of_this_order else lookup.repeat_of_id,
        "estimated_start_at": forecast.estimated_start_at,
        "waiting_on": forecast.waiting_on,
    }
