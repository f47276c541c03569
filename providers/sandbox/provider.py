"""What a provider of the sandbox is: a class that says what it finds and how it refuses, in its own documented form.

All else is the same for every provider and is done here: the limit a key, the count, the bill, how long an answer takes, and
what a magic credential does to it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from threading import Semaphore
from typing import ClassVar

from providers.sandbox import magic
from providers.sandbox.catalogue import Catalogue
from providers.sandbox.exchange import Request, Response
from providers.sandbox.limit import Meter
from providers.sandbox.magic import Act
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

# Of each provider's searches, those that may take long by magic at the same time: one slow key at its full pace.
MOST_DAWDLERS = 4


class Provider(ABC):
    """One provider. Its searches share one meter, its own."""

    # As the registry has it, and as /_stats shows it.
    name: ClassVar[str]
    # Where it is mounted: what its adapters declare as `sandbox_path`.
    path: ClassVar[str]
    # What it allows a key, as its document says: so many calls in so many seconds. Settings may say otherwise.
    calls: ClassVar[int] = 1
    window: ClassVar[float] = 1.0

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self.catalogue = catalogue
        self.settings = settings
        self.meter = Meter(
            calls=settings.calls or self.calls, window=settings.window or self.window, shared=settings.one_account
        )
        self.dawdlers = Semaphore(MOST_DAWDLERS)

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
        if key is None or magic.always(key, Act.REJECTED):
            raise self.rejected(key)
        return key

    def credits_left(self, key: str) -> Decimal:
        if magic.always(key, Act.NO_CREDITS):
            return Decimal(0)
        return self.settings.credits - self.meter.tally(key).credits

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
                act = self._admit(key, request)
                response = self._search(search, key, request, act)
            except Refusal as refusal:
                self.meter.refuse(key)
                return refusal.response
            return self._in_time(response, request, act)

        return route

    def _admit(self, key: str, request: Request) -> Act:
        turn = self.meter.admit(key, request.arrived)
        if turn is None:
            raise self.too_many_requests()
        act = magic.act(key, turn)
        if act is not Act.ORDINARY:
            self.meter.play(key, act)
        return act

    def _search(self, search: Search, key: str, request: Request, act: Act) -> Response:
        self._refuse(act, key)
        if act is Act.RESET:
            return replace(Response.of({}), leaving=0)
        found = search(key, request)
        if act is Act.EMPTY:
            found = self.nothing_found()
        if not self.meter.bill(key, found.credits, of=self.settings.credits):
            raise self.no_credits()
        return _spoilt(found.response, act)

    def _refuse(self, act: Act, key: str) -> None:
        match act:
            case Act.REJECTED:
                raise self.rejected(key)
            case Act.NO_CREDITS:
                raise self.no_credits()
            case Act.THROTTLED:
                raise self.too_many_requests()
            case Act.THROTTLED_RETRY_AFTER:
                retry_after = ("Retry-After", str(magic.RETRY_AFTER_SECONDS))
                raise Refusal(replace(self.too_many_requests().response, headers=(retry_after,)))
            case Act.ERROR:
                raise self.internal_error()

    def _in_time(self, response: Response, request: Request, act: Act) -> Response:
        """Waits until it is time to answer. Few may take long at once, so that threads are left for everybody else."""
        if act not in (Act.SLOW, Act.HANG):
            _sleep_until(request.arrived + self.settings.latency)
        elif self.dawdlers.acquire(blocking=False):
            try:
                _sleep_until(request.arrived + (self.settings.slow if act is Act.SLOW else self.settings.hang))
            finally:
                self.dawdlers.release()
        elif act is Act.HANG:
            return _cut_off(response)
        return response


def _spoilt(response: Response, act: Act) -> Response:
    match act:
        case Act.CUT_OFF:
            return _cut_off(response)
        case Act.TRUNCATED:
            return replace(response, content=magic.truncated(response.content))
        case Act.MISTYPED:
            return replace(response, content=magic.mistyped(response.content))
    return response


def _cut_off(response: Response) -> Response:
    return replace(response, leaving=len(response.content) // 2)


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))


def _answering(free_call: FreeCall) -> Route:
    def route(request: Request) -> Response:
        try:
            return free_call(request)
        except Refusal as refusal:
            return refusal.response

    return route
