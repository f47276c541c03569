"""Describes the views of API keys in the OpenAPI document, beside their serializers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view

from accounts.web.pagination import LINK, PageQuery
from billing.api_keys.serializers import (
    ApiKeyChange,
    ApiKeyRequest,
    ApiKeySerializer,
    ApiKeyWithSecretSerializer,
    RotationRequest,
)

SHOWN: dict[str, Any] = {
    "id": "019a9f3e-5b10-7b44-9a0e-2f1d3c4b6030",
    "label": "The shop's server",
    "mode": "live",
    "state": "valid",
    "prefix": "sl_live_4kQz7T",
    "scopes": ["searches:read", "searches:write"],
    "allowed_networks": ["203.0.113.0/24"],
    "caps": {"modash": "100"},
    "created_by": "019a9f3e-1c22-7e01-8d4f-6b2a9c0e7711",
    "created_at": "2026-11-20T09:12:03.118000Z",
    "last_used_at": "2026-11-20T09:13:00.002000Z",
    "expires_at": "2027-11-20T00:00:00Z",
    "revoked_at": None,
    "previous_secret_until": None,
}
SECRET = "sl_live_4kQz7TbV0yXc2mNq8RfJ5uLhWd3GsA1Ee6Pi9o"
ASKED = {name: SHOWN[name] for name in ("label", "scopes", "expires_at", "allowed_networks", "caps")}
EXAMPLE = OpenApiExample("An API key", value=SHOWN, response_only=True, status_codes=["200"])
MADE = OpenApiExample(
    "With its secret",
    value=SHOWN | {"last_used_at": None, "secret": SECRET},
    response_only=True,
    status_codes=["200", "201"],
)
LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="Where it is.")
STRONGER = (
    "A key that may do more than the one that asks is refused with a 403, `stronger_key`. So is, for a key with caps, any that "
    "does not count under them."
)

API_KEYS = extend_schema_view(
    get=extend_schema(
        operation_id="list_api_keys",
        summary="Your API keys, newest first",
        description="The keys of the mode of the key that asks; for a live key with all scopes those of both modes. Secrets are "
        "never shown.",
        parameters=[PageQuery, LINK],
        responses={200: ApiKeySerializer(many=True)},
        examples=[EXAMPLE],
    ),
    post=extend_schema(
        operation_id="create_api_key",
        summary="Create an API key",
        description="A key can give no more than it has: its scopes, its expiry, its networks, its caps. What is left out is as "
        "it is of the key that asks. What the new key uses counts under the caps of the one that asks too. Only this answer "
        "shows the `secret`.",
        request=ApiKeyRequest,
        parameters=[LOCATION],
        responses={201: ApiKeyWithSecretSerializer},
        examples=[OpenApiExample("A server's", value={**ASKED, "mode": "live"}, request_only=True), MADE],
    ),
)
API_KEY = extend_schema_view(
    get=extend_schema(
        operation_id="get_api_key",
        summary="One API key",
        description="Returns the key with its rights, its caps and when it was last used. Its secret is never shown.",
        responses={200: ApiKeySerializer},
        examples=[EXAMPLE],
    ),
    patch=extend_schema(
        operation_id="change_api_key",
        summary="Change an API key",
        description="The change is in force at the next request. No key can be given more than the key that asks has. "
        f"{STRONGER} A revoked key answers 409. An expired key becomes valid again with a later `expires_at`.",
        request=ApiKeyChange,
        responses={200: ApiKeySerializer},
        examples=[
            OpenApiExample("Less", value={"scopes": ["searches:read"], "caps": {"modash": "50"}}, request_only=True),
            EXAMPLE,
        ],
    ),
    delete=extend_schema(
        operation_id="revoke_api_key",
        summary="Revoke an API key",
        description="The key and its former secrets are refused from the next request on; a request that waits ends. A key that "
        f"was revoked before stays so. {STRONGER}",
        responses={204: None},
    ),
)
ROTATE = extend_schema_view(
    post=extend_schema(
        operation_id="rotate_api_key",
        summary="Make a new secret",
        description="Only this answer shows the new secret. Id, label, rights, caps and usage of the key stay. Its former "
        "secrets are valid for `overlap_seconds` at most, a day by default, and never after the key's expiry. A key that was "
        f"revoked or has expired answers 409. {STRONGER}",
        request=RotationRequest,
        responses={200: ApiKeyWithSecretSerializer},
        examples=[OpenApiExample("At once", value={"overlap_seconds": 0}, request_only=True), MADE],
    )
)
