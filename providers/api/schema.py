"""What the OpenAPI document says of these views beside their serializers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view

from accounts.web.pagination import LINK
from providers import registry
from providers.api.serializers import (
    CredentialChange,
    CredentialQuery,
    CredentialRequest,
    CredentialSerializer,
    TermQuery,
    TermSerializer,
)

SHOWN: dict[str, Any] = {
    "id": "019a9f3e-5b10-7b44-9a0e-2f1d3c4b5006",
    "provider": "modash",
    "label": "default",
    "is_default": True,
    "state": "verified",
    "state_changed_at": "2026-11-20T09:12:04.531000Z",
    "needs_reentry": False,
    "fingerprint": "8c1f0a52",
    "checked_at": "2026-11-20T09:12:04.531000Z",
    "check_problem": None,
    "warning": None,
    "account": {
        "credits": "812.35",
        "limits": {"rawRequests": 120},
        "read_at": "2026-11-20T09:12:04.531000Z",
    },
    "created_at": "2026-11-20T09:12:03.118000Z",
    "updated_at": "2026-11-20T09:12:03.118000Z",
}
EXAMPLE = OpenApiExample("A credential", value=SHOWN, response_only=True, status_codes=["200", "201"])
LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="Where it is.")
CHECK = (
    "Where the provider has a call that costs nothing (Modash has), the key is checked with it, for a few seconds at "
    "most; `check_problem` says why that told nothing good. Only the provider's own word makes a key `invalid`."
)

CREDENTIALS = extend_schema_view(
    get=extend_schema(
        operation_id="list_credentials",
        summary="Your keys to the providers, by provider and label",
        description="The secrets themselves are never shown.",
        parameters=[CredentialQuery, LINK],
        responses={200: CredentialSerializer(many=True)},
    ),
    post=extend_schema(
        operation_id="create_credential",
        summary="Store a key",
        description=f"The first key to a provider is the default there (`is_default`), whatever its label, unless it is a magic "
        f"key. {CHECK} A test key is refused (403).",
        request=CredentialRequest,
        parameters=[LOCATION],
        responses={201: CredentialSerializer},
        examples=[
            OpenApiExample(
                "A key", value={"provider": "modash", "secret": "your-key", "label": "default"}, request_only=True
            ),
            EXAMPLE,
        ],
    ),
)
CREDENTIAL = extend_schema_view(
    get=extend_schema(
        operation_id="get_credential",
        summary="One key",
        responses={200: CredentialSerializer},
        examples=[EXAMPLE],
    ),
    patch=extend_schema(
        operation_id="change_credential",
        summary="Replace, rename, or make it the default",
        description=f"A new `secret` takes the place of the old one, also for searches that wait for it. {CHECK}",
        request=CredentialChange,
        responses={200: CredentialSerializer},
        examples=[OpenApiExample("A new key", value={"secret": "your-new-key"}, request_only=True), EXAMPLE],
    ),
    delete=extend_schema(
        operation_id="delete_credential",
        summary="Delete a key",
        description="Lookups that wait for it fail with `credential_missing` when their turn comes; none is sent with "
        "another key. If it was the default, your oldest other key to the provider is from now on.",
        responses={204: None},
    ),
)
VERIFY = extend_schema_view(
    post=extend_schema(
        operation_id="verify_credential",
        summary="Check a key now",
        description="Asks the provider what it makes of the key, and for the account's balance and limits, where it has "
        "a call for that which costs nothing; trouble on the way leaves `state` as it was, and `check_problem` says when "
        "to ask again. Elsewhere a dead key is "
        "`unknown` again, for the next search to try. Lookups that wait for it go on by themselves: one first, and the "
        "others when that has worked.",
        request=None,
        responses={200: CredentialSerializer},
        examples=[EXAMPLE],
    )
)
DICTIONARY = extend_schema_view(
    get=extend_schema(
        operation_id="look_up_in_dictionary",
        summary="What a parameter takes, from the provider",
        description="At most 100 terms match a query; ask more closely for others. Kept for a day. It is asked with your "
        "default key to the provider, at no cost; for a test key, of the sandbox. Where the provider cannot be asked, "
        "the answer is 503.",
        parameters=[
            OpenApiParameter("provider", str, OpenApiParameter.PATH, enum=sorted(registry.FREE_CALLS)),
            OpenApiParameter(
                "name",
                OpenApiTypes.STR,
                OpenApiParameter.PATH,
                enum=["brands", "languages", "locations", "users"],
                description="`locations`, `languages`, `users` (for `username`); `brands` if set up.",
            ),
            TermQuery,
            LINK,
        ],
        responses={200: TermSerializer(many=True)},
    )
)
