"""The tenant of an API key over HTTP: its name, how long its data are kept, and the limits in force.

Its weight in busy lanes is not shown: it means something only beside those of other tenants. Neither is a suspension: the keys of
a suspended tenant are refused.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits
from accounts.models import MOST_MAX_AGE, Mode, Tenant
from accounts.web.entity_tags import Tagged

KEPT = "_retention_days"


def _numbers(name: str, doc: str, columns: dict[str, str]) -> type[serializers.Serializer[Any]]:
    """Makes a serializer of some limits, each with the meaning of its column. `columns`: by the names of the fields."""
    fields: dict[str, Any] = {
        field: serializers.IntegerField(min_value=0, help_text=limits.meaning(column))
        for field, column in columns.items()
    }
    return type(name, (serializers.Serializer,), {"__doc__": doc, **fields})


RETAINED = {f"{name.removesuffix(KEPT)}_days": name for name in limits.RETENTION}
LIMITED = {name: name for name in (*limits.RATES, *limits.COUNTS)}
RetentionSerializer = _numbers(
    "RetentionSerializer",
    "For how many days data are kept; they are erased within about a minute after that.",
    RETAINED,
)
TenantLimitsSerializer = _numbers(
    "TenantLimitsSerializer",
    "The limits in force, over all keys of the tenant. Beyond a rate, and beyond the waiting lookups, the answer is 429; beyond "
    "another number it is 409.",
    LIMITED,
)


class OwnTenantSerializer(serializers.Serializer[Any]):
    """The tenant whose API key was sent."""

    id = serializers.UUIDField()
    name = serializers.CharField(max_length=200, help_text="The name that the operator of this Sightline gave it.")
    mode = serializers.ChoiceField(
        choices=Mode.values,
        help_text="The mode of the API key that was sent. A `test` key searches in the sandbox, at no cost.",
    )
    created_at = serializers.DateTimeField()
    max_age = serializers.IntegerField(
        min_value=0,
        max_value=MOST_MAX_AGE,
        help_text="Seconds: the `max_age` of searches that name none. 0: the provider is always asked.",
    )
    retention = RetentionSerializer()
    limits = TenantLimitsSerializer()


SHOWN: dict[str, Any] = {
    "id": "019a9f3e-2a10-7c55-8b0e-7d1f2c3b4001",
    "name": "Example Ltd",
    "mode": "live",
    "created_at": "2026-11-02T08:00:00.000000Z",
    "max_age": 3600,
    "retention": {"image_days": 30, "result_days": 90, "search_days": 365},
    "limits": {
        "requests_per_second": 100,
        "key_checks_per_minute": 20,
        "test_events_per_minute": 20,
        "redeliveries_per_minute": 20,
        "most_credentials": 100,
        "most_api_keys": 100,
        "most_endpoints": 20,
        "most_images": 100_000,
        "most_image_bytes": 100_000_000_000,
        "most_searches": 1_000_000,
        "most_waiting_lookups": 100_000,
    },
}


def described(tenant: Tenant, mode: str) -> dict[str, Any]:
    """Returns the JSON object of a tenant, as a key of this mode sees it."""
    numbers = {
        part: {field: tenant.limit(column) for field, column in columns.items()}
        for part, columns in (("retention", RETAINED), ("limits", LIMITED))
    }
    own = {name: getattr(tenant, name) for name in ("id", "name", "created_at", "max_age")}
    return OwnTenantSerializer({**own, "mode": mode, **numbers}).data


@extend_schema_view(
    get=extend_schema(
        operation_id="get_tenant",
        summary="Get your tenant",
        description="Returns the tenant of the API key: its name, how long its data are kept, and the limits in force. Any valid "
        "key may read it.",
        responses={200: OwnTenantSerializer},
        examples=[OpenApiExample("A tenant", value=SHOWN, response_only=True)],
    )
)
class OwnTenant(Tagged):
    scopes = {"GET": None}

    def get(self, request: Request) -> Response:
        return Response(described(self.tenant, self.api_key.mode))
