"""What stands outside the product: whether this process is up and ready, and the pages about the API."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.refusals import Unavailable
from config import openapi, problems, readiness

# The pages load nothing from anywhere else.
CONTENT_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process is up. It asks nobody, so that a failing database does not restart every web server."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Requests can be served: the database and Redis do what the system needs of them."""
    lacking = readiness.lacking()
    if not lacking:
        return JsonResponse({"status": "ready"})
    body = problems.problem("not_ready", " ".join(lacking))
    return problems.answer(request, body, headers={"Retry-After": str(Unavailable.wait)})


@require_safe
def openapi_document(request: HttpRequest) -> HttpResponse:
    return JsonResponse(openapi.document())


class Docs(SpectacularSwaggerSplitView):
    """Readable pages of the OpenAPI document."""

    url = "/v1/openapi.json"
    url_self = "/docs?script"

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = CONTENT_POLICY
        return response
