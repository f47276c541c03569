"""Reads requests about endpoints and deliveries, and writes the answers. Only the answer that makes a secret has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from accounts.models import Attempt, Delivery, Endpoint, EventType
from accounts.net import public_addresses
from accounts.net.failures import OutboundFailure
from accounts.web.pagination import PageQuery
from accounts.web.query_params import Instant
from accounts.web.strict_fields import StrictBoolean, StrictChoice, StrictList, StrictSerializer, StrictText, Wrong
from accounts.webhooks.delivery import ATTEMPTS_KEPT
from accounts.webhooks.redelivery import MOST_ATTEMPTS, MOST_RESENT

# An endpoint gets its pings whatever types it wants.
WANTED = tuple(type.value for type in EventType if type != EventType.PING)


@extend_schema_field({"type": "string", "format": "uri", "maxLength": public_addresses.LONGEST_URL})
class EndpointURL(StrictText):
    def __init__(self, **options: Any) -> None:
        super().__init__(
            help_text="By https or http, to the public internet; redirects are not followed. A user name, a password or "
            "an address that is not public is refused here; what its name leads to is checked at each delivery. No two "
            "endpoints of a mode have the same.",
            **options,
        )

    def to_internal_value(self, data: Any) -> str:
        url = super().to_internal_value(data)
        try:
            public_addresses.check(url)
        except OutboundFailure as failure:
            raise ValidationError(failure.detail, code=failure.code) from None
        return url


class Types(StrictList):
    """A list of types of events, without repetition."""

    child = StrictChoice(WANTED)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=len(WANTED), **options)

    def to_internal_value(self, data: Any) -> list[str]:
        types = super().to_internal_value(data)
        twice = sorted({type for type in types if types.count(type) > 1})
        if twice:
            raise ValidationError(f"Given more than once: {', '.join(twice)}.", code="repeated")
        return types


class EndpointRequest(StrictSerializer):
    """A request for an endpoint."""

    url = EndpointURL()
    description = StrictText(default="", allow_blank=True, max_length=200, help_text="For yourself.")
    events = Types(default=list, help_text="The types to send; empty, as without it: all.")


class EndpointChange(StrictSerializer):
    """Changes the given fields, all or none."""

    url = EndpointURL(required=False)
    description = StrictText(required=False, allow_blank=True, max_length=200, help_text="For yourself.")
    events = Types(required=False, help_text="The types to send; empty: all.")
    enabled = StrictBoolean(
        required=False,
        help_text="False: it is told of nothing more, and what comes due for it fails. True: it is told of what happens from "
        "now on; what failed meanwhile can be sent once more.",
    )

    def validate(self, values: Any) -> Any:
        if not values:
            raise ValidationError(f"Give at least one of {', '.join(self.fields)}.", code="nothing_given")
        return values


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    """An endpoint, without its secret."""

    events = serializers.ListField(
        child=serializers.ChoiceField(choices=WANTED),
        read_only=True,
        help_text="The types that it is sent; empty: all.",
    )
    disabled_reason = serializers.SerializerMethodField()
    failing_since = serializers.DateTimeField(
        allow_null=True,
        help_text="No delivery has arrived since; null where the last one did. After 5 days it is disabled.",
    )
    quiet_until = serializers.SerializerMethodField()
    previous_secret_until = serializers.SerializerMethodField()

    class Meta:
        model = Endpoint
        fields: tuple[str, ...] = (
            *("id", "mode", "url", "description", "events", "enabled", "disabled_reason", "failing_since"),
            *("quiet_until", "previous_secret_until", "created_at", "updated_at"),
        )
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "description": "Why it is not enabled; null where it is."})
    def get_disabled_reason(self, endpoint: Endpoint) -> str | None:
        return endpoint.disabled_reason or None

    @extend_schema_field(
        serializers.DateTimeField(
            allow_null=True,
            help_text="It asked to be left alone until then (`Retry-After`, a day at most): nothing is sent before, unless it "
            "is moved, tested, or sent something once more. Null: it did not.",
        )
    )
    def get_quiet_until(self, endpoint: Endpoint) -> str | None:
        return _to_come(endpoint.quiet_until)

    @extend_schema_field(
        serializers.DateTimeField(
            allow_null=True,
            help_text="Until then deliveries are signed with the secret before the last rotation too; null: with one alone.",
        )
    )
    def get_previous_secret_until(self, endpoint: Endpoint) -> str | None:
        return _to_come(endpoint.previous_until)


class EndpointWithSecretSerializer(EndpointSerializer):
    """The endpoint, and its new secret: this answer alone holds it."""

    secret = serializers.SerializerMethodField()

    class Meta(EndpointSerializer.Meta):
        fields = (*EndpointSerializer.Meta.fields, "secret")
        read_only_fields = fields

    @extend_schema_field(
        {
            "type": "string",
            "pattern": "^whsec_",
            "description": "What deliveries are signed with. Keep it: it is not shown again.",
        }
    )
    def get_secret(self, endpoint: Endpoint) -> str:
        return str(self.context["secret"])


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One try to deliver."""

    status = serializers.IntegerField(allow_null=True, help_text="HTTP status; null where there was no answer.")
    cause = serializers.SerializerMethodField()
    detail = serializers.SerializerMethodField()
    answer = serializers.CharField(help_text="How the answer's body begins: its first kilobyte.")

    class Meta:
        model = Attempt
        fields = ("number", "started_at", "duration_ms", "status", "cause", "detail", "answer")
        read_only_fields = fields

    @extend_schema_field(
        {
            "type": ["string", "null"],
            "description": "Why it did not arrive, as a word such as `dns_failed` or `bad_status`; null where it did.",
        }
    )
    def get_cause(self, attempt: Attempt) -> str | None:
        return attempt.cause or None

    @extend_schema_field({"type": ["string", "null"], "description": "The same in a sentence."})
    def get_detail(self, attempt: Attempt) -> str | None:
        return attempt.detail or None


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One event on its way to one endpoint."""

    event_id = serializers.UUIDField(help_text="The header `webhook-id`, the same in every attempt.")
    type = serializers.CharField(source="event.type")
    state = serializers.ChoiceField(
        choices=Delivery.State.values,
        help_text="`pending`: to be tried at `next_attempt_at`. `delivered`: answered with 2xx. `failed`: not tried any more.",
    )
    next_attempt_at = serializers.DateTimeField(allow_null=True, help_text="Null unless it is `pending`.")
    finished_at = serializers.DateTimeField(allow_null=True)
    attempts = AttemptSerializer(
        source="last_attempts", many=True, help_text=f"The last {ATTEMPTS_KEPT}, newest first."
    )

    class Meta:
        model = Delivery
        fields = (
            *("id", "endpoint_id", "event_id", "type", "state", "next_attempt_at", "created_at", "finished_at"),
            *("attempt_count", "attempts"),
        )
        read_only_fields = fields


class DeliveryQuery(PageQuery):
    endpoint = serializers.UUIDField(
        required=False,
        error_messages={"invalid": "Must be an endpoint's id."},
        help_text="Only those to this endpoint.",
    )
    state = StrictChoice(Delivery.State.values, required=False)
    type = StrictChoice(EventType.values, required=False, help_text="Only those of events of this type.")
    created_after = Instant(required=False)
    created_before = Instant(required=False)


class RedeliverRequest(StrictSerializer):
    """Selects the deliveries of an endpoint to send once more."""

    to = Instant(
        required=False,
        help_text=f"Events before this instant; without it: up to now. At most {MOST_RESENT:,} deliveries are sent by "
        "one request.",
    )
    states = StrictList(
        child=StrictChoice(Delivery.State.values),
        default=lambda: [Delivery.State.FAILED.value],
        min_length=1,
        max_length=len(Delivery.State.values),
        help_text="Deliveries in one of these states; without it: `failed`.",
    )
    types = StrictList(
        child=StrictChoice(EventType.values),
        default=list,
        max_length=len(EventType.values),
        help_text="Of events of these types; empty, as without it: of all.",
    )

    def get_fields(self) -> dict[str, Any]:
        """Adds `from`, which is no name in Python."""
        return {"from": Instant(help_text="Events from this instant on."), **super().get_fields()}

    def disagreements(self, values: dict[str, Any]) -> Wrong:
        if "from" in values and values["from"] >= values.setdefault("to", timezone.now()):
            return {"to": [ErrorDetail("Must be later than `from`.", code="not_later")]}
        return {}


class RedeliveredSerializer(serializers.Serializer[Any]):
    """The number of deliveries that a range sends once more."""

    redelivered = serializers.IntegerField(help_text="How many deliveries are sent once more.")


def _to_come(instant: datetime | None) -> str | None:
    """Returns an instant as text; None if it is past."""
    if instant is None or instant <= timezone.now():
        return None
    return serializers.DateTimeField().to_representation(instant)


def repeated_url() -> ValidationError:
    detail = "Another endpoint of yours of this mode has this URL; change that one, or give another URL."
    return ValidationError({"url": [ErrorDetail(detail, code="repeated_url")]})


def too_often() -> str:
    most = f"{MOST_ATTEMPTS:,}"
    return f"It was tried {most} times, as often as one delivery may be; what it tells of, ask the API for by GET."


def long_range() -> ValidationError:
    detail = f"Holds more than {MOST_RESENT:,} deliveries; give a shorter range, and the rest in others."
    return ValidationError({"to": [ErrorDetail(detail, code="range_too_long")]})
