"""Results and provider calls as tenants read them: one JSON object for each row."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.serializers import Credits
from searches.models import Call, Result


class PostSerializer(serializers.Serializer[Any]):
    """A post of a creator. Counts that are hidden, missing or garbled are null; `raw` has them as they came."""

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
        allow_null=True,
        required=False,
        help_text="The median of the views. Only newer results have it, if the provider returned it.",
    )
    engagement_rate = serializers.FloatField(
        allow_null=True, help_text="The provider's own number: usually a fraction, sometimes a percentage."
    )
    account_category = serializers.CharField(allow_null=True)
    matched_posts = PostSerializer(many=True)
    recent_posts = PostSerializer(many=True)


class ProductSerializer(serializers.Serializer[Any]):
    product_id = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    region = serializers.CharField(allow_null=True)
    source_image = serializers.CharField(
        allow_null=True, help_text="The provider's own reference to the product's picture, which no browser opens."
    )


class MomentSerializer(serializers.Serializer[Any]):
    """The part of a video in which the picture was seen. Values that the provider does not know are null."""

    start_seconds = serializers.FloatField(allow_null=True)
    end_seconds = serializers.FloatField(allow_null=True)
    score = serializers.FloatField(allow_null=True)


class VideoSerializer(serializers.Serializer[Any]):
    video_no = serializers.CharField(help_text="The provider's own number.")
    name = serializers.CharField(allow_null=True)
    platform = serializers.CharField(
        allow_null=True, help_text="TIKTOK, YOUTUBE or INSTAGRAM; null for a video of your own library."
    )
    moments = MomentSerializer(many=True, help_text="The most similar moments first.")


class ResultSerializer(serializers.ModelSerializer[Result]):
    """One thing that was found. The property named after its `type` has what only that type has."""

    source: Any = serializers.CharField(source="lookup.source")
    media_expires_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When `image_url` stops working, where its signature says so; null where it says nothing. Addresses inside "
        "`creator` may end at other times. Fetch what you need to keep before then.",
    )
    creator = CreatorSerializer(required=False, help_text="Only if `type` is `creator`.")
    product = ProductSerializer(required=False, help_text="Only if `type` is `product`.")
    video = VideoSerializer(required=False, help_text="Only if `type` is `video`.")
    raw = serializers.DictField(
        required=False, help_text="The provider's own object, or for a video its `frames`. Only with `include=raw`."
    )

    class Meta:
        model = Result
        fields = (
            *("id", "lookup_id", "source", "type", "rank", "sequence", "observed_at", "external_id", "title"),
            *("url", "image_url", "media_expires_at", "score", "creator", "product", "video", "raw"),
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

    source: Any = serializers.CharField(source="lookup.source")
    armed_at = serializers.DateTimeField(help_text="The time of the lookup's turn.")
    sent_at = serializers.DateTimeField(
        allow_null=True,
        help_text="The time of the first byte. Null in a `failed` call without a connection or a key: nothing was sent.",
    )
    duration_ms = serializers.SerializerMethodField()
    status = serializers.IntegerField(allow_null=True, help_text="The provider's HTTP status.")
    returned = serializers.IntegerField(allow_null=True, help_text="The number of results that were returned.")
    unreadable = serializers.IntegerField(
        help_text="The number of billed items without an identity, which are not among the results."
    )
    credits = Credits(help_text="The charge of the call.")
    overbilled = Credits(help_text="What the provider billed above the lookup's hold. Nobody is charged for it.")
    provider_request_id = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    class Meta:
        model = Call
        fields = (
            *("id", "lookup_id", "source", "page", "state", "armed_at", "sent_at", "finished_at"),
            *("duration_ms", "status", "returned", "unreadable", "credits", "overbilled"),
            *("provider_request_id", "error"),
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
