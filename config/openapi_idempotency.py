"""The part of the OpenAPI document about idempotency keys, which each POST with effects has (`accounts.web.idempotency`)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from accounts.web import idempotency

# A repeat is `not_found` if what the first request made was deleted.
CODES = ("idempotency_key_in_use", "idempotency_key_reused", "not_found")
KEY = OpenApiParameter(
    idempotency.HEADER,
    # A key in quotes is taken too, as its content. An example would be filled in by the page of the document, for every request.
    {
        "type": "string",
        "minLength": 1,
        "maxLength": idempotency.MOST_CHARACTERS,
        "pattern": "^[!#-~]([ -~]*[!-~])?$",
    },
    OpenApiParameter.HEADER,
    description="A key of your choice for this request, such as a UUID. The request is done once: sent again with "
    "the same key, it is answered by what the first one did. The key is kept for at least 24 hours.",
)
REPLAYED = OpenApiParameter(
    idempotency.REPLAYED,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    enum=["true"],
    response=[200, 201, 202],
    description="`true` if an earlier request with this key did what this one asks for.",
)


def heeded(view: Any, method: str) -> bool:
    return method == "POST" and getattr(view, "heeds_idempotency_keys", False)


def parameters(view: Any, method: str) -> list[Any]:
    return [KEY, REPLAYED] if heeded(view, method) else []
