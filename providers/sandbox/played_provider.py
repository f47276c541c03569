"""The base class of the providers that the sandbox plays. A subclass searches and words its errors, as its document says.

The rest is the same for every provider and is done here: the limit of each key, the counts, the bill, the time that an answer
takes, and the behaviours of magic keys.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from threading import Semaphore
from typing import ClassVar

from providers.sandbox import magic_keys
from providers.sandbox.catalogue import Catalogue
from providers.sandbox.magic_keys import Behaviour
from providers.sandbox.meter import Meter
from providers.sandbox.settings import SandboxSettings
from providers.sandbox.wsgi import Request, Response


class ErrorResponse(Exception):
    """The provider answers with an error, in its own words."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True, kw_only=True)
class BilledResponse:
    """A successful answer to a search, which may be empty, and its cost."""

    response: Response
    credits: Decimal


# Method and path, as in ("POST", "/ai/tiktok/image-search").
Address = tuple[str, str]
# A search gets the caller's key and may raise an `ErrorResponse`. It counts, limits and bills nothing.
Search = Callable[[str, Request], BilledResponse]
# Answers a call, or raises an `ErrorResponse`. A free call asks `PlayedProvider.key` for the caller's key if it needs one.
Route = Callable[[Request], Response]

# At most so many searches of one provider are slow by magic at the same time: what one slow key needs at its full rate.
MOST_SLOW_ANSWERS = 4


class PlayedProvider(ABC):
    """One provider. All its searches share one meter."""

    # The `provider` of its adapters. `/_stats` shows it.
    name: ClassVar[str]
    # The path under which it answers: the `sandbox_path` of its adapters.
    path: ClassVar[str]
    # The limit of a key by its document: so many calls in so many seconds. SandboxSettings may overrule it.
    calls: ClassVar[int] = 1
    window: ClassVar[float] = 1.0

    def __init__(self, catalogue: Catalogue, settings: SandboxSettings) -> None:
        self.catalogue = catalogue
        self.settings = settings
        self.meter = Meter(
            calls=settings.calls or self.calls, window=settings.window or self.window, shared=settings.one_account
        )
        self.slow_answers = Semaphore(MOST_SLOW_ANSWERS)

    @abstractmethod
    def searches(self) -> Mapping[Address, Search]:
        """Returns the calls that are limited and billed, by their addresses below `path`."""

    def free_calls(self) -> Mapping[Address, Route]:
        """Returns the calls that are neither limited nor billed, by their addresses below `path`."""
        return {}

    @abstractmethod
    def sent_key(self, request: Request) -> str | None:
        """Returns the key, if the request has one in the header and form that the provider demands."""

    @abstractmethod
    def rejected(self, key: str | None) -> ErrorResponse:
        """Returns the error for a missing key (None) or an unknown one."""

    @abstractmethod
    def no_credits(self) -> ErrorResponse:
        """Returns the error for a key whose account has too few credits left for the call."""

    @abstractmethod
    def too_many_requests(self) -> ErrorResponse:
        """Returns the error for a key that calls too often, without Retry-After, which this class adds if it is wanted."""

    @abstractmethod
    def internal_error(self) -> ErrorResponse:
        """Returns the error for a failure of the provider's own."""

    @abstractmethod
    def nothing_found(self) -> BilledResponse:
        """Returns the answer to a search that finds nothing."""

    def key(self, request: Request) -> str:
        """Returns the caller's key, for free calls. Raises an `ErrorResponse`."""
        key = self.sent_key(request)
        if key is None or magic_keys.always(key, Behaviour.REJECTED):
            raise self.rejected(key)
        return key

    def credits_left(self, key: str) -> Decimal:
        if magic_keys.always(key, Behaviour.NO_CREDITS):
            return Decimal(0)
        return self.settings.credits - self.meter.tally(key).credits

    def routes(self) -> dict[Address, Route]:
        """Returns the routes of all calls, by their whole addresses."""
        searches = {address: self._search_route(search) for address, search in self.searches().items()}
        calls = {**searches, **self.free_calls()}
        return {(method, self.path + path): route for (method, path), route in calls.items()}

    def _search_route(self, search: Search) -> Route:
        def route(request: Request) -> Response:
            key = self.sent_key(request)
            if key is None:
                raise self.rejected(None)
            try:
                behaviour = self._admit(key, request)
                response = self._search(search, key, request, behaviour)
            except ErrorResponse:
                self.meter.refuse(key)
                raise
            return self._after_latency(response, request, behaviour)

        return route

    def _admit(self, key: str, request: Request) -> Behaviour:
        turn = self.meter.admit(key, request.arrived)
        if turn is None:
            raise self.too_many_requests()
        behaviour = magic_keys.behaviour(key, turn)
        if behaviour is not Behaviour.ORDINARY:
            self.meter.play(key, behaviour)
        return behaviour

    def _search(self, search: Search, key: str, request: Request, behaviour: Behaviour) -> Response:
        self._raise_error(behaviour, key)
        if behaviour is Behaviour.RESET:
            return replace(Response.of({}), sent_bytes=0)
        found = search(key, request)
        if behaviour is Behaviour.EMPTY:
            found = self.nothing_found()
        credits = found.credits * self.settings.billed_percent / 100
        if not self.meter.bill(key, credits, of=self.settings.credits):
            raise self.no_credits()
        return _damaged(found.response, behaviour)

    def _raise_error(self, behaviour: Behaviour, key: str) -> None:
        match behaviour:
            case Behaviour.REJECTED:
                raise self.rejected(key)
            case Behaviour.NO_CREDITS:
                raise self.no_credits()
            case Behaviour.THROTTLED:
                raise self.too_many_requests()
            case Behaviour.THROTTLED_RETRY_AFTER:
                retry_after = ("Retry-After", str(magic_keys.RETRY_AFTER_SECONDS))
                raise ErrorResponse(replace(self.too_many_requests().response, headers=(retry_after,)))
            case Behaviour.ERROR:
                raise self.internal_error()

    def _after_latency(self, response: Response, request: Request, behaviour: Behaviour) -> Response:
        """Waits until it is time to answer. Only a few answers may be slow at once, so that other callers find a free thread."""
        if behaviour not in (Behaviour.SLOW, Behaviour.HANG):
            _sleep_until(request.arrived + self.settings.latency)
        elif self.slow_answers.acquire(blocking=False):
            try:
                _sleep_until(
                    request.arrived + (self.settings.slow if behaviour is Behaviour.SLOW else self.settings.hang)
                )
            finally:
                self.slow_answers.release()
        elif behaviour is Behaviour.HANG:
            return _cut_off(response)
        return response


def _damaged(response: Response, behaviour: Behaviour) -> Response:
    match behaviour:
        case Behaviour.CUT_OFF:
            return _cut_off(response)
        case Behaviour.TRUNCATED:
            return replace(response, content=response.content[: len(response.content) // 2])
        case Behaviour.MISTYPED:
            return replace(response, content=magic_keys.mistyped(response.content))
    return response


def _cut_off(response: Response) -> Response:
    return replace(response, sent_bytes=len(response.content) // 2)


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))
