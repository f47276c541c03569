"""Wraps the WSGI application so that its requests below /v1 run in turns: a tenant with many delays those of others little.

The interpreter runs one thread at a time. Of sixty requests at once each would take sixty times as long, the other tenants' too.
While several tenants are there, few requests of each therefore run at once, and those that wait get turns by tenant. A request
that only waits for something else steps aside meanwhile (`accounts.web.turns`).

The tenant of a request is known when its key was checked, which is part of the request. The process therefore remembers which
tenant a key had the last time. Keys that nobody has are their address' own, so that guessing delays nobody elsewhere.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import closing
from typing import Any

from django.http import HttpResponse

from accounts.authentication import CALLER
from accounts.net.client_address import address_in
from accounts.web import rate_limits, turns
from accounts.web.bulkhead import Bulkhead, Busy
from accounts.web.exceptions import TooManyRequests
from accounts.web.waiting_bulkhead import WaitingBulkhead
from config import problems
from config.middleware import request_id

# The most requests that run at once, and of one tenant while another one is there: two in each of two processes, of some
# hundredths of a second each, are more than the hundred a second that a tenant may send.
AT_ONCE, TOGETHER = 16, 2
# A tenant counts as there for so long after a request.
PRESENT_SECONDS = 0.5
# The most requests that the process has at all, of its 640 threads, each of which only waits until its turn comes. A tenant gets
# another one while more are free than it has; while it is alone, as many as leave some to the next.
MOST, ALONE = 620, 540
# Longer than all of them take on two cores.
WAIT_SECONDS = 120.0
BUSY = "Too many requests are under way at once; send fewer at a time, and this one again in a second."
# As draft-ietf-httpapi-ratelimit-headers-11 says it. Beside others a tenant gets half at most.
CONCURRENCY = {
    "RateLimit-Policy": f'"concurrency";q={MOST // 2};qu="concurrent-requests"',
    "RateLimit": '"concurrency";r=0;t=1',
}
# The most keys that are remembered; the oldest ones are forgotten.
MOST_KEYS = 10_000


class RequestTurns(WaitingBulkhead):
    """The turns of the requests of this process. A tenant that is alone runs as many as there may be, and else a few."""

    def __init__(self) -> None:
        super().__init__(at_once=AT_ONCE, places=MOST, share=MOST, wait_seconds=WAIT_SECONDS, detail=BUSY)
        # When each owner last left its turn, in this order.
        self._left: dict[Hashable, float] = {}

    def leave(self, owner: Hashable) -> None:
        with self.lock:
            self._left.pop(owner, None)
            self._left[owner] = time.monotonic()
            if len(self._left) > self.at_once:
                del self._left[next(iter(self._left))]
        super().leave(owner)

    def _may_run(self, owner: Hashable) -> bool:
        most = TOGETHER if self._is_accompanied(owner) else self.at_once
        return super()._may_run(owner) and self.running[owner] < most

    def _is_accompanied(self, owner: Hashable) -> bool:
        here = (*self.running, *self.waiting)
        others = (left for other, left in reversed(self._left.items()) if other != owner)
        return any(other != owner for other in here) or time.monotonic() - next(others, 0.0) < PRESENT_SECONDS


class Threads(Bulkhead):
    """The threads that the requests of this process hold, those that wait for their turn included."""

    def has_room(self, owner: Hashable, most: int) -> bool:
        is_alone = self.taken.total() == self.taken[owner]
        return (is_alone and self.taken[owner] < ALONE) or super().has_room(owner, most)


threads = Threads(lambda: MOST, BUSY)
requests = RequestTurns()


class KnownCallers:
    """The tenants of the keys that were accepted lately, by the keys' digests."""

    def __init__(self) -> None:
        self._tenants: dict[bytes, str] = {}
        # No dictionary may change while another thread looks for its oldest key.
        self._lock = threading.Lock()

    def of(self, environ: dict[str, Any]) -> str:
        """Returns the tenant's id, or the address where the key is unknown."""
        tenant = self._tenants.get(_digest(environ))
        return tenant or f"address {address_in(environ)}"

    def learn(self, environ: dict[str, Any]) -> None:
        """Notes whose key it was, or that it was nobody's."""
        digest, tenant = _digest(environ), environ.get(CALLER)
        with self._lock:
            if tenant is None:
                self._tenants.pop(digest, None)
            elif self._tenants.get(digest) != tenant:
                self._tenants[digest] = tenant
                if len(self._tenants) > MOST_KEYS:
                    del self._tenants[next(iter(self._tenants))]


class InTurns:
    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._callers = KnownCallers()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/v1/"):
            return self._application(environ, start_response)
        caller = self._callers.of(environ)
        if refusal := rate_limits.repeated(caller):
            return _refused(environ, start_response, refusal)
        try:
            # The body is closed first, because it steps aside while it is read.
            with (
                threads.acquire(caller),
                requests.turn_of(caller),
                turns.held(requests, caller),
                closing(environ["wsgi.input"]),
            ):
                answer = self._application(environ, start_response)
        except Busy as busy:
            return _refused(environ, start_response, TooManyRequests(busy.detail, wait=1, fields=CONCURRENCY))
        self._callers.learn(environ)
        return answer


def _digest(environ: dict[str, Any]) -> bytes:
    # The secrets themselves are not kept in memory.
    return hashlib.blake2b(environ.get("HTTP_AUTHORIZATION", "").encode(), digest_size=16).digest()


def _refused(environ: dict[str, Any], start_response: Callable[..., Any], refusal: TooManyRequests) -> Iterable[bytes]:
    environ[problems.REQUEST_ID] = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    answer: HttpResponse = problems.answered(environ, refusal)
    answer["X-Request-Id"] = environ[problems.REQUEST_ID]
    answer["Cache-Control"] = "no-store"
    start_response(f"{answer.status_code} {answer.reason_phrase}", list(answer.items()))
    return [answer.content]
