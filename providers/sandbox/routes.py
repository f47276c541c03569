"""The sandbox as one WSGI application: what answers at which address, and its settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from wsgiref.types import StartResponse, WSGIEnvironment

from providers.sandbox.catalogue import Catalogue
from providers.sandbox.exchange import Request, Response
from providers.sandbox.limit import Meter
from providers.sandbox.modash import Modash

PICTURES = "/pictures/"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds."""

    calls: int = 1
    window: float = 1.0
    latency: float = 0.3
    credits: Decimal = Decimal(1_000_000)
    public_url: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        return cls(
            calls=int(environ.get("SANDBOX_CALLS", 1)),
            window=float(environ.get("SANDBOX_WINDOW_MS", 1000)) / 1000,
            latency=float(environ.get("SANDBOX_LATENCY_MS", 300)) / 1000,
            credits=Decimal(environ.get("SANDBOX_CREDITS", 1_000_000)),
            public_url=environ.get("SANDBOX_PUBLIC_URL", ""),
        )


class Sandbox:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = Catalogue()
        self.meter = Meter(calls=settings.calls, window=settings.window)
        modash = Modash(self.catalogue, self.meter, credits=settings.credits)
        self.routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("POST", "/modash/v1/ai/tiktok/image-search"): self._slowly(modash.image_search),
            ("GET", "/modash/v1/user/info"): modash.user_info,
            ("GET", "/modash/v1/health"): modash.health,
            ("GET", "/_stats"): lambda request: Response.of({"modash": self.meter.stats()}),
            ("POST", "/_reset"): self._reset,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ, arrived=time.monotonic(), public_url=self.settings.public_url)
        response = self._respond(request)
        # A body left unread would cut the caller off before it has its answer.
        _ = request.body
        return response.send(start_response)

    def _respond(self, request: Request) -> Response:
        if request.method == "GET" and request.path.startswith(PICTURES):
            return self._picture(request)
        route = self.routes.get((request.method, request.path))
        return route(request) if route else _not_found()

    def _slowly(self, route: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def slow(request: Request) -> Response:
            response = route(request)
            if response.status == 200:
                time.sleep(max(0.0, request.arrived + self.settings.latency - time.monotonic()))
            return response

        return slow

    def _picture(self, request: Request) -> Response:
        picture = self.catalogue.picture(request.path.removeprefix(PICTURES).removesuffix(".jpg"))
        if picture is None:
            return _not_found()
        file = BytesIO()
        picture.save(file, "JPEG", quality=88)
        return Response(200, file.getvalue(), "image/jpeg")

    def _reset(self, request: Request) -> Response:
        self.meter.reset()
        return Response.of({"modash": self.meter.stats()})


def _not_found() -> Response:
    return Response.of({"error": True, "code": "not_found", "message": "There is nothing here."}, 404)
