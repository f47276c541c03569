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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address

import httpcore
import httpx

from accounts.net import public_addresses, transport
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
from accounts.net.public_addresses import Address
from accounts.net.transport import Admit, Deadline, tls_context, to_httpcore

# A lookup that hangs holds a thread. More than are delivered or fetched at once, so that hanging lookups exclude no other.
LOOKUPS_AT_ONCE = 160
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

    @property
    def in_words(self) -> str:
        """Returns the status with its phrase, if it has one."""
        return f"{self.status} {httpx.codes.get_reason_phrase(self.status)}".rstrip()

    def expect(self, *statuses: int) -> None:
        """Raises `Redirected` or `BadStatus` on any other."""
        if self.status in statuses:
            return
        if 300 <= self.status < 400:
            raise Redirected(f"The server redirects ({self.status}), which is not followed; give the final address.")
        raise BadStatus(f"The server answers {self.in_words}; give an address that it answers with 200.")


@dataclass(kw_only=True)
class Intake:
    """Counts the bytes that were read, and those of the body. Chunks of one byte cost more time than their size suggests."""

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
    request = httpx.Request("GET", public_addresses.parse(url), headers={"Accept": accept})
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

    The request's address must have been parsed by `public_addresses`.
    """
    # The first call of a process reads all certificates, which is no time of the server's.
    context = tls_context()
    detail = f"The server did not answer in full within {seconds:g} seconds; try again, or another one."
    deadline = Deadline(seconds=seconds, passed=partial(TimedOut, detail))
    request.headers["Accept-Encoding"] = "identity"
    request.headers["Connection"] = "close"
    request.headers.setdefault("User-Agent", "Sightline")
    intake = Intake()
    connector = OutboundConnector(deadline=deadline, intake=intake, look_up=look_up, admit=admit)
    with httpcore.ConnectionPool(ssl_context=context, network_backend=connector) as connections:
        with _errors_named(deadline):
            response = connections.handle_request(to_httpcore(request))
        content, cut = _read(response, deadline, intake, most_bytes)
        return OutboundReply(status=response.status, headers=httpx.Headers(response.headers), content=content, cut=cut)


@dataclass(eq=False)
class OutboundStream(transport.BoundedStream):
    """A connection that keeps the deadline of its exchange, instead of the time limits that httpcore passes."""

    deadline: Deadline
    intake: Intake

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        content = self.inner.read(max_bytes, self.deadline.remaining())
        self.intake.take(len(content))
        return content

    def write_piece(self, piece: bytes, timeout: float | None) -> None:
        self.inner.write(piece, self.deadline.remaining())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            inner = self.inner.start_tls(ssl_context, server_hostname, self.deadline.remaining())
        except httpcore.ConnectError as error:
            raise BadTLS(_of_tls(error.__cause__)) from None
        return OutboundStream(inner, self.deadline, self.intake)


@dataclass(frozen=True, kw_only=True)
class OutboundConnector(transport.Connector):
    """Resolves a host, checks its addresses, and connects to one of those. The host's name is used for Host and for TLS only."""

    deadline: Deadline
    intake: Intake
    look_up: LookUp
    admit: Admit

    def connect_tcp(self, host: str, port: int, *_: object, **__: object) -> httpcore.NetworkStream:
        found = self.addresses_of(host)
        for address in found:
            public_addresses.check_ip(address, port)
        try:
            inner = self.connect_to_any([str(address) for address in found], port, self.deadline, admit=self.admit)
        except (httpcore.ConnectError, httpcore.ConnectTimeout):
            self.deadline.remaining()
            raise ConnectionRefused(
                f"The server accepts no connection on port {port}; check the address and that its server runs."
            ) from None
        return OutboundStream(inner, self.deadline, self.intake)

    def addresses_of(self, host: str) -> list[Address]:
        literal = public_addresses.literal(host)
        return [literal] if literal else [ip_address(text) for text in self.looked_up(host)]

    def looked_up(self, host: str) -> Sequence[str]:
        try:
            return _lookups.ask(host, seconds=self.deadline.remaining(), look_up=self.look_up)
        except TimeoutError:
            raise self.deadline.passed() from None
        except (OSError, UnicodeError) as error:
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
                raise Unresolved(
                    "DNS does not say at the moment where the server is.", code="dns_unavailable"
                ) from None
            raise Unresolved("The server's name cannot be found (DNS); check its spelling.") from None


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
