"""The part of the OpenAPI document about `ETag`, which the answer with a single object has (`accounts.web.entity_tags`)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from accounts.web.entity_tags import Tagged

IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="An `ETag` that you received before. While the object shows the same, the answer is 304, without a body.",
)
ETAG = OpenApiParameter(
    "ETag",
    str,
    OpenApiParameter.HEADER,
    response=[200, 304],
    description="A tag of all that the object shows. It is weak: it is the same in every form that `Accept` asks for.",
)
UNCHANGED = {"description": "The object shows the same as when you received its tag."}


def is_tagged(view: Any, method: str) -> bool:
    return method == "GET" and isinstance(view, Tagged)


def parameters(view: Any, method: str) -> list[Any]:
    return [IF_NONE_MATCH, ETAG] if is_tagged(view, method) else []
