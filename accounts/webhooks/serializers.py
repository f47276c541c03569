"""Reads requests about endpoints and deliveries, and writes the answers. Only the answer that makes a secret has it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

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
from accounts.webhooks.redelivery import MOST_RESENT

# An endpoint gets its pings whatever types it wants.
WANTED = tuple(type.value for type in EventType if type != EventType.PING)


@extend_schema_field({"type": "string", "format": "uri", "maxLength": public_addresses.LONGEST_URL})
class EndpointURL(StrictText):
    def __init__(self, **options: Any) -> None:
        super().__init__(
            help_text="An https or http URL on the public internet. Redirects are not followed. A user name, a password or an "
            "address that is not public is refused here; the addresses of a name are checked at each delivery. No two "
            "endpoints of a mode have the same URL.",
            **options,
        )

    def to_internal_value(self, data: Any) -> str:
        url: str = super().to_internal_value(data)
        try:
            public_addresses.check(url)
        except OutboundFailure as failure:
            raise ValidationError(failure.detail, code=failure.code) from None
        return url


class Types(StrictList):
    """A list of types of events, without repetition."""

    unique_items: ClassVar[bool] = True
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
    description = StrictText(default="", allow_blank=True, max_length=200, help_text="A note for yourself.")
    events = Types(default=list, help_text="The types of events to send. Empty, which is the default: all.")


class EndpointChange(StrictSerializer):
    """Changes the given fields, all or none."""

    number_of_fields: ClassVar[Mapping[str, int]] = {"minProperties": 1}

    url = EndpointURL(required=False)
    description = StrictText(required=False, allow_blank=True, max_length=200, help_text="A note for yourself.")
    events = Types(required=False, help_text="The types of events to send. Empty: all.")
    enabled = StrictBoolean(
        required=False,
        help_text="False: it gets no more events, and deliveries that become due fail. True: it gets events from now on; "
        "deliveries that failed meanwhile can be sent once more.",
    )

    def validate(self, values: Any) -> Any:
        if not values:
            raise ValidationError(f"Give at least one of {', '.join(self.fields)}.", code="nothing_given")
        return values


class NullIfEmpty(serializers.CharField):
    """A text of an answer, null where the row has none."""

    def __init__(self, help_text: str) -> None:
        super().__init__(allow_null=True, read_only=True, help_text=help_text)

    def to_representation(self, value: str) -> Any:
        return value or None


class NullIfPast(serializers.DateTimeField):
    """An instant of an answer, null where the row has none or where it is past."""

    def __init__(self, help_text: str, **options: Any) -> None:
        super().__init__(allow_null=True, read_only=True, help_text=help_text, **options)

    def to_representation(self, value: datetime) -> Any:
        return super().to_representation(value) if value > timezone.now() else None


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    """An endpoint, without its secret."""

    events = serializers.ListField(
        child=serializers.ChoiceField(choices=WANTED),
        read_only=True,
        help_text="The types of events that it gets; empty for all.",
    )
    disabled_reason = NullIfEmpty("Why the endpoint is disabled; null if it is enabled.")
    failing_since = serializers.DateTimeField(
        allow_null=True,
        help_text="Since when every delivery has failed; null if the last one arrived. After 5 days the endpoint is disabled.",
    )
    quiet_until = NullIfPast(
        "Until when the endpoint asked for a pause (`Retry-After`, a day at most). Nothing is sent before, unless its URL is "
        "changed, or a test event or a redelivery is asked for. Null if there is no pause."
    )
    previous_secret_until = NullIfPast(
        "Until when deliveries are signed with the secret before the last rotation too; null if they have one signature.",
        source="previous_until",
    )

    class Meta:
        model = Endpoint
        fields: tuple[str, ...] = (
            *("id", "mode", "url", "description", "events", "enabled", "disabled_reason", "failing_since"),
            *("quiet_until", "previous_secret_until", "created_at", "updated_at"),
        )
        read_only_fields = fields


class EndpointWithSecretSerializer(EndpointSerializer):
    """The endpoint, and its new secret: this answer alone holds it."""

    secret = serializers.RegexField(
        "^whsec_", read_only=True, help_text="What deliveries are signed with. Keep it: it is not shown again."
    )

    class Meta(EndpointSerializer.Meta):
        fields = (*EndpointSerializer.Meta.fields, "secret")
        read_only_fields = fields


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One try to deliver."""

    status = serializers.IntegerField(
        allow_null=True, min_value=100, max_value=999, help_text="HTTP status; null if there was no answer."
    )
    cause = NullIfEmpty("Why the attempt failed, as a word such as `dns_failed` or `bad_status`; null if it arrived.")
    detail = NullIfEmpty("The cause in a sentence.")
    answer = serializers.CharField(help_text="The first kilobyte of the answer's body.")

    class Meta:
        model = Attempt
        fields = ("number", "started_at", "duration_ms", "status", "cause", "detail", "answer")
        read_only_fields = fields


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One event on its way to one endpoint."""

    event_id = serializers.UUIDField(help_text="The header `webhook-id`, the same in every attempt.")
    type = serializers.CharField(source="event.type")
    state = serializers.ChoiceField(
        choices=Delivery.State.values,
        help_text="`pending`: it is tried at `next_attempt_at`. `delivered`: it was answered with 2xx. `failed`: it is not "
        "tried any more.",
    )
    next_attempt_at = serializers.DateTimeField(allow_null=True, help_text="Null unless the delivery is `pending`.")
    finished_at = serializers.DateTimeField(allow_null=True)
    attempts = AttemptSerializer(
        source="last_attempts", many=True, help_text=f"The last {ATTEMPTS_KEPT} attempts, newest first."
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
        help_text="Only deliveries to this endpoint.",
    )
    state = StrictChoice(Delivery.State.values, required=False, help_text="Only deliveries in this state.")
    type = StrictChoice(EventType.values, required=False, help_text="Only deliveries of events of this type.")
    created_after = Instant(required=False)
    created_before = Instant(required=False)


class RedeliverRequest(StrictSerializer):
    """Selects the deliveries of an endpoint to send once more."""

    to = Instant(
        required=False,
        help_text=f"Events before this instant; the default is now. One request sends at most {MOST_RESENT:,} deliveries.",
    )
    states = StrictList(
        child=StrictChoice(Delivery.State.values),
        default=lambda: [Delivery.State.FAILED.value],
        min_length=1,
        max_length=len(Delivery.State.values),
        help_text="Deliveries in one of these states; the default is `failed`.",
    )
    types = StrictList(
        child=StrictChoice(EventType.values),
        default=list,
        max_length=len(EventType.values),
        help_text="Events of these types; empty, which is the default, for all.",
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

    redelivered = serializers.IntegerField(
        min_value=0, max_value=MOST_RESENT, help_text="The number of deliveries that are sent once more."
    )
