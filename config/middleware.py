"""Wraps every request: gives it an id and a bound for its body, and its answer the headers of caching and permissions.

Health checks are answered here, before anything looks at the Host: load balancers ask by address, or as HTTP/1.0 does.
Rejected: their hosts in ALLOWED_HOSTS, because not all are known; the redirect to https, because they do not follow it.
"""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, MiddlewareNotUsed
from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.deprecation import MiddlewareMixin
from uuid_utils.compat import uuid7

from accounts import log_context
from accounts.authentication import CALLER
from config import body_slots, metrics, problems, views

USABLE = re.compile(r"[A-Za-z0-9._-]{8,100}")
HEALTH = {"/healthz": views.healthz, "/readyz": views.readyz, "/metrics": views.safe(metrics.answer)}

# What a page may ask the browser for: nothing that a device has.
DEVICES = (
    "accelerometer autoplay camera display-capture encrypted-media geolocation gyroscope hid magnetometer microphone midi "
    "payment publickey-credentials-get serial usb xr-spatial-tracking"
)
PERMISSIONS = ", ".join(f"{name}=()" for name in DEVICES.split())


def request_id(sent: str) -> str:
    """Returns the id that a caller sent, where it is usable, or a new one."""
    return sent if USABLE.fullmatch(sent) else str(uuid7())


class RequestId(MiddlewareMixin):
    """Gives every answer an `X-Request-Id`, the caller's own where it sent a usable one. Log lines have it until the answer is
    sent.
    """

    def process_request(self, request: HttpRequest) -> None:
        request.META[problems.REQUEST_ID] = id = request_id(request.headers.get("X-Request-Id", ""))
        log_context.begin(request=id)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response["X-Request-Id"] = request.META[problems.REQUEST_ID]
        return response


@receiver(request_finished)
def name_no_request(**_: Any) -> None:
    log_context.begin()


class Counted:
    """Counts requests for Prometheus, but for those of health checks and of Prometheus itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        if not settings.METRICS_TOKEN:
            raise MiddlewareNotUsed
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response = self._get_response(request)
        if request.path_info not in HEALTH:
            match = request.resolver_match
            route = f"/{match.route}" if match and match.func is not problems.no_such_path else None
            metrics.answered(str(request.method), route, response.status_code, time.perf_counter() - begun)
        return response


class BodyLength(MiddlewareMixin):
    """Refuses a body by its announced length, before a byte of it is read."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        length, most = body_slots.length_of(request.META), body_slots.most_bytes(request.path)
        if length > most:
            detail = f"The body has {length} bytes; send at most {most}."
            return body_slots.refused(request.META, ("too_large", detail))
        # Django reads as many bytes as were announced, and would read nothing of a body in chunks.
        if "Transfer-Encoding" in request.headers and not length:
            return body_slots.refused(request.META, body_slots.CHUNKS)
        return None


class Health(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if request.path_info not in HEALTH:
            return None
        response = HEALTH[request.path_info](request)
        # HTTP/1.0 has no other way to say where an answer ends.
        response["Content-Length"] = str(len(response.content))
        return response


class BodyCaller(MiddlewareMixin):
    """Names the caller of a body that is to be read, if a session shows it. API keys name theirs when they are checked."""

    def process_request(self, request: HttpRequest) -> None:
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES and body_slots.length_of(request.META)
        if has_session and request.user.is_authenticated:
            request.META[CALLER] = f"operator {request.user.pk}"


class ReadableText(MiddlewareMixin):
    """Refuses forms and queries that contain invalid text, because the database would reject it.

    Other encodings than UTF-8 can contain half of a surrogate pair. Browsers send forms in the encoding of the page, which is
    UTF-8.
    """

    def process_request(self, request: HttpRequest) -> None:
        if request.path.startswith("/admin"):
            if request.encoding and codecs.lookup(request.encoding).name != "utf-8":
                raise BadRequest("Send the form in UTF-8.")
            if any("\0" in text for pair in request.GET.lists() for text in (pair[0], *pair[1])):
                raise BadRequest("The query holds a null character.")


class Safeguards(MiddlewareMixin):
    """Keeps tenants' and operators' pages out of every cache, and asks nothing of a browser's device.

    A view that sets these headers itself keeps its own.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        is_admin = request.path.startswith("/admin")
        policy = response.get("Cache-Control", "")
        is_said = "no-store" in policy or policy.startswith("public")
        if (is_admin or request.path.startswith("/v1/")) and not is_said:
            response["Cache-Control"] = "no-store"
        response.setdefault("Permissions-Policy", PERMISSIONS)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response


class CompressedPages(GZipMiddleware):
    """Compresses pages for people. The API's answers and files have ways of their own.

    A page's length tells nobody what it holds: its only secret beside what its reader may see is the token of its forms, which
    Django masks anew in each answer, and Django adds a file name of random length to each compressed answer.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not response.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)
