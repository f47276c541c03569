"""The sandbox as one WSGI application: the providers that it plays, and their addresses."""

from __future__ import annotations

import time
from collections.abc import Iterable
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from providers.sandbox.catalogue import Catalogue
from providers.sandbox.keyapi import KeyAPI
from providers.sandbox.memories import Memories
from providers.sandbox.modash import Modash
from providers.sandbox.played_provider import ErrorResponse, PlayedProvider
from providers.sandbox.settings import SandboxSettings
from providers.sandbox.wsgi import Request, Response

# Every provider that the sandbox plays: one line each.
PROVIDERS: tuple[type[PlayedProvider], ...] = (
    Modash,
    KeyAPI,
    Memories,
)  # fmt: skip
PICTURES = "/pictures/"


class Sandbox:
    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.catalogue = Catalogue()
        # Computed now, so that no search waits for them.
        _ = self.catalogue.gallery, self.catalogue.product_gallery
        self.providers = {played.name: played(self.catalogue, settings) for played in PROVIDERS}
        self.routes = {
            ("GET", "/_stats"): lambda request: Response.of(self.stats()),
            ("POST", "/_reset"): lambda request: Response.of(self.reset()),
        }
        for provider in self.providers.values():
            self.routes |= provider.routes()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ, arrived=time.monotonic(), public_url=self.settings.public_url)
        response = self._respond(request)
        # A body that was not read would end the connection before the caller has the answer.
        _ = request.body
        return response.send(start_response)

    def stats(self) -> dict[str, Any]:
        return {name: provider.meter.stats() for name, provider in self.providers.items()}

    def reset(self) -> dict[str, Any]:
        for provider in self.providers.values():
            provider.meter.reset()
        return self.stats()

    def _respond(self, request: Request) -> Response:
        # HEAD is answered like GET; the server omits the content.
        method = "GET" if request.method == "HEAD" else request.method
        if method == "GET" and request.path.startswith(PICTURES):
            return self._picture(request)
        route = self.routes.get((method, request.path))
        try:
            return route(request) if route else _not_found()
        except ErrorResponse as error:
            return error.response

    def _picture(self, request: Request) -> Response:
        picture = self.catalogue.picture(request.path.removeprefix(PICTURES).removesuffix(".jpg"))
        if picture is None:
            return _not_found()
        file = BytesIO()
        picture.save(file, "JPEG", quality=88)
        return Response(200, file.getvalue(), "image/jpeg")


def _not_found() -> Response:
    return Response.of({"error": True, "code": "not_found", "message": "There is nothing here."}, 404)
