"""Bounds how many request bodies a web process reads at once, for whom, and how large they may be.

The server passes a request on when its headers have come. Reading the body then occupies a thread for as long as the client
likes. granian 2.8 has a time limit for headers and none for bodies. Its `read` returns when all bytes have come, and cannot be
interrupted: a thread that gives up stops the whole process. The socket cannot be shut down from here either, because a request
has its client's address without the port, so that nobody knows which connection it is.

Few threads may therefore read bodies at the same time: fewer for one caller, and fewest for unknown callers. The other threads
stay free. What JSON may hold is decided elsewhere (`searches.api.strict_json`). The proxy has time limits for bodies and reads
them whole before it passes them on; behind it a read takes milliseconds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from io import IOBase
from itertools import chain
from typing import Any

from django.conf import settings
from django.http import HttpResponse

from accounts.authentication import CALLER
from accounts.net.client_address import address_in
from accounts.web import turns
from accounts.web.exceptions import ServiceUnavailable
from config import problems

MEBIBYTE = 1024 * 1024
# Bodies below /v1 hold pictures. Anything else is a form of the admin's, or nothing that is taken at all.
SMALL_BYTES = MEBIBYTE
# The most threads that read bodies. One tenant may occupy half of these, half of those that wait for searches
# (12) and fetch pictures (8), and 32 that wait for a decoder, so that some threads stay free.
MOST_READING, MOST_READING_OF_UNKNOWN = 12, 3
# Seconds to wait for a turn. Most bodies arrive with their headers and are read in a millisecond.
TURN_SECONDS = 0.2
# The most bytes of bodies in memory. A body counts from its first byte until its request no longer needs it.
MOST_BYTES = 160 * MEBIBYTE
# Larger files occupy a thread that waits for its client.
SENT_AT_ONCE_BYTES = 256 * 1024
# One address gets at most half of these threads, the next one half of the rest.
MOST_SENDING = 12
UNKNOWN = ""
BUSY = ("not_ready", "Too many bodies are being sent at the moment; send the request again in a few seconds.")
TAKEN_SLOWLY = ("not_ready", "Too many large files are being downloaded at the moment; ask again in a few seconds.")
CHUNKS = ("malformed_body", "Send the body whole, with a Content-Length; chunks are not taken.")


class Shared:
    """Shares a bounded amount: a caller may take more while more is free than it has (as in `accounts.web.bulkhead`)."""

    def __init__(self, most: int, *, of_unknown: int) -> None:
        self._most, self._of_unknown = most, of_unknown
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, caller: str, amount: int = 1, *, seconds: float = 0) -> bool:
        """Takes an amount, and returns whether that succeeded within so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has(caller, amount), seconds):
                return False
            self._taken[caller] += amount
            return True

    def give_back(self, caller: str, amount: int = 1) -> None:
        with self._changed:
            self._taken[caller] -= amount
            self._taken += Counter()  # removes callers with nothing
            self._changed.notify_all()

    def _has(self, caller: str, amount: int) -> bool:
        would_have, free = self._taken[caller] + amount, self._most - self._taken.total()
        return would_have <= free and (caller != UNKNOWN or would_have <= self._of_unknown)


reading = Shared(MOST_READING, of_unknown=MOST_READING_OF_UNKNOWN)
memory = Shared(MOST_BYTES, of_unknown=MOST_READING_OF_UNKNOWN * SMALL_BYTES)
sending = Shared(MOST_SENDING, of_unknown=MOST_SENDING)


class RequestBody(IOBase):
    """Replaces `wsgi.input`: the body is read from its first to its last byte in one turn. `is_refused` says that no turn was
    free.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ, self._stream = environ, environ["wsgi.input"]
        self._left = self._unread = length_of(environ)
        self._caller: str | None = None
        self._bytes = 0
        self._has_turn = self.is_refused = False
        self._aside = ExitStack()

    def read(self, size: int = -1) -> bytes:
        if not self._left or not size:
            return b""
        self._begin()
        size = self._left if size < 0 else min(size, self._left)
        piece: bytes = self._stream.read(size)
        # A short read means that the client is gone.
        self._left = self._unread = self._left - size if len(piece) == size else 0
        if not self._left:
            self._end_turn()
        return piece

    @property
    def is_unread(self) -> bool:
        """Returns whether bytes of the body are still to come. A body in chunks is never read."""
        return bool(self._unread or self._environ.get("HTTP_TRANSFER_ENCODING"))

    def close(self) -> None:
        """Gives back the turn and the memory, because the request has ended or no longer needs its body."""
        self._left = 0
        self._end_turn()
        if self._bytes:
            memory.give_back(self._caller or UNKNOWN, self._bytes)
            self._bytes = 0

    def _begin(self) -> None:
        """Takes a turn. Raises `OSError`, which Django treats as a broken body; `Bounded` replaces the answer to it."""
        if self._caller is None and not self.is_refused:
            caller = str(self._environ.get(CALLER, UNKNOWN))
            # Until the last byte has come, others may run.
            self._aside.enter_context(turns.aside())
            self._has_turn = reading.take(caller, seconds=TURN_SECONDS)
            self._caller = caller
            if self._has_turn and memory.take(caller, self._left):
                self._bytes = self._left
            else:
                self._end_turn()
                self.is_refused = True
        if self.is_refused:
            raise OSError(BUSY[1])

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            reading.give_back(self._caller or UNKNOWN)
        self._aside.close()


class Bounded:
    """Wraps the WSGI application so that few of its threads wait for clients."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = RequestBody(environ)
        environ["wsgi.input"] = body
        start_response = _closing(body, start_response)
        try:
            answer = self._application(environ, start_response)
        finally:
            body.close()
        if body.is_refused:
            return _instead(environ, answer, start_response, BUSY)
        return self._sent(environ, answer, start_response) if getattr(answer, "streaming", False) else answer

    def _sent(self, environ: dict[str, Any], answer: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Passes a small file to the server at once. A large one is sent by a thread that waits for its client.

        The length of some is not announced: those are read until they turn out to be large.
        """
        rest = iter(answer)
        first: list[bytes] = []
        is_whole = False
        if int(answer.get("Content-Length") or 0) <= SENT_AT_ONCE_BYTES:
            first, is_whole = _begun(rest)
        if is_whole:
            answer.close()
            return first
        address = address_in(environ)
        if not sending.take(address):
            return _instead(environ, answer, start_response, TAKEN_SLOWLY)
        return Sending(answer, chain(first, rest), address)


def _begun(rest: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """Reads the beginning of a body. Returns its pieces, and whether it is the whole."""
    pieces, size = [], 0
    for piece in rest:
        pieces.append(piece)
        size += len(piece)
        if size > SENT_AT_ONCE_BYTES:
            return pieces, False
    return pieces, True


def _closing(body: RequestBody, start_response: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a `start_response` that says `Connection: close` where a part of the body was not read.

    The server ends such a connection, because the rest of the body would be taken for the next request.
    """

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, ("Connection", "close")] if body.is_unread else headers, *more)

    return start


def _instead(
    environ: dict[str, Any], answer: Any, start_response: Callable[..., Any], why: tuple[str, str]
) -> list[bytes]:
    """Sends another answer than Django's, with the same request id."""
    other = refused(environ, why)
    answer.close()
    start_response(f"{other.status_code} {other.reason_phrase}", list(other.items()))
    return [other.content]


class Sending:
    """A large answer on its way. `pieces`: all of its body, of which some may have been read."""

    def __init__(self, answer: Any, pieces: Iterator[bytes], address: str) -> None:
        self._answer, self._pieces, self._address = answer, pieces, address

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        sending.give_back(self._address)
        self._answer.close()


def most_bytes(path: str) -> int:
    return settings.PICTURE_BODY_MAX_BYTES if path.startswith("/v1/") else SMALL_BYTES


def length_of(environ: Mapping[str, Any]) -> int:
    try:
        return max(0, int(environ.get("CONTENT_LENGTH") or 0))
    except ValueError:
        return 0


def refused(meta: Mapping[str, Any], refusal: tuple[str, str]) -> HttpResponse:
    """Returns the refusal as an answer: middleware that would add the request's id may not run."""
    code, detail = refusal
    body = problems.problem(code, detail)
    headers = {"X-Request-Id": str(meta[problems.REQUEST_ID])}
    if body["status"] == ServiceUnavailable.status_code:
        headers["Retry-After"] = str(ServiceUnavailable.wait)
    return problems.answer(meta, body, headers=headers)
