"""Wraps every request: gives it an id and a bound for its body, and its answer the headers of caching and content policy."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from uuid_utils.compat import uuid7

from accounts.authentication import CALLER
from config import body_slots, problems

USABLE = re.compile(r"[A-Za-z0-9._-]{8,100}")


# The admin's pages run only their own scripts, and load nothing from elsewhere but the pictures of results. They use Alpine.js,
# which makes functions from texts of the page.
ADMIN_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: https: http:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
NO_PAGE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class RequestId:
    """Gives every answer an `X-Request-Id`, the caller's own where it sent a usable one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        sent = request.headers.get("X-Request-Id", "")
        request.META[problems.REQUEST_ID] = request_id = sent if USABLE.fullmatch(sent) else str(uuid7())
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response


class BodyLength:
    """Refuses a body by its announced length, before a byte of it is read."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length, most = body_slots.length_of(request.META), body_slots.most_bytes(request.path)
        if length > most:
            return self._refused(request, "too_large", f"The body has {length} bytes; send at most {most}.")
        # Django reads as many bytes as were announced, and would read nothing of a body in chunks.
        if "Transfer-Encoding" in request.headers and not length:
            return self._refused(request, *body_slots.CHUNKS)
        return self.get_response(request)

    def _refused(self, request: HttpRequest, code: str, detail: str) -> HttpResponse:
        return body_slots.refused(request.path, (code, detail), request.META[problems.REQUEST_ID])


class BodyCaller:
    """Names the caller of a body that is to be read, if a session shows it. API keys name theirs when they are checked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        may_tell = settings.SESSION_COOKIE_NAME in request.COOKIES and body_slots.length_of(request.META)
        if may_tell and request.user.is_authenticated:
            request.META[CALLER] = f"operator {request.user.pk}"
        return self.get_response(request)


class ReadableText:
    """Refuses forms and queries that contain invalid text, because the database would reject it.

    Other encodings than UTF-8 can contain half of a surrogate pair. Browsers send forms in the encoding of the page, which is
    UTF-8.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith("/admin"):
            if request.encoding and codecs.lookup(request.encoding).name != "utf-8":
                raise BadRequest("Send the form in UTF-8.")
            if any("\0" in text for pair in request.GET.lists() for text in (pair[0], *pair[1])):
                raise BadRequest("The query holds a null character.")
        return self.get_response(request)


class Safeguards:
    """Keeps tenants' and operators' pages out of every cache, and restricts what pages may load and run.

    A view that sets these headers itself keeps its own, as the documentation pages do.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_admin = request.path.startswith("/admin")
        if (is_admin or request.path.startswith("/v1/")) and "no-store" not in response.get("Cache-Control", ""):
            response["Cache-Control"] = "no-store"
        if response.get("Content-Type", "").startswith("text/html"):
            response.setdefault("Content-Security-Policy", ADMIN_POLICY if is_admin else NO_PAGE_POLICY)
        return response
