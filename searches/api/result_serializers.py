"""Results and provider calls as tenants read them: one JSON object for each row."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.web.fields import Number
from billing.serializers import Credits
from searches.models import Call, Result


class PostSerializer(serializers.Serializer[Any]):
    """A post of a creator. Counts that are hidden, missing or garbled are null; `raw` has them as they came."""

    id = serializers.CharField(allow_null=True, help_text="The platform's id of the post.")
    url = serializers.CharField(allow_null=True, help_text="The address of the post.")
    thumbnail = serializers.CharField(allow_null=True, help_text="The address of a small picture of it.")
    likes_count = serializers.IntegerField(allow_null=True, min_value=0, help_text="The number of likes.")
    comments_count = serializers.IntegerField(allow_null=True, min_value=0, help_text="The number of comments.")
    shares_count = serializers.IntegerField(allow_null=True, min_value=0, help_text="How often it was shared.")
    plays_count = serializers.IntegerField(allow_null=True, min_value=0, help_text="How often it was played.")
    collects_count = serializers.IntegerField(allow_null=True, min_value=0, help_text="How often it was saved.")


class CreatorSerializer(serializers.Serializer[Any]):
    """A person who posts. Values that the provider left out or garbled are null."""

    username = serializers.CharField(allow_null=True, help_text="The name of the account, without @.")
    followers_count = serializers.IntegerField(allow_null=True, min_value=0, help_text="The number of followers.")
    views_count_median = serializers.IntegerField(
        allow_null=True,
        min_value=0,
        required=False,
        help_text="The median of the views. Only newer results have it, if the provider returned it.",
    )
    engagement_rate = Number(
        allow_null=True, help_text="The provider's own number: usually a fraction, sometimes a percentage."
    )
    account_category = serializers.CharField(allow_null=True, help_text="The provider's own category of the account.")
    matched_posts = PostSerializer(many=True, help_text="The posts that show what the picture shows.")
    recent_posts = PostSerializer(many=True, help_text="The newest posts that the provider knows.")


class ProductSerializer(serializers.Serializer[Any]):
    """A product of a shop. Values that the provider left out or garbled are null."""

    product_id = serializers.CharField(help_text="The shop's id of the product.")
    name = serializers.CharField(allow_null=True, help_text="The product's name.")
    region = serializers.CharField(allow_null=True, help_text="The region of the shop, as two capital letters.")
    source_image = serializers.CharField(
        allow_null=True, help_text="The provider's own reference to the product's picture, which no browser opens."
    )


class MomentSerializer(serializers.Serializer[Any]):
    """The part of a video in which the picture was seen. Values that the provider does not know are null."""

    start_seconds = Number(allow_null=True, help_text="Its beginning, in seconds of the video.")
    end_seconds = Number(allow_null=True, help_text="Its end, in seconds of the video.")
    score = Number(allow_null=True, help_text="How alike it is, in the provider's own numbers.")


class VideoSerializer(serializers.Serializer[Any]):
    """A video in which the picture was seen."""

    video_no = serializers.CharField(help_text="The provider's own number.")
    name = serializers.CharField(allow_null=True, help_text="The video's name.")
    platform = serializers.CharField(
        allow_null=True, help_text="TIKTOK, YOUTUBE or INSTAGRAM; null for a video of your own library."
    )
    moments = MomentSerializer(many=True, help_text="The most similar moments first.")


class ResultSerializer(serializers.ModelSerializer[Result]):
    """One thing that was found. The property named after its `type` has what only that type has."""

    source: Any = serializers.CharField(source="lookup.source")
    score = Number(allow_null=True)
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
    """The reason why a call brought no results."""

    code = serializers.CharField(help_text="The kind of the failure, such as `rate_limited` or `timeout`.")
    detail = serializers.CharField(help_text="What went wrong, in a sentence.")


class CallSerializer(serializers.ModelSerializer[Call]):
    """One HTTP request to a provider: one page of a lookup."""

    source: Any = serializers.CharField(source="lookup.source")
    armed_at = serializers.DateTimeField(help_text="The time of the lookup's turn.")
    sent_at = serializers.DateTimeField(
        allow_null=True,
        help_text="The time of the first byte. Null in a `failed` call without a connection or a key: nothing was sent.",
    )
    duration_ms = serializers.SerializerMethodField()
    status = serializers.IntegerField(
        allow_null=True, min_value=100, max_value=999, help_text="The provider's HTTP status. Null without an answer."
    )
    returned = serializers.IntegerField(
        allow_null=True, min_value=0, help_text="The number of results that were returned."
    )
    unreadable = serializers.IntegerField(
        min_value=0, help_text="The number of billed items without an identity, which are not among the results."
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

    @extend_schema_field(
        {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "In milliseconds, from the first byte sent to the end. Null if nothing was sent, or before the end.",
        }
    )
    def get_duration_ms(self, call: Call) -> int | None:
        if call.sent_at is None or call.finished_at is None:
            return None
        return round((call.finished_at - call.sent_at).total_seconds() * 1000)

    @extend_schema_field(
        {"type": ["string", "null"], "description": "The provider's own id of the request. Null if it gave none."}
    )
    def get_provider_request_id(self, call: Call) -> str | None:
        return call.provider_request_id or None

    @extend_schema_field(CallErrorSerializer(allow_null=True))
    def get_error(self, call: Call) -> dict[str, str] | None:
        return {"code": call.error_code, "detail": call.error_detail} if call.error_code else None
