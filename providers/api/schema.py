"""Describes these views in the OpenAPI document, beside what their serializers say."""

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
TERM: dict[str, Any] = {"value": 148838, "name": "United States", "title": "United States"}
EXAMPLE = OpenApiExample("A credential", value=SHOWN, response_only=True, status_codes=["200", "201"])
LOCATION = OpenApiParameter(
    "Location", str, OpenApiParameter.HEADER, response=[201], description="The address of the new credential."
)
CHECK = (
    "If the provider has a call that costs nothing (Modash has), the key is checked with it, within a few seconds. "
    "`check_problem` says why the check proved nothing good. Only the provider's own word makes a key `invalid`."
)

CREDENTIALS = extend_schema_view(
    get=extend_schema(
        operation_id="list_credentials",
        summary="Your keys to the providers, by provider and label",
        description="The secrets themselves are never shown.",
        parameters=[CredentialQuery, LINK],
        responses={200: CredentialSerializer(many=True)},
        examples=[EXAMPLE],
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
        description="Returns the state of the key, and what its last check said.",
        responses={200: CredentialSerializer},
        examples=[EXAMPLE],
    ),
    patch=extend_schema(
        operation_id="change_credential",
        summary="Replace, rename, or make it the default",
        description=f"A new `secret` replaces the old one, also for searches that wait for it. {CHECK}",
        request=CredentialChange,
        responses={200: CredentialSerializer},
        examples=[OpenApiExample("A new key", value={"secret": "your-new-key"}, request_only=True), EXAMPLE],
    ),
    delete=extend_schema(
        operation_id="delete_credential",
        summary="Delete a key",
        description="Lookups that wait for it fail with `credential_missing` when their turn comes; none is sent with "
        "another key. If it was the default, your oldest other key to the provider becomes the default.",
        responses={204: None},
    ),
)
VERIFY = extend_schema_view(
    post=extend_schema(
        operation_id="verify_credential",
        summary="Check a key now",
        description="Asks the provider for the key's account, its balance and limits, if there is a call for that which costs "
        "nothing. If the provider cannot be asked, `state` stays as it was, and `check_problem` says when to ask again. If there "
        "is no such call, a dead key becomes `unknown`, and the next search tries it. Lookups that wait for the key continue by "
        "themselves: one first, and the others when that has worked.",
        request=None,
        responses={200: CredentialSerializer},
        examples=[EXAMPLE],
    )
)
DICTIONARY = extend_schema_view(
    get=extend_schema(
        operation_id="look_up_terms",
        summary="Look up values for a parameter in a provider's dictionary",
        description="At most 100 terms match a query; narrow it for others. Answers are kept for a day. The provider is asked "
        "with your default key, at no cost. A test key's question is answered by the sandbox. If the provider cannot be asked, "
        "the answer is 503.",
        parameters=[
            OpenApiParameter(
                "provider",
                str,
                OpenApiParameter.PATH,
                enum=sorted(registry.FREE_CALLS),
                description="The provider whose dictionary it is.",
            ),
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
        examples=[OpenApiExample("A term", value=TERM, response_only=True)],
    )
)
