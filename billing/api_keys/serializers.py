"""Reads requests about API keys, and writes the answers. Only the answer that makes a secret has it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from accounts.models import ApiKey, Mode, Scope
from accounts.net import allowed_networks
from accounts.web.query_params import Instant
from accounts.web.strict_fields import (
    StrictChoice,
    StrictInteger,
    StrictList,
    StrictSerializer,
    StrictText,
    Wrong,
)
from accounts.webhooks.serializers import NullIfPast
from billing.given_credits import PROVIDERS, CreditsByProvider
from billing.serializers import credits_text

MOST_NETWORKS = 50
# A day, and thirty days, in seconds.
USUAL_OVERLAP, LONGEST_OVERLAP = 86_400, 2_592_000
NO_CAP_OF_A_TEST_KEY = "A test key's searches cost nothing, so it has no caps; leave them out."
SCOPES = "What requests with the key may do: " + "; ".join(f"`{scope.value}`: {scope.label}" for scope in Scope) + "."
EXPIRES = "From when on the key is refused. Null: never."
NETWORKS = "The networks from which the key is taken, such as `203.0.113.0/24`. An empty list: from everywhere."
CAPS = "The most that the key's searches may use and hold in a UTC month, by provider, in its own credits."


class Scopes(StrictList):
    """A list of scopes, without repetition."""

    unique_items: ClassVar[bool] = True
    child = StrictChoice(Scope.values)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=len(Scope), **options)

    def to_internal_value(self, data: Any) -> list[str]:
        given = super().to_internal_value(data)
        if twice := sorted({scope for scope in given if given.count(scope) > 1}):
            raise ValidationError(f"Given more than once: {', '.join(twice)}.", code="repeated")
        return [scope for scope in Scope.values if scope in given]


class NetworkText(StrictText):
    """A network, or an address alone."""

    def to_internal_value(self, data: Any) -> str:
        try:
            return allowed_networks.parse(super().to_internal_value(data))
        except allowed_networks.BadNetwork as error:
            raise ValidationError(str(error), code="bad_network") from None


class Future(Instant):
    """A time to come."""

    def to_internal_value(self, value: Any) -> datetime:
        instant: datetime = super().to_internal_value(value)
        if instant <= timezone.now():
            raise ValidationError("Must be a time to come.", code="past")
        return instant


def networks(**options: Any) -> StrictList:
    return StrictList(child=NetworkText(max_length=60), max_length=MOST_NETWORKS, help_text=NETWORKS, **options)


def caps(**options: Any) -> CreditsByProvider:
    most = f"Holds at most one cap for each provider: {', '.join(PROVIDERS)}."
    return CreditsByProvider(
        max_length=len(PROVIDERS),
        error_messages={"max_length": most},
        help_text=f"{CAPS} Replaces all caps.",
        **options,
    )


class ApiKeyRequest(StrictSerializer):
    """A request for an API key. What is left out is as it is of the key that asks."""

    label: Any = StrictText(default="", allow_blank=True, max_length=100, help_text="A note for yourself.")
    mode = StrictChoice(
        Mode.values,
        required=False,
        help_text="`test`: its searches run in the sandbox and cost nothing. A live key with all scopes makes keys of both "
        "modes, any other key those of its own.",
    )
    scopes = Scopes(required=False, help_text=SCOPES)
    expires_at = Future(required=False, allow_null=True, help_text=EXPIRES)
    allowed_networks = networks(required=False)
    caps = caps(required=False)

    def disagreements(self, values: dict[str, Any]) -> Wrong:
        if values.get("mode") == Mode.TEST and values.get("caps"):
            return {"caps": [ErrorDetail(NO_CAP_OF_A_TEST_KEY, code="not_of_a_test_key")]}
        return {}


class ApiKeyChange(StrictSerializer):
    """Changes the given fields, all or none. A list and the caps are replaced as a whole."""

    number_of_fields: ClassVar[Mapping[str, int]] = {"minProperties": 1}

    label: Any = StrictText(required=False, allow_blank=True, max_length=100, help_text="A note for yourself.")
    scopes = Scopes(required=False, help_text=SCOPES)
    expires_at = Future(required=False, allow_null=True, help_text=EXPIRES)
    allowed_networks = networks(required=False)
    caps = caps(required=False)

    def validate(self, values: Any) -> Any:
        if not values:
            raise ValidationError(f"Give at least one of {', '.join(self.fields)}.", code="nothing_given")
        return values


class RotationRequest(StrictSerializer):
    """The overlap of a rotation."""

    overlap_seconds = StrictInteger(
        default=USUAL_OVERLAP,
        min_value=0,
        max_value=LONGEST_OVERLAP,
        help_text="For so many seconds the former secrets stay valid, but none longer than it was; 0: they are void at once.",
    )


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """An API key, without its secret."""

    label: Any = serializers.CharField(read_only=True, help_text="Your note; empty if there is none.")
    state = serializers.ChoiceField(
        choices=["valid", "expired", "revoked"], read_only=True, help_text="Requests with a valid key alone are taken."
    )
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.values), read_only=True, help_text=SCOPES
    )
    allowed_networks = serializers.ListField(child=serializers.CharField(), read_only=True, help_text=NETWORKS)
    caps = serializers.SerializerMethodField(help_text=f"{CAPS} Of a provider without a cap nothing is said.")
    created_by = serializers.UUIDField(
        read_only=True,
        allow_null=True,
        help_text="The API key that made it; null if an operator did. What it uses counts under the caps of that key too.",
    )
    expires_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text=EXPIRES)
    revoked_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When the key was revoked; null if it was not."
    )
    last_used_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When a request came with the key, exact to a minute; null: never."
    )
    previous_secret_until = NullIfPast(
        "Until when a secret from before the last rotation is valid too; null if there is none."
    )

    class Meta:
        model = ApiKey
        fields: tuple[str, ...] = (
            *(
                "id",
                "label",
                "mode",
                "state",
                "prefix",
                "scopes",
                "allowed_networks",
                "caps",
                "created_by",
                "created_at",
            ),
            *("last_used_at", "expires_at", "revoked_at", "previous_secret_until"),
        )
        read_only_fields = fields

    @extend_schema_field(
        {
            "type": "object",
            "propertyNames": {"enum": list(PROVIDERS)},
            "additionalProperties": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,6})?$"},
        }
    )
    def get_caps(self, key: ApiKey) -> dict[str, str]:
        caps: dict[str, Decimal] = self.context["caps"][key.pk]
        return {provider: credits_text(amount) for provider, amount in caps.items()}


class ApiKeyWithSecretSerializer(ApiKeySerializer):
    """An API key with its new secret. Only this answer has the secret."""

    secret = serializers.RegexField(
        r"^sl_(live|test)_[0-9A-Za-z]{38}$",
        read_only=True,
        help_text="What requests are sent with. Keep it: it is not shown again.",
    )

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "secret")
        read_only_fields = fields
