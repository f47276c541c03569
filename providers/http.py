"""The one door out to providers. No token, no call, by signature.

The transport is ours, over httpcore's public network backend, for what httpx alone cannot say: whether a first byte left
(it reports a reset in mid-body and a stale kept connection alike), a deadline for the whole of a connection (DNS, every
address, TLS) and one for the whole of a call, and a place just before the first byte, when all of the connection is
behind, to redeem the token. Nothing left: `Unreachable`, or the limiter's own `TokenRefused` and `Unavailable`. Anything left
and no whole answer came: `Lost`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import certifi
import httpcore
import httpx

from accounts.net.dns import LookUps
from providers import content_codings
from providers.failures import Garbled, Lost, Unreachable
from providers.limiter import Token, TokenRefused

MOST_BYTES = 10 * 1024 * 1024
KEPT_SECONDS = 30.0
# No more is handed to the kernel at once, so that the call's time is looked at while a slow provider takes a picture in.
PIECE_BYTES = 64 * 1024
# Of the addresses that a name has, as many are tried; the time there is, is shared out among them.
MOST_TRIED = 4

# Apart from the look-ups of names that tenants give, so that none of theirs can hold up a call.
_lookups = LookUps(at_once=32)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole answer, of whatever status."""

    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)


@dataclass(kw_only=True)
class CallInFlight:
    """One call on its way: until when it may connect, whether its first byte left, and until when an answer counts."""

    token: Token
    connect_until: float
    total_seconds: float
    first_byte_sent: bool = False
    lateness_checked: bool = False
    deadline: float | None = None

    def to_connect(self) -> float:
        """The seconds left for it."""
        left = self.connect_until - time.monotonic()
        if left <= 0:
            raise httpcore.ConnectTimeout("the time to connect is over")
        return left

    def before_write(self, stream: Stream) -> None:
        """The first one waits for the token's instant. A kept connection may be closed meanwhile: then nothing leaves."""
        if not self.first_byte_sent:
            self.token.redeem()
            if stream.was_closed():
                self.token.sent_at = None
                raise TokenRefused
            self.first_byte_sent = True
            self.deadline = time.monotonic() + self.total_seconds

    def after_write(self) -> None:
        """A first byte that left later than the log says would let the next call come too close.

        The log hears of it before the body is sent, which may take longer than a window.
        """
        if self.lateness_checked or self.token.sent_at is None:
            return
        self.lateness_checked = True
        late = time.monotonic() - self.token.sent_at
        if late > self.token.late_after_seconds:
            self.token.postpone(late)

    def remaining(self, timeout: float | None) -> float | None:
        if self.deadline is None:
            return timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the call's time is over")
        return left if timeout is None else min(timeout, left)


_call_in_flight: ContextVar[CallInFlight | None] = ContextVar("call_in_flight", default=None)


class Stream(httpcore.NetworkStream):
    """A connection that asks the present call before each byte."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self.inner = inner
        self.kept = False

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        call = _present_call()
        for start in range(0, len(buffer), PIECE_BYTES):
            call.before_write(self)
            self.inner.write(buffer[start : start + PIECE_BYTES], call.remaining(timeout))
            call.after_write()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.kept = True
        return self.inner.read(max_bytes, _present_call().remaining(timeout))

    def was_closed(self) -> bool:
        """By the provider, between two calls: there is nothing else to read then. A fresh connection may have TLS tickets."""
        return self.kept and bool(self.inner.get_extra_info("is_readable"))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return Stream(self.inner.start_tls(ssl_context, server_hostname, _present_call().to_connect()))

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self.inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        call = _present_call()
        tried = _lookups.ask(host, seconds=call.to_connect())[:MOST_TRIED]
        failure: Exception = httpcore.ConnectError("the name has no address")
        for number, address in enumerate(tried):
            share = call.to_connect() / (len(tried) - number)
            try:
                return Stream(self.inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self.response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self.response.iter_stream()

    def close(self) -> None:
        self.response.close()


class Transport(httpx.BaseTransport):
    """What `httpx.HTTPTransport` does, over a pool whose connections know when a call departs."""

    def __init__(self) -> None:
        self.pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(cafile=certifi.where()),
            max_connections=None,
            max_keepalive_connections=20,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=Backend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            response.status, headers=response.headers, stream=Body(response), extensions=response.extensions
        )

    def close(self) -> None:
        self.pool.close()


@dataclass(frozen=True, kw_only=True)
class ProviderClient:
    """The way out under one policy's time limits, in seconds.

    `connect`: for DNS, TCP and TLS together; `total`: from the first byte sent to the last one read. Within the total,
    `write` and `read` say how long the provider may take nothing in, and say nothing; without them, the total alone does.
    """

    connect_seconds: float
    total_seconds: float
    write_seconds: float | None = None
    read_seconds: float | None = None

    def send(self, request: httpx.Request, *, token: Token) -> Reply:
        """Makes the call at the token's instant. Raises `Unreachable`, `Lost`, `Garbled`, `TokenRefused`, `Unavailable`."""
        request.extensions["timeout"] = {"write": self.write_seconds, "read": self.read_seconds}
        # What comes compressed all the same is unpacked within the same bound.
        request.headers["Accept-Encoding"] = "identity"
        connect_until = time.monotonic() + self.connect_seconds
        call = CallInFlight(token=token, connect_until=connect_until, total_seconds=self.total_seconds)
        with _as_present_call(call), _failures_named(call):
            # Not through a client of httpx: it would take redirects to pieces, keep cookies and unpack.
            response = transport().handle_request(request)
            try:
                return Reply(status=response.status_code, headers=response.headers, content=_read(response))
            finally:
                response.close()


def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    try:
        for part in response.iter_raw():
            content += part
            if len(content) > MOST_BYTES:
                raise content_codings.TooLarge
        codings = response.headers.get("Content-Encoding", "")
        return content_codings.decoded(bytes(content), codings, most_bytes=MOST_BYTES)
    except content_codings.TooLarge:
        detail = "The provider's answer is larger than 10 MB."
        raise Garbled("answer_too_large", detail, status=response.status_code) from None


@contextmanager
def _as_present_call(call: CallInFlight) -> Iterator[None]:
    before = _call_in_flight.set(call)
    try:
        yield
    finally:
        _call_in_flight.reset(before)


@contextmanager
def _failures_named(call: CallInFlight) -> Iterator[None]:
    """Names what went wrong by what had left. The cause stays behind: its text could quote the request."""
    try:
        yield
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        httpx.HTTPError,
        OSError,
        UnicodeError,  # a host name that can be none
    ) as error:
        cause = type(error).__name__
        if call.first_byte_sent:
            raise Lost("outcome_unknown", f"The provider did not answer in full ({cause}).") from None
        raise Unreachable("unreachable", f"The provider could not be reached ({cause}); nothing was sent.") from None


def _present_call() -> CallInFlight:
    call = _call_in_flight.get()
    if call is None:
        raise RuntimeError("No byte leaves without a token.")
    return call


@cache
def transport() -> Transport:
    """One a process, so that connections are kept."""
    return Transport()
