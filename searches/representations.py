"""What a caller gets: the search, its results and its calls, in the form of the contract.

A page of searches costs as many queries as one search: everything that its lookups are told is fetched for all at once. What a
row does not say itself hangs on it as an annotation would, and not in a context, so that one serializer whose fields are built
once serves every request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, Max, OuterRef, Prefetch, Q, QuerySet, Subquery
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing import ledger
from billing.serializers import Credits, credits_text
from providers import registry
from providers.models import Policy
from searches.lanes import estimates
from searches.lanes.estimates import Forecast
from searches.models import Call, Image, Lookup, Repeat, Result, Search, Status
from searches.pictures import Crop

NO_FORECAST = Forecast()


class ImageSerializer(serializers.ModelSerializer[Image]):
    """A stored picture. Sent again by the same tenant it is the same one."""

    class Meta:
        model = Image
        fields: tuple[str, ...] = ("id", "sha256", "format", "width", "height", "bytes")
        read_only_fields = fields


class StoredImageSerializer(ImageSerializer):
    """A stored picture, and how long it stays."""

    expires_at = serializers.SerializerMethodField()

    class Meta(ImageSerializer.Meta):
        fields = (*ImageSerializer.Meta.fields, "created_at", "expires_at")
        read_only_fields = fields

    @extend_schema_field(
        serializers.DateTimeField(
            allow_null=True,
            help_text="When it is erased unless it is searched with, or stored again, before. Null while a search that has "
            "not ended needs it.",
        )
    )
    def get_expires_at(self, image: Image) -> str | None:
        """Returns when an image goes, by what `with_use` says of it."""
        if image.needed:  # type: ignore[attr-defined]
            return None
        last = max(filter(None, (image.stored_at, image.last_needed_at)))  # type: ignore[attr-defined]
        expires_at = last + self.context["retention"]
        return serializers.DateTimeField().to_representation(expires_at)


def with_use(images: QuerySet[Image]) -> QuerySet[Image]:
    """Annotates whether a search needs each, and when the last one that did ended."""
    naming = Search.objects.filter(image=OuterRef("pk")).order_by()
    ended = naming.values("image").annotate(last=Max("finished_at")).values("last")
    return images.annotate(needed=Exists(naming.filter(finished_at=None)), last_needed_at=Subquery(ended))


class CropSerializer(serializers.Serializer[Any]):
    """The part of the picture that is searched with, in fractions of it; null for the whole."""

    x = serializers.FloatField()
    y = serializers.FloatField()
    width = serializers.FloatField()
    height = serializers.FloatField()


class LookupCreditsSerializer(serializers.Serializer[Any]):
    """In the provider's own credits."""

    held = Credits(help_text="The most that may still be charged.")
    charged = Credits()
    unknown = Credits(help_text="Perhaps billed by the provider; settled later.")
    final = serializers.BooleanField(help_text="Whether nothing of this will change.")


class LookupFailureSerializer(serializers.Serializer[Any]):
    """Why a lookup failed, and whether one that did not succeed may have cost something."""

    code = serializers.CharField(
        help_text="`outcome_unknown`: it ended, in whatever way, while a call may have been billed whose answer was lost or "
        "cannot be read (`credits.unknown`). `no_answer`: none came, and surely nothing was billed. Others name what the "
        "provider, or we, found wrong."
    )
    detail = serializers.CharField()
    retryable = serializers.BooleanField(help_text="Whether the same lookup may succeed later.")


class LookupSerializer(serializers.ModelSerializer[Lookup]):
    """One source's part of a search."""

    status = serializers.ChoiceField(choices=(Status.QUEUED, Status.RUNNING, *Lookup.ENDED))
    parameters = serializers.DictField(help_text="As they were given.")
    effective_parameters = serializers.DictField(help_text="As the provider understands them, rounding included.")
    position = serializers.SerializerMethodField()
    estimated_start_at = serializers.SerializerMethodField()
    waiting_on = serializers.SerializerMethodField()
    repeat = serializers.ChoiceField(
        choices=Repeat.values,
        help_text="`miss`: it asks the provider. `hit`: it took the answer of an equal lookup that had succeeded within "
        "`max_age`. `coalesced`: it rides on an equal one that was in progress, and takes its answer or its failure.",
    )
    repeat_of = serializers.UUIDField(
        source="repeat_of_id", allow_null=True, help_text="The lookup whose answer it takes."
    )
    credits = serializers.SerializerMethodField()
    calls = serializers.IntegerField(source="call_count", help_text="Calls that left, or that are under way.")
    unreadable = serializers.IntegerField(
        help_text="Items that the provider returned and billed, and that nobody can identify: they are no results. Operators "
        "see what came."
    )
    error = serializers.SerializerMethodField()

    class Meta:
        model = Lookup
        fields = (
            "id",
            "source",
            "provider",
            "status",
            "parameters",
            "effective_parameters",
            "position",
            "estimated_start_at",
            "waiting_on",
            "repeat",
            "repeat_of",
            "credits",
            "calls",
            "result_count",
            "duplicates",
            "unreadable",
            "total",
            "error",
        )
        read_only_fields = fields

    def forecast(self, lookup: Lookup) -> Forecast:
        found: Forecast = vars(lookup)["forecast"]
        return found

    @extend_schema_field({"type": ["integer", "null"], "minimum": 1, "description": "In line; 1 is next."})
    def get_position(self, lookup: Lookup) -> int | None:
        return self.forecast(lookup).position

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_estimated_start_at(self, lookup: Lookup) -> str | None:
        start = self.forecast(lookup).estimated_start_at
        return None if start is None else serializers.DateTimeField().to_representation(start)

    @extend_schema_field(
        {
            "enum": ["turn", "rate", "provider_backoff", "credential", "paused", None],
            "description": "What it waits for. Of one that rides on another all this is that one's: once that is under way, "
            "it is its turn, it has no position, and it starts now.",
        }
    )
    def get_waiting_on(self, lookup: Lookup) -> str | None:
        return self.forecast(lookup).waiting_on

    @extend_schema_field(LookupCreditsSerializer)
    def get_credits(self, lookup: Lookup) -> dict[str, Any]:
        tally: ledger.Tally = vars(lookup)["tally"]
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
    lookups = LookupSerializer(many=True, source="parts")
    metadata = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = Search
        fields = (
            "id",
            "status",
            "mode",
            "version",
            "created_at",
            "finished_at",
            "image",
            "crop",
            "lookups",
            "metadata",
        )
        read_only_fields = fields

    @extend_schema_field(CropSerializer(allow_null=True))
    def get_crop(self, search: Search) -> dict[str, float] | None:
        return Crop.parse(search.crop).fractions()


# Of a failed one alone is it sure that nothing left, where it was not noted when.
THAT_LEFT = Q(calls__sent_at__isnull=False) | Q(calls__state__in=(Call.State.ARMED, Call.State.UNKNOWN))


SEARCH, LOOKUP = SearchSerializer(), LookupSerializer()


def with_lookups(searches: QuerySet[Search]) -> QuerySet[Search]:
    """Fetches what `shown` needs."""
    lookups = _with_calls(Lookup.objects.order_by("ordinal"))
    return searches.select_related("image").prefetch_related(Prefetch("lookups", lookups, to_attr="parts"))


def _with_calls(lookups: QuerySet[Lookup]) -> QuerySet[Lookup]:
    return lookups.annotate(call_count=Count("calls", filter=THAT_LEFT))


def shown(searches: Sequence[Search]) -> list[dict[str, Any]]:
    """The search objects, of rows that come from `with_lookups`."""
    lookups = [lookup for search in searches for lookup in vars(search)["parts"]]
    _tell(lookups, estimates.forecast(lookups), ledger.tallies(lookup.reference for lookup in lookups))
    return [SEARCH.to_representation(search) for search in searches]


def submitted(search: Search, lookups: Sequence[Lookup], held: Mapping[str, Decimal]) -> dict[str, Any]:
    """Returns the search object of a search that was just written, without reading its rows again.

    `held`: the credits held, by the lookups' references.
    """
    for lookup in lookups:
        vars(lookup)["call_count"] = 0
    tallies = {lookup.reference: ledger.Tally(held=held.get(lookup.reference, ledger.ZERO)) for lookup in lookups}
    _tell(lookups, estimates.forecast(lookups), tallies)
    vars(search)["parts"] = lookups
    return SEARCH.to_representation(search)


def lookup_shown(lookup: Lookup) -> dict[str, Any]:
    """The lookup's object alone, as its row is now, once it has ended: it stands in no line."""
    row = _with_calls(Lookup.objects.filter(pk=lookup.pk)).get()
    _tell([row], {}, ledger.tallies([row.reference]))
    return LOOKUP.to_representation(row)


def _tell(lookups: Iterable[Lookup], forecasts: Mapping[UUID, Forecast], tallies: Mapping[str, ledger.Tally]) -> None:
    for lookup in lookups:
        vars(lookup).update(forecast=forecasts.get(lookup.pk, NO_FORECAST), tally=tallies[lookup.reference])


class PostSerializer(serializers.Serializer[Any]):
    """A hidden count is null, and so is whatever the provider left out or garbled; `raw` has it as it came."""

    id = serializers.CharField(allow_null=True)
    url = serializers.CharField(allow_null=True)
    thumbnail = serializers.CharField(allow_null=True)
    likes_count = serializers.IntegerField(allow_null=True)
    comments_count = serializers.IntegerField(allow_null=True)
    shares_count = serializers.IntegerField(allow_null=True)
    plays_count = serializers.IntegerField(allow_null=True)
    collects_count = serializers.IntegerField(allow_null=True)


class CreatorSerializer(serializers.Serializer[Any]):
    """A person who posts. Values that the provider left out or garbled are null."""

    username = serializers.CharField(allow_null=True)
    followers_count = serializers.IntegerField(allow_null=True)
    views_count_median = serializers.IntegerField(
        allow_null=True, required=False, help_text="Of newer results, where the provider tells it."
    )
    engagement_rate = serializers.FloatField(
        allow_null=True, help_text="The provider's own number: a fraction, but seen as a percentage too."
    )
    account_category = serializers.CharField(allow_null=True)
    matched_posts = PostSerializer(many=True)
    recent_posts = PostSerializer(many=True)


class ProductSerializer(serializers.Serializer[Any]):
    product_id = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    region = serializers.CharField(allow_null=True)
    source_image = serializers.CharField(
        allow_null=True, help_text="Where the provider keeps its picture: data, which no browser opens."
    )


class MomentSerializer(serializers.Serializer[Any]):
    """Where in a video the picture was seen. What the provider does not know is null."""

    start_seconds = serializers.FloatField(allow_null=True)
    end_seconds = serializers.FloatField(allow_null=True)
    score = serializers.FloatField(allow_null=True)


class VideoSerializer(serializers.Serializer[Any]):
    video_no = serializers.CharField(help_text="The provider's own number.")
    name = serializers.CharField(allow_null=True)
    platform = serializers.CharField(
        allow_null=True, help_text="TIKTOK, YOUTUBE or INSTAGRAM; null for a video of your own library."
    )
    moments = MomentSerializer(many=True, help_text="The most alike first.")


class ResultSerializer(serializers.ModelSerializer[Result]):
    """One thing that was found. The part named after its `type` says what is particular to it."""

    source = serializers.CharField(source="lookup.source")  # type: ignore[assignment]  # a field, not DRF's argument
    creator = CreatorSerializer(required=False, help_text="Where `type` is creator.")
    product = ProductSerializer(required=False, help_text="Where `type` is product.")
    video = VideoSerializer(required=False, help_text="Where `type` is video.")
    raw = serializers.DictField(
        required=False,
        help_text="The provider's own object, of a video its `frames`; with `include=raw`.",
    )

    class Meta:
        model = Result
        fields = (
            "id",
            "lookup_id",
            "source",
            "type",
            "rank",
            "sequence",
            "observed_at",
            "external_id",
            "title",
            "url",
            "image_url",
            "media_expires_at",
            "score",
            "creator",
            "product",
            "video",
            "raw",
        )
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if not self.context.get("raw", True):
            del fields["raw"]
        return fields

    def to_representation(self, result: Result) -> dict[str, Any]:
        # A row has no `creator`, so the field skips itself; the detail is shown as it was stored.
        return super().to_representation(result) | {result.type: result.detail}


class CallErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class CallSerializer(serializers.ModelSerializer[Call]):
    """One HTTP request to a provider: one page of a lookup."""

    source = serializers.CharField(source="lookup.source")  # type: ignore[assignment]  # a field, not DRF's argument
    armed_at = serializers.DateTimeField(help_text="When its lookup's turn came.")
    sent_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When its first byte left. Null in a `failed` one: nothing left, for want of a connection or of a key.",
    )
    duration_ms = serializers.SerializerMethodField()
    status = serializers.IntegerField(allow_null=True, help_text="The provider's HTTP status.")
    returned = serializers.IntegerField(allow_null=True, help_text="Results that came.")
    unreadable = serializers.IntegerField(
        help_text="Items that came beside them and cannot be identified; they are billed."
    )
    credits = Credits(help_text="What it was charged.")
    provider_request_id = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    class Meta:
        model = Call
        fields = (
            "id",
            "lookup_id",
            "source",
            "page",
            "state",
            "armed_at",
            "sent_at",
            "finished_at",
            "duration_ms",
            "status",
            "returned",
            "unreadable",
            "credits",
            "provider_request_id",
            "error",
        )
        read_only_fields = fields

    @extend_schema_field({"type": ["integer", "null"], "description": "From the first byte sent to the end."})
    def get_duration_ms(self, call: Call) -> int | None:
        if call.sent_at is None or call.finished_at is None:
            return None
        return round((call.finished_at - call.sent_at).total_seconds() * 1000)

    @extend_schema_field({"type": ["string", "null"], "description": "The provider's own id of the request."})
    def get_provider_request_id(self, call: Call) -> str | None:
        return call.provider_request_id or None

    @extend_schema_field(CallErrorSerializer(allow_null=True))
    def get_error(self, call: Call) -> dict[str, str] | None:
        return {"code": call.error_code, "detail": call.error_detail} if call.error_code else None


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

    source = serializers.ChoiceField(choices=sorted(registry.ADAPTERS))  # type: ignore[assignment]
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
