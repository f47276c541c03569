"""What a provider of the sandbox is: a class that says what it finds and how it refuses, in its own documented form.

All else is the same for every provider and is done here: the limit a key, the count, the bill, and how long an answer takes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from providers.sandbox.catalogue import Catalogue
from providers.sandbox.exchange import Request, Response
from providers.sandbox.limit import Meter
from providers.sandbox.settings import Settings


class Refusal(Exception):
    """No success, as the provider words it."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True, kw_only=True)
class Found:
    """An answer to a search, an empty one included, and what it costs."""

    response: Response
    credits: Decimal


# Method and path, as in ("POST", "/ai/tiktok/image-search").
Address = tuple[str, str]
# A search gets the caller's key and may raise a `Refusal`; it counts, limits and bills nothing.
Search = Callable[[str, Request], Found]
# A free call asks `Provider.key` for the caller's key if it needs one, and may raise a `Refusal`.
FreeCall = Callable[[Request], Response]
Route = Callable[[Request], Response]


class Provider(ABC):
    """One provider. Its searches share one meter, its own."""

    # As the registry has it, and as /_stats shows it.
    name: ClassVar[str]
    # Where it is mounted: what its adapters declare as `sandbox_path`.
    path: ClassVar[str]

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self.catalogue = catalogue
        self.settings = settings
        self.meter = Meter(calls=settings.calls, window=settings.window)

    @abstractmethod
    def searches(self) -> Mapping[Address, Search]:
        """What is limited and billed, by its address below `path`."""

    def free_calls(self) -> Mapping[Address, FreeCall]:
        """What is neither, by its address below `path`."""
        return {}

    @abstractmethod
    def sent_key(self, request: Request) -> str | None:
        """The key, where the request has one in the header and the form that the provider asks for."""

    @abstractmethod
    def rejected(self, key: str | None) -> Refusal:
        """There is no key (None), or it is none of the provider's."""

    @abstractmethod
    def no_credits(self) -> Refusal:
        """The account of the key has too few credits left for this call."""

    @abstractmethod
    def too_many_requests(self) -> Refusal:
        """The key calls too often. Without a Retry-After: that is added here where it is wanted."""

    @abstractmethod
    def internal_error(self) -> Refusal:
        """Something broke on their side."""

    @abstractmethod
    def nothing_found(self) -> Found:
        """The empty success."""

    def key(self, request: Request) -> str:
        """For free calls: the caller's key. Raises a `Refusal`."""
        key = self.sent_key(request)
        if key is None:
            raise self.rejected(None)
        return key

    def routes(self) -> dict[Address, Route]:
        """What answers, by its whole address."""
        searches = {address: self._searching(search) for address, search in self.searches().items()}
        free_calls = {address: _answering(free_call) for address, free_call in self.free_calls().items()}
        return {(method, self.path + path): route for (method, path), route in (searches | free_calls).items()}

    def _searching(self, search: Search) -> Route:
        def route(request: Request) -> Response:
            key = self.sent_key(request)
            if key is None:
                return self.rejected(None).response
            try:
                response = self._search(search, key, request)
            except Refusal as refusal:
                self.meter.refuse(key)
                return refusal.response
            time.sleep(max(0.0, request.arrived + self.settings.latency - time.monotonic()))
            return response

        return route

    def _search(self, search: Search, key: str, request: Request) -> Response:
        if not self.meter.admit(key, request.arrived):
            raise self.too_many_requests()
        found = search(key, request)
        if not self.meter.bill(key, found.credits, of=self.settings.credits):
            raise self.no_credits()
        return found.response


def _answering(free_call: FreeCall) -> Route:
    def route(request: Request) -> Response:
        try:
            return free_call(request)
        except Refusal as refusal:
            return refusal.response

    return route
