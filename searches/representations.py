"""A search as a tenant reads it: the JSON object that GET answers and that webhooks send.

A page of searches costs as many queries as one search, because estimates and credits are fetched for all lookups at once.
Both are attached to the model instance, like annotations, instead of being passed in the serializer's context. One serializer
instance can then serve all requests; building its fields is slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, Q, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.numbers import one_form
from accounts.web.fields import Number
from billing import ledger
from billing.serializers import Credits, credits_text
from searches.lanes import estimates
from searches.lanes.estimates import Forecast
from searches.models import Call, Image, Lookup, Repeat, Search
from searches.pictures import Crop

NO_FORECAST = Forecast()
# What each reason for waiting means, for tenants and operators.
WAITS = {
    "turn": "others are called first.",
    "rate": "it is next, as soon as the provider's limit allows a call.",
    "provider_backoff": "the provider fails or has asked for a pause.",
    "credential": "the provider key is refused or out of credits, until it is replaced or verified.",
    "paused": "operators have paused the lane.",
}
WAITING_ON = tuple(WAITS)
WAITING_ON_HELP = f"{' '.join(f'`{reason}`: {meaning}' for reason, meaning in WAITS.items())} Null if nothing waits."
# A failed call without `sent_at` is the only one of which it is sure that nothing was sent.
SENT_OR_UNDER_WAY = Q(calls__sent_at__isnull=False) | Q(calls__state__in=(Call.State.ARMED, Call.State.UNKNOWN))


class ImageSerializer(serializers.ModelSerializer[Image]):
    """A stored picture. The same file sent again by the same tenant is the same picture."""

    class Meta:
        model = Image
        fields: tuple[str, ...] = ("id", "sha256", "format", "width", "height", "bytes")
        read_only_fields = fields


class CropSerializer(serializers.Serializer[Any]):
    """The part of the picture that is searched with, in fractions of its sides; null for the whole picture."""

    x = Number(min_value=0, max_value=1, help_text="The left edge, as a fraction of the width.")
    y = Number(min_value=0, max_value=1, help_text="The upper edge, as a fraction of the height.")
    width = Number(min_value=0, max_value=1, help_text="The width, as a fraction of the picture's.")
    height = Number(min_value=0, max_value=1, help_text="The height, as a fraction of the picture's.")


class LookupCreditsSerializer(serializers.Serializer[Any]):
    """Credits of a lookup, in the provider's own unit."""

    held = Credits(help_text="The most that may still be charged.")
    charged = Credits(help_text="What was charged so far.")
    unknown = Credits(help_text="Perhaps billed by the provider. Settled later.")
    final = serializers.BooleanField(help_text="True if none of these numbers will change any more.")


class LookupFailureSerializer(serializers.Serializer[Any]):
    """The reason why a lookup did not succeed. Its code also says whether something may have been billed."""

    code = serializers.CharField(
        help_text="`outcome_unknown`: the answer of a call was lost or cannot be read, and the call may have been billed "
        "(`credits.unknown`). `no_answer`: no answer came, and nothing was billed. Other codes name what the provider or "
        "Sightline found wrong."
    )
    detail = serializers.CharField(help_text="What went wrong, in a sentence.")
    retryable = serializers.BooleanField(help_text="True if the same lookup may succeed later.")


class LookupSerializer(serializers.ModelSerializer[Lookup]):
    """One source's part of a search."""

    status = serializers.ChoiceField(
        choices=(*Lookup.OPEN, *Lookup.ENDED),
        help_text="`queued`, then `running`, and at the end `succeeded`, `failed`, `canceled` or, if it has not started in time, "
        "`expired`.",
    )
    parameters = serializers.DictField(help_text="The parameters of the request.")
    effective_parameters = serializers.DictField(
        help_text="The parameters as the provider applies them, after its rounding."
    )
    position = serializers.IntegerField(
        source="forecast.position",
        allow_null=True,
        read_only=True,
        min_value=1,
        help_text="The position in the queue; 1 is next.",
    )
    estimated_start_at = serializers.DateTimeField(
        source="forecast.estimated_start_at",
        allow_null=True,
        read_only=True,
        help_text="When its first call should be made. Null if it no longer waits, or if nobody can tell.",
    )
    waiting_on = serializers.ChoiceField(
        source="forecast.waiting_on",
        choices=WAITING_ON,
        allow_null=True,
        read_only=True,
        help_text=f"The reason why the lookup waits. {WAITING_ON_HELP} A lookup that follows an equal one shows that one's "
        "reason, position and estimate. While the other is running, the reason is `turn`, the position is null, and the estimate "
        "is now.",
    )
    repeat = serializers.ChoiceField(
        choices=Repeat.values,
        help_text="`miss`: it asks the provider. `hit`: it took the answer of an equal lookup that had succeeded within "
        "`max_age`. `coalesced`: it follows an equal one that was in progress, and takes its answer or its failure.",
    )
    repeat_of = serializers.UUIDField(
        source="repeat_of_id", allow_null=True, help_text="The lookup whose answer this one takes."
    )
    credits = serializers.SerializerMethodField()
    calls = serializers.IntegerField(
        source="call_count", min_value=0, help_text="The number of calls that were sent or are in flight."
    )
    unreadable = serializers.IntegerField(
        min_value=0,
        help_text="The number of items that the provider returned and billed without an identity. They are no results; operators "
        "can see them.",
    )
    error = serializers.SerializerMethodField()

    class Meta:
        model = Lookup
        fields = (
            *("id", "source", "provider", "status", "parameters", "effective_parameters", "position"),
            *("estimated_start_at", "waiting_on", "repeat", "repeat_of", "credits", "calls", "result_count"),
            *("duplicates", "unreadable", "total", "error"),
        )
        read_only_fields = fields

    @extend_schema_field(LookupCreditsSerializer)
    def get_credits(self, lookup: Any) -> dict[str, Any]:
        tally: ledger.Tally = lookup.tally
        return {
            "held": credits_text(tally.held),
            "charged": credits_text(tally.charged),
            "unknown": credits_text(tally.unknown),
            "final": lookup.status in Lookup.ENDED and not tally.unknown,
        }

    @extend_schema_field(LookupFailureSerializer(allow_null=True))
    def get_error(self, lookup: Lookup) -> dict[str, Any] | None:
        if not lookup.error_code:
            return None
        return {"code": lookup.error_code, "detail": lookup.error_detail, "retryable": lookup.error_retryable}


class SearchSerializer(serializers.ModelSerializer[Search]):
    """A search: one picture, one or more lookups."""

    image = ImageSerializer(allow_null=True, help_text="Null once its retention is over.")
    crop = serializers.SerializerMethodField()
    lookups = LookupSerializer(many=True, source="ordered_lookups", help_text="In the order of the request: 1 to 20.")
    metadata = serializers.DictField(child=serializers.CharField(), help_text="The texts of the request.")
    retry_of = serializers.UUIDField(
        source="retry_of_id",
        allow_null=True,
        help_text="The search whose failed lookups this one asks once more; it may have been erased since. Null for others.",
    )

    class Meta:
        model = Search
        fields = (
            *("id", "status", "mode", "version", "created_at", "finished_at", "image", "crop", "lookups"),
            *("metadata", "retry_of"),
        )
        read_only_fields = fields

    @extend_schema_field(CropSerializer(allow_null=True))
    def get_crop(self, search: Search) -> dict[str, float] | None:
        fractions = Crop.parse(search.crop).fractions()
        return fractions and {side: one_form(fraction) for side, fraction in fractions.items()}


SEARCH, LOOKUP = SearchSerializer(), LookupSerializer()


def with_lookups(searches: QuerySet[Search]) -> QuerySet[Search]:
    """Adds to a query the rows that `of_searches` reads."""
    lookups = _with_call_count(Lookup.objects.order_by("ordinal"))
    return searches.select_related("image").prefetch_related(Prefetch("lookups", lookups, to_attr="ordered_lookups"))


def _with_call_count(lookups: QuerySet[Lookup]) -> QuerySet[Lookup]:
    return lookups.annotate(call_count=Count("calls", filter=SENT_OR_UNDER_WAY))


def of_searches(searches: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns the JSON objects of searches that were read by `with_lookups`."""
    lookups = [lookup for search in searches for lookup in search.ordered_lookups]
    _attach(lookups, estimates.forecast(lookups), ledger.tallies(lookup.reference for lookup in lookups))
    return [SEARCH.to_representation(search) for search in searches]


def of_ended_search(search: Search) -> dict[str, Any]:
    """Returns the JSON object of a search that has ended, as its rows are now."""
    return of_searches([with_lookups(Search.objects.filter(pk=search.pk)).get()])[0]


def submitted(search: Any, lookups: Sequence[Any], held: Mapping[str, Decimal]) -> dict[str, Any]:
    """Returns the JSON object of a search that was just written. `held`: the credits held, by the lookups' references."""
    tallies = {lookup.reference: ledger.Tally(held=held.get(lookup.reference, ledger.ZERO)) for lookup in lookups}
    _attach(lookups, estimates.forecast(lookups), tallies)
    for lookup in lookups:
        lookup.call_count = 0
    search.ordered_lookups = lookups
    return SEARCH.to_representation(search)


def of_ended_lookup(lookup: Lookup) -> dict[str, Any]:
    """Returns the JSON object of one lookup that has ended, and therefore has no estimate, as its row is now."""
    row = _with_call_count(Lookup.objects.filter(pk=lookup.pk)).get()
    _attach([row], {}, ledger.tallies([row.reference]))
    return LOOKUP.to_representation(row)


def _attach(lookups: Iterable[Any], forecasts: Mapping[UUID, Forecast], tallies: Mapping[str, ledger.Tally]) -> None:
    for lookup in lookups:
        lookup.forecast = forecasts.get(lookup.pk, NO_FORECAST)
        lookup.tally = tallies[lookup.reference]
