"""Answers `/healthz` and `/readyz` before anything looks at the Host: load balancers ask by address, or as HTTP/1.0 does.

Rejected: letting their hosts into ALLOWED_HOSTS, of which nobody knows all, and the redirect to https, which they do not follow.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from config import views

VIEWS = {"/healthz": views.healthz, "/readyz": views.readyz}


class Health:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = VIEWS.get(request.path_info)
        if view is None:
            return self.get_response(request)
        response = view(request)
        # HTTP/1.0 has no other way to say where an answer ends.
        response["Content-Length"] = str(len(response.content))
        return response
