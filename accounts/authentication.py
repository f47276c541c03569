"""Authenticates requests: turns a bearer key into the tenant (`request.user`) and the API key (`request.auth`).

Every reason to refuse has a sentence of its own: "401" alone sends a tenant's programmer looking in the wrong place.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request

from accounts import keys
from accounts.models import ApiKey, Tenant
from accounts.net import allowed_networks
from accounts.net.client_address import address_of

# The name under which a request's environment has its tenant, by which the bodies that are read at once are bounded.
CALLER = "sightline.caller"
# The name under which it has the refusal of a void key.
VOID_KEY = "sightline.void_key"


class VoidKey(AuthenticationFailed):
    """The API key is unknown or was revoked. It can therefore never be valid again."""

    auth_header = "Bearer"


class ApiKeyAuthentication(BaseAuthentication):
    """Authenticates a request by its API key, with one indexed query, and one update a key and minute. Open views set
    `authentication_classes = []`.
    """

    def authenticate(self, request: Request) -> tuple[Tenant, ApiKey]:
        secret = _bearer(request.headers.get("Authorization", ""))
        if not keys.well_formed(secret):
            raise AuthenticationFailed("This is not a Sightline key; it looks mistyped or cut: copy all of it.")
        try:
            key = _identified(secret)
        except VoidKey as refusal:
            request.META[VOID_KEY] = refusal.detail
            raise
        _refuse_elsewhere(key, request._request)
        if key.tenant.suspended_at is not None:
            raise PermissionDenied(
                "This tenant is suspended; ask the operator of this Sightline to lift it.",
                code="tenant_suspended",
            )
        keys.note_use(key)
        request.META[CALLER] = str(key.tenant_id)
        return key.tenant, key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _identified(secret: str) -> ApiKey:
    """Returns the key of a secret. Raises `AuthenticationFailed` without a key that is valid."""
    key = keys.identify(secret)
    if key is None:
        raise VoidKey("This API key is unknown; use one of yours that is active.")
    refuse_ended(key)
    return key


def refuse_ended(key: ApiKey) -> None:
    """Raises `AuthenticationFailed` for a key that was revoked or has expired, and for a secret whose overlap has ended."""
    now = timezone.now()
    if key.revoked_at is not None:
        raise VoidKey("This API key was revoked; use one that is active.", code="api_key_revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise AuthenticationFailed(
            f"This API key expired at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}; use one that is active, or have its expiry moved.",
            code="api_key_expired",
        )
    if key.former_until is not None and key.former_until <= now:
        raise AuthenticationFailed(
            "This secret was replaced by a rotation of its API key, and their overlap has ended; use the new secret.",
            code="api_key_rotated",
        )


def _refuse_elsewhere(key: ApiKey, request: HttpRequest) -> None:
    """Raises `PermissionDenied` for a request from an address outside the key's networks, which the answer does not name."""
    if not key.allowed_networks:
        return
    address = address_of(request)
    if not allowed_networks.contain(key.allowed_networks, address):
        raise PermissionDenied(
            f"This API key is not taken from {address or 'this connection'}; send the request from one of its allowed networks, "
            "or have this address added to them.",
            code="address_not_allowed",
        )


def _bearer(header: str) -> str:
    if not header:
        raise NotAuthenticated("No API key was sent; send the header `Authorization: Bearer sl_live_…`.")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer":
        raise AuthenticationFailed("The Authorization header must be `Bearer` followed by an API key.")
    return secret.strip()


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """Describes the authentication in the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key: `sl_live_…` or `sl_test_…`. Each operation names the scope that the key needs.",
        }
