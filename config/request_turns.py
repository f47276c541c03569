"""Wraps the WSGI application so that its requests below /v1 run in turns: a tenant with many delays those of others little.

The interpreter runs one thread at a time. Of sixty requests at once each would take sixty times as long, the other tenants' too.
While several tenants are there, few requests of each therefore run at once, those that wait get turns by tenant, and a crowd of
one tenant's makes way for others. A request that only waits for something else steps aside meanwhile (`accounts.web.turns`).

The tenant of a request is known when its key was checked, which is part of the request. The process therefore remembers which
tenant a key had the last time (`config.callers`). Callers without a known key have the turns of one tenant, by address: guessing
delays other tenants no more than one of them does, and a newcomer at another address little.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import closing
from itertools import chain
from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import APIException

from accounts.web import rate_limits, turns
from accounts.web.bulkhead import Bulkhead, Busy
from accounts.web.exceptions import TooManyRequests
from accounts.web.waiting_bulkhead import WaitingBulkhead
from config import metrics, problems
from config.callers import KnownCallers, Stranger, VoidKeys
from config.middleware import request_id

# The most requests that run at once, and of one tenant while another one is there.
AT_ONCE, TOGETHER = 16, 4
# A tenant of which more than so many wait is a crowd, and so are all strangers together. Beside others a crowd runs one request
# at a time, when nobody else runs one, or so long after its last one: 20 a second at least in each of the processes.
MANY, YIELD_SECONDS = 16, 0.05
# A tenant counts as there for so long after a request.
PRESENT_SECONDS = 0.5
# The most requests that the process has at all, of its 640 threads, each of which only waits until its turn comes. A tenant gets
# another one while more are free than it has; while it is alone, as many as leave some to the next.
MOST, ALONE = 620, 540
# A refusal that is repeated comes after such a pause, in which the thread needs no interpreter. Without it 64 callers that went
# on at once kept the interpreter busy with refusals. The pauses differ, so that not all end at the same moment.
PAUSE_SECONDS = 0.25, 0.75
# Longer than all of them take on two cores.
WAIT_SECONDS = 120.0
BUSY = "Too many requests are under way at once; send fewer at a time, and this one again in a second."
# As draft-ietf-httpapi-ratelimit-headers-11 says it. Beside others a tenant gets half at most.
CONCURRENCY = {
    "RateLimit-Policy": f'"concurrency";q={MOST // 2};qu="concurrent-requests"',
    "RateLimit": '"concurrency";r=0;t=1',
}


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
        if not super()._may_run(owner) or not self._is_accompanied(owner):
            return super()._may_run(owner)
        is_crowd = isinstance(owner, Stranger) or len(self.waiting.get(owner, ())) > MANY
        if not is_crowd:
            return self.running[owner] < TOGETHER
        return not self.running or (not self._running_like(owner) and self._rested(owner))

    def _rested(self, owner: Hashable) -> bool:
        left = (left for other, left in reversed(self._left.items()) if _alike(owner, other))
        return time.monotonic() - next(left, 0.0) >= YIELD_SECONDS

    def _running_like(self, owner: Hashable) -> int:
        return sum(count for other, count in self.running.items() if _alike(owner, other))

    def _is_accompanied(self, owner: Hashable) -> bool:
        here = chain(self.running, self.waiting)
        others = (left for other, left in reversed(self._left.items()) if other != owner)
        return any(other != owner for other in here) or time.monotonic() - next(others, 0.0) < PRESENT_SECONDS


def _alike(owner: Hashable, other: Hashable) -> bool:
    """Returns whether both are one owner. Strangers are one: their many addresses would take all turns."""
    return owner == other or (isinstance(owner, Stranger) and isinstance(other, Stranger))


class Threads(Bulkhead):
    """The threads that the requests of this process hold, those that wait for their turn included."""

    def has_room(self, owner: Hashable, most: int) -> bool:
        is_alone = self.taken.total() == self.taken[owner]
        return (is_alone and self.taken[owner] < ALONE) or super().has_room(owner, most)


threads = Threads(lambda: MOST, BUSY)
requests = RequestTurns()


class InTurns:
    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._callers, self._void_keys = KnownCallers(), VoidKeys()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/v1/"):
            return self._application(environ, start_response)
        caller = self._callers.of(environ)
        try:
            if refusal := self._repeated(caller, environ):
                return _refused(environ, start_response, refusal)
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
        self._void_keys.learn(environ)
        return answer

    def _repeated(self, caller: str | Stranger, environ: dict[str, Any]) -> APIException | None:
        """Returns the refusal that this caller got a moment ago, after a pause: one that goes on at once costs no query, and
        little of the interpreter.
        """
        if isinstance(caller, Stranger):
            refusal: APIException | None = self._void_keys.refusal(environ)
        else:
            refusal = rate_limits.repeated(caller)
        if refusal is not None:
            with threads.acquire(caller):
                time.sleep(random.uniform(*PAUSE_SECONDS))
        return refusal


def _refused(environ: dict[str, Any], start_response: Callable[..., Any], refusal: APIException) -> Iterable[bytes]:
    environ[problems.REQUEST_ID] = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    answer: HttpResponse = problems.answered(environ, refusal)
    answer["X-Request-Id"] = environ[problems.REQUEST_ID]
    answer["Cache-Control"] = "no-store"
    answer["X-Content-Type-Options"] = "nosniff"
    metrics.refused(environ["REQUEST_METHOD"], answer.status_code)
    start_response(f"{answer.status_code} {answer.reason_phrase}", list(answer.items()))
    return [answer.content]
