"""Answers what is outside the product: health, readiness, and the pages about the API."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.web.exceptions import ServiceUnavailable
from config import openapi, problems, readiness

SAFE = ("GET", "HEAD")
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")


def content_policy(pictures: str = "'self' data:") -> str:
    """Returns the policy of a page that loads nothing from anywhere else but pictures, and has no script or style in its text."""
    own = "script-src 'self'; style-src 'self'; connect-src 'self'"
    return f"default-src 'none'; {own}; img-src {pictures}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


CONTENT_POLICY = content_policy()


def safe(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Wraps a view that only reads. Any other method is the problem that it is under /v1, and needs no CSRF check."""

    @csrf_exempt
    @wraps(view)
    def answered(request: HttpRequest) -> HttpResponse:
        if request.method in SAFE:
            return view(request)
        detail = f"This path takes {problems.listed(SAFE)}, and not {problems.printable(str(request.method))}."
        body = problems.problem("method_not_allowed", detail)
        return problems.answer(request.META, body, headers={"Allow": ", ".join(SAFE)})

    return answered


def leading_to(address: str) -> Callable[[HttpRequest], HttpResponse]:
    """Returns a view that redirects to another address of ours, for now: clients must not store it."""

    @safe
    def led(request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(address)

    return led


@safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Says that the process is up. It asks no server, so that a failing database does not restart every web server."""
    return JsonResponse({"status": "ok"})


@safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Says whether requests can be served: the database and Redis do what the system needs of them."""
    lacking = readiness.lacking()
    if not lacking:
        return JsonResponse({"status": "ready"})
    body = problems.problem("not_ready", " ".join(lacking))
    return problems.answer(request.META, body, headers={"Retry-After": str(ServiceUnavailable.wait)})


class KeyCheck(APIView):
    """Says whether a request shows a key. The proxy asks before it reads a large body."""

    schema = None
    http_method_names = ["get", "head"]

    def get(self, request: Request) -> Response:
        return Response(status=204)


@safe
def openapi_document(request: HttpRequest) -> HttpResponse:
    """Answers the document to anybody, compressed where the caller takes that. Caches ask whether it has changed."""
    served = openapi.served()
    response = HttpResponse(served.text, content_type="application/json")
    if GZIP.search(request.headers.get("Accept-Encoding", "")):
        response = HttpResponse(
            served.compressed, content_type="application/json", headers={"Content-Encoding": "gzip"}
        )
    response["ETag"] = served.etag
    answer = get_conditional_response(request, etag=served.etag, response=response) or response
    answer["Cache-Control"], answer["Vary"] = "public, no-cache", "Accept-Encoding"
    return answer


def no_such_page(request: HttpRequest, rest: str) -> HttpResponse:
    raise Http404


@safe
def docs(request: HttpRequest) -> HttpResponse:
    """Shows a quickstart, and readable pages of the OpenAPI document."""
    response = render(request, "docs.html", {"public_url": settings.PUBLIC_URL})
    response["Content-Security-Policy"] = CONTENT_POLICY
    return response
