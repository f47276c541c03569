"""The way out to addresses that tenants give (picture URLs, webhooks), which may point anywhere, into our own network too.

The check sits in the connection: the very address that is connected to is checked, however the URL is spelt and whatever its
name resolves to. One answer of DNS that is not public refuses them all. Nothing here follows a redirect, asks the environment
for a proxy, keeps a cookie or a connection, or unpacks an answer, because no client is used that could. One exchange is one
connection, whose deadline includes the question to DNS. A tenant can learn that a name exists in our own DNS and that it is not
public; nothing more.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

import certifi
import httpcore
import httpx

from accounts.net import addresses
from accounts.net.addresses import Address
from accounts.net.dns import LookUp, LookUps, by_the_system
from accounts.net.failures import (
    AnswerTooLarge,
    BadStatus,
    BadTLS,
    Broken,
    CompressedAnswer,
    ConnectionRefused,
    OutboundFailure,
    Redirected,
    TimedOut,
    Unresolved,
)

# Called with each checked address before it is connected to. May raise in order to prevent the connection.
Admit = Callable[[str], None]

# The addresses of one name that are tried. All are checked.
MOST_TRIED = 4
# A lookup that hangs holds a thread. More than are delivered or fetched at once, so that hanging lookups exclude no other.
LOOKUPS_AT_ONCE = 160
# The most that is handed to the kernel at once, so that the deadline is checked while a slow server reads a body.
PIECE_BYTES = 64 * 1024
# The bytes beside the body: a tenth of it for the heads and ends of chunks, and this much for the answer's head.
FRAME_BYTES = 256 * 1024

_lookups = LookUps(at_once=LOOKUPS_AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class OutboundReply:
    """An answer of any status. `cut`: why `content` is not the whole body, if it is not."""

    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)
    cut: OutboundFailure | None = None

    def expect(self, *statuses: int) -> None:
        """Raises `Redirected` or `BadStatus` on any other."""
        if self.status in statuses:
            return
        if 300 <= self.status < 400:
            raise Redirected(f"The server redirects ({self.status}), which is not followed; give the final address.")
        raise BadStatus(f"The server answers {_in_words(self.status)}; give an address that it answers with 200.")


@dataclass(frozen=True, kw_only=True)
class Deadline:
    seconds: float
    begun: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Returns the seconds that are left. Raises `TimedOut` if none are."""
        left = self.begun + self.seconds - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> TimedOut:
        return TimedOut(
            f"The server did not answer in full within {self.seconds:g} seconds; try again, or another one."
        )


@dataclass(kw_only=True)
class Intake:
    """Counts the bytes that were read, and those of the body. Chunks of one byte cost more time than their size tells."""

    read: int = 0
    body: int = 0

    def take(self, count: int) -> None:
        self.read += count
        if self.read > self.body * 1.1 + FRAME_BYTES:
            raise Broken(
                "The server sends little content in very many pieces, which is not taken; give another address."
            )


def fetch(url: str, *, accept: str, most_bytes: int, seconds: float, look_up: LookUp = by_the_system) -> bytes:
    """Returns the whole file at the address. `accept`: the media types that are wanted. Raises an `OutboundFailure`."""
    request = httpx.Request("GET", addresses.parse(url), headers={"Accept": accept})
    reply = send(request, most_bytes=most_bytes, seconds=seconds, look_up=look_up)
    reply.expect(200)
    if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise CompressedAnswer(
            "The server sends it compressed (Content-Encoding); give an address that sends the file as it is."
        )
    if reply.cut is not None:
        raise reply.cut
    return reply.content


def send(
    request: httpx.Request,
    *,
    most_bytes: int,
    seconds: float,
    look_up: LookUp = by_the_system,
    admit: Admit = lambda address: None,
) -> OutboundReply:
    """Makes one exchange, and cuts the body at the deadline and at `most_bytes`. Raises `OutboundFailure` or what `admit` does.

    The request's address must have been parsed by `addresses`.
    """
    deadline = Deadline(seconds=seconds)
    request.headers["Accept-Encoding"] = "identity"
    request.headers["Connection"] = "close"
    request.headers.setdefault("User-Agent", "Sightline")
    intake = Intake()
    backend = Backend(deadline, intake, look_up, admit)
    with httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as connections:
        with _errors_named(deadline):
            response = connections.handle_request(_raw(request))
        content, cut = _read(response, deadline, intake, most_bytes)
        return OutboundReply(status=response.status, headers=httpx.Headers(response.headers), content=content, cut=cut)


class Stream(httpcore.NetworkStream):
    """A connection that keeps the deadline of its exchange, instead of the time limits that httpcore passes."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline, intake: Intake) -> None:
        self.inner = inner
        self.deadline = deadline
        self.intake = intake

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        said = self.inner.read(max_bytes, self.deadline.left())
        self.intake.take(len(said))
        return said

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE_BYTES):
            self.inner.write(buffer[start : start + PIECE_BYTES], self.deadline.left())

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            inner = self.inner.start_tls(ssl_context, server_hostname, self.deadline.left())
        except httpcore.ConnectError as error:
            raise BadTLS(_of_tls(error.__cause__)) from None
        return Stream(inner, self.deadline, self.intake)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Resolves a host, checks its addresses, and connects to one of those. The host's name is used for Host and for TLS only."""

    def __init__(self, deadline: Deadline, intake: Intake, look_up: LookUp, admit: Admit) -> None:
        self.inner = httpcore.SyncBackend()
        self.deadline = deadline
        self.intake = intake
        self.look_up = look_up
        self.admit = admit

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        found = self.addresses_of(host)
        for address in found:
            addresses.check_ip(address, port)
        tried = found[:MOST_TRIED]
        for number, address in enumerate(tried):
            self.admit(str(address))
            share = self.deadline.left() / (len(tried) - number)
            try:
                return Stream(self.inner.connect_tcp(str(address), port, share), self.deadline, self.intake)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        self.deadline.left()
        raise ConnectionRefused(
            f"Nobody takes connections there on port {port}; check the address and that its server runs."
        )

    def addresses_of(self, host: str) -> list[Address]:
        literal = addresses.literal(host)
        return [literal] if literal else [ip_address(text) for text in self.looked_up(host)]

    def looked_up(self, host: str) -> Sequence[str]:
        try:
            return _lookups.ask(host, seconds=self.deadline.left(), look_up=self.look_up)
        except TimeoutError:
            raise self.deadline.passed() from None
        except (OSError, UnicodeError) as error:
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
                raise Unresolved(
                    "DNS does not say at the moment where the server is.", code="dns_unavailable"
                ) from None
            raise Unresolved("The server's name cannot be found (DNS); check its spelling.") from None

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def _raw(request: httpx.Request) -> httpcore.Request:
    url = request.url
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    return httpcore.Request(request.method, target, headers=request.headers.raw, content=request.stream)


def _read(
    response: httpcore.Response, deadline: Deadline, intake: Intake, most_bytes: int
) -> tuple[bytes, OutboundFailure | None]:
    content = bytearray()
    try:
        with _errors_named(deadline):
            for part in response.iter_stream():
                content += part
                intake.body = len(content)
                if len(content) > most_bytes:
                    raise AnswerTooLarge(f"The answer has more than {most_bytes:,} bytes, the most that is taken.")
    except OutboundFailure as failure:
        return bytes(content[:most_bytes]), failure
    return bytes(content), None


@contextmanager
def _errors_named(deadline: Deadline) -> Iterator[None]:
    """Turns errors of httpcore into failures, without their cause: its text could quote the request."""
    try:
        yield
    except httpcore.TimeoutException:
        raise deadline.passed() from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
        raise Broken("The server's answer is no HTTP, or stops before its end; try again, or another one.") from None


def _of_tls(error: BaseException | None) -> str:
    """Describes an error of TLS. OpenSSL's own words help the owner of a certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        return f"The server's certificate is not valid ({reason}); have it mended, or give another address."
    return "The server takes no TLS connection; check that it speaks https on this port."


def _in_words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())
