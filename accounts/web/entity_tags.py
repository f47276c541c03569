"""`ETag` and `If-None-Match` (RFC 9110): a caller that has an object already is told so by a 304, which has no body.

A tag is made of all that an answer shows, so that it changes when anything shown does. It is weak: JSON and CSV of one object
share it. A search has a tag of its own, of its version, because positions in the queue are no news.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.web.renderers import dumps
from accounts.web.tenant_view import TenantView

DIGITS = 32


class Tagged(TenantView):
    """Answers one object with its tag, and a caller that knows it with 304."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if request.method in ("GET", "HEAD") and response.status_code == 200:
            etag = tag_of(response.data)
            if is_known(known_tags(request), etag):
                response = Response(status=304)
            response["ETag"] = etag
        return super().finalize_response(request, response, *args, **kwargs)


def tag_of(shown: Any) -> str:
    return f'W/"{hashlib.sha256(dumps(shown).encode()).hexdigest()[:DIGITS]}"'


def known_tags(request: Request) -> list[str]:
    return parse_etags(request.headers.get("If-None-Match", ""))


def is_known(known: Sequence[str], etag: str) -> bool:
    """Compares weakly, as RFC 9110 has it for `If-None-Match`."""
    return "*" in known or etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in known}
