"""Makes the calls to providers: the one HTTP client. No call leaves without a token, by signature.

The connections are ours, over httpcore's public network backend, because httpx alone cannot say three things: whether a first
byte was sent (it reports a reset in mid-body and a stale kept connection alike); when the time of a whole connection (DNS,
every address, TLS) or of a whole call is over; and when the connection is ready, so that the token is redeemed just before
the first byte. Where nothing was sent, a call raises `Unreachable`, or the limiter's own `TokenRefused` and `Unavailable`.
Where anything was sent and no whole answer came, it raises `Lost`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial

import httpcore
import httpx

from accounts.net import transport
from accounts.net.dns import LookUps
from accounts.net.transport import Deadline
from providers import content_codings
from providers.failures import Garbled, Lost, Unreachable
from providers.limiter import Token, TokenRefused

MOST_BYTES = 10 * 1024 * 1024
KEPT_SECONDS = 30.0

# Separate from the look-ups of names that tenants give, so that none of theirs can hold up a call.
_lookups = LookUps(at_once=32)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A whole answer, of whatever status."""

    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)


@dataclass(kw_only=True)
class CallInFlight:
    """One call on its way: the time that it has to connect, whether its first byte was sent, and when it must be answered."""

    token: Token
    connecting: Deadline
    total_seconds: float
    first_byte_sent: bool = False
    lateness_checked: bool = False
    answering: Deadline | None = None

    def before_write(self, stream: ProviderStream) -> None:
        """Waits for the token's instant before the first byte. A kept connection may be closed meanwhile: then nothing is
        sent.
        """
        if not self.first_byte_sent:
            self.token.redeem()
            if stream.was_closed():
                self.token.sent_at = None
                raise TokenRefused
            self.first_byte_sent = True
            passed = partial(httpcore.ReadTimeout, "the call's time is over")
            self.answering = Deadline(seconds=self.total_seconds, passed=passed)

    def after_write(self) -> None:
        """Records in the lane's log that the first byte was sent late, because the next call would come too close otherwise.

        The record is made before the body is sent, which may take longer than a window.
        """
        if self.lateness_checked or self.token.sent_at is None:
            return
        self.lateness_checked = True
        late = time.monotonic() - self.token.sent_at
        if late > self.token.late_after_seconds:
            self.token.postpone(late)

    def remaining(self, timeout: float | None) -> float | None:
        """Returns how long one operation may take: as long as `timeout` and the call's deadline both allow."""
        return timeout if self.answering is None else self.answering.remaining(timeout)


_call_in_flight: ContextVar[CallInFlight | None] = ContextVar("call_in_flight", default=None)


class ProviderStream(transport.BoundedStream):
    """A connection that asks the present call before each byte. It is kept for later calls."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        super().__init__(inner)
        self.kept = False

    def write_piece(self, piece: bytes, timeout: float | None) -> None:
        call = _present_call()
        call.before_write(self)
        self.inner.write(piece, call.remaining(timeout))
        call.after_write()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.kept = True
        return self.inner.read(max_bytes, _present_call().remaining(timeout))

    def was_closed(self) -> bool:
        """Returns whether the provider closed the connection between two calls: nothing else makes it readable then. A fresh
        connection may be readable for TLS tickets.
        """
        return self.kept and bool(self.inner.get_extra_info("is_readable"))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = _present_call().connecting.remaining()
        return ProviderStream(self.inner.start_tls(ssl_context, server_hostname, seconds))


class ProviderConnector(transport.Connector):
    def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore.NetworkStream:
        connecting = _present_call().connecting
        addresses = _lookups.ask(host, seconds=connecting.remaining())
        return ProviderStream(self.connect_to_any(addresses, port, connecting))


@dataclass(frozen=True, kw_only=True)
class ProviderClient:
    """The HTTP client under one policy's time limits, in seconds.

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
        # An answer that comes compressed all the same is unpacked within the same bound.
        request.headers["Accept-Encoding"] = "identity"
        # Made before the time to connect begins: a process' first call loads the certificates, which takes a busy machine long.
        connections = shared_connections()
        passed = partial(httpcore.ConnectTimeout, "the time to connect is over")
        connecting = Deadline(seconds=self.connect_seconds, passed=passed)
        call = CallInFlight(token=token, connecting=connecting, total_seconds=self.total_seconds)
        with _in_flight(call):
            # No client of httpx: it would follow redirects, keep cookies and unpack.
            response = connections.handle_request(transport.to_httpcore(request))
            headers = httpx.Headers(response.headers)
            try:
                return Reply(status=response.status, headers=headers, content=_read(response, headers))
            finally:
                response.close()


def _read(response: httpcore.Response, headers: httpx.Headers) -> bytes:
    content = bytearray()
    try:
        for part in response.iter_stream():
            content += part
            if len(content) > MOST_BYTES:
                raise content_codings.UnpackedTooLarge
        codings = headers.get("Content-Encoding", "")
        return content_codings.decoded(bytes(content), codings, most_bytes=MOST_BYTES)
    except content_codings.UnpackedTooLarge:
        detail = "The provider's answer is larger than 10 MB."
        raise Garbled("answer_too_large", detail, status=response.status) from None


@contextmanager
def _in_flight(call: CallInFlight) -> Iterator[None]:
    """Makes this the present call of its connections.

    Raises `Lost` or `Unreachable` for what httpcore raises, by whether the first byte was sent. The cause is dropped: its text
    could quote the request.
    """
    before = _call_in_flight.set(call)
    try:
        yield
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        OSError,
        UnicodeError,  # a host name that can be none
    ) as error:
        cause = type(error).__name__
        if call.first_byte_sent:
            raise Lost("outcome_unknown", f"The provider did not answer in full ({cause}).") from None
        raise Unreachable("unreachable", f"The provider could not be reached ({cause}); nothing was sent.") from None
    finally:
        _call_in_flight.reset(before)


def _present_call() -> CallInFlight:
    call = _call_in_flight.get()
    if call is None:
        raise RuntimeError("No byte leaves without a token.")
    return call


@cache
def shared_connections() -> httpcore.ConnectionPool:
    """Returns the connections of this process, which are kept between calls."""
    return httpcore.ConnectionPool(
        ssl_context=transport.tls_context(),
        max_connections=None,
        max_keepalive_connections=20,
        keepalive_expiry=KEPT_SECONDS,
        network_backend=ProviderConnector(),
    )
