"""The door to addresses that tenants give, which may point anywhere, into our own network too: picture URLs, webhooks.

Whatever an address is spelt like and whatever its name resolves to, what is checked is the very address that is connected
to: the check sits in the connection. One answer of DNS that is not public refuses them all. Nothing follows a redirect, asks
the environment for a proxy, keeps a cookie or a connection, or unpacks an answer, since there is no client that could: one
exchange is one connection, and its deadline holds from the question to DNS on. A tenant can learn here that a name exists in
our own DNS, and that it is not public; nothing more.

    OutboundFailure
    ├── BadAddress         no address that may be asked, by its spelling or its port
    ├── PrivateAddress     it leads into a network that is not public
    ├── Unresolved         DNS knows no such name, or cannot be asked
    ├── ConnectionRefused  nobody takes the connection
    ├── BadTLS             the certificate is not valid, or the server speaks no TLS
    ├── TimedOut           the time was over
    ├── Broken             the answer stops short, is no HTTP, or is more frame than content
    ├── AnswerTooLarge     the answer has more bytes than are taken
    ├── Redirected         3xx
    ├── BadStatus          any other status than the one wanted
    └── CompressedAnswer   compressed, though it was asked not to be
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import certifi
import httpcore
import httpx
from django.conf import settings

from accounts.net.dns import LookUp, LookUps, by_the_system

Address = IPv4Address | IPv6Address
# Is told of each checked address before it is connected to, and may raise in order to prevent it.
Admit = Callable[[str], None]

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_URL = 2048
LONGEST_HOST = 253
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Where the last label is such a number, resolvers read the whole as an IPv4 address of some old spelling.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Of the addresses that a name has, as many are tried; all are checked.
MOST_TRIED = 4
# A look-up that hangs holds a thread. More than are delivered or fetched at once: those that hang keep no other out.
LOOKUPS_AT_ONCE = 160
# No more is handed to the kernel at once, so that the deadline is looked at while a slow server takes a body in.
PIECE_BYTES = 64 * 1024
# Beside the body: a tenth of it for chunks' heads and ends, and this much for the answer's head and what is read ahead.
FRAME_BYTES = 256 * 1024

# All that IANA gives out for use between networks; what lies outside embeds IPv4 (mapped, compatible, translated, NAT64),
# or is local, multicast or reserved.
UNICAST_V6 = ip_network("2000::/3")
# Public to `is_global`, in one of the Pythons from 3.11 on at least.
NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata at .192
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a cloud's metadata, at an address that is public elsewhere
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)

_lookups = LookUps(at_once=LOOKUPS_AT_ONCE)


class OutboundFailure(Exception):
    """Why there is no good answer: `code`, and one sentence or two for the tenant who gave the address."""

    code: str

    def __init__(self, detail: str, *, code: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class BadAddress(OutboundFailure):
    code = "bad_address"


class PrivateAddress(OutboundFailure):
    code = "private_address"


class Unresolved(OutboundFailure):
    code = "dns_failed"


class ConnectionRefused(OutboundFailure):
    code = "connection_refused"


class BadTLS(OutboundFailure):
    code = "tls_failed"


class TimedOut(OutboundFailure):
    code = "timed_out"


class Broken(OutboundFailure):
    code = "broken_answer"


class AnswerTooLarge(OutboundFailure):
    code = "too_large"


class Redirected(OutboundFailure):
    code = "redirected"


class BadStatus(OutboundFailure):
    code = "bad_status"


class CompressedAnswer(OutboundFailure):
    code = "encoded"


@dataclass(frozen=True, kw_only=True)
class OutboundReply:
    """An answer of whatever status. `cut`: why `content` is not the whole of its body, if it is not."""

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
        """Seconds. Raises `TimedOut` where there are none."""
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
    """What was read, and how much of it was body: an answer in chunks of one byte costs far more time than its size tells."""

    read: int = 0
    body: int = 0

    def take(self, count: int) -> None:
        self.read += count
        if self.read > self.body * 1.1 + FRAME_BYTES:
            raise Broken(
                "The server sends little content in very many pieces, which is not taken; give another address."
            )


def parsed(url: str) -> httpx.URL:
    """The address, if it is one that may be asked as far as its spelling goes. Raises `BadAddress`."""
    if len(url) > LONGEST_URL:
        raise BadAddress(f"Has {len(url)} characters; give an address of at most {LONGEST_URL}.")
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise BadAddress("Not an address; give one such as https://example.com/a.jpg.") from None
    if parts.scheme not in ("http", "https"):
        raise BadAddress("Must begin with https:// or http://.")
    if parts.userinfo:
        raise BadAddress("Holds a user name or password (before the @), which is not sent; leave it out.")
    if parts.port is not None and not 0 < parts.port < 65536:
        raise BadAddress("The port must be from 1 to 65535.")
    _check_host(parts.raw_host.decode())
    return parts


def promising(url: str) -> httpx.URL:
    """A `parsed` address that can be asked as far as may be told before DNS is. Raises an `OutboundFailure`.

    Networks that are let through are let through on any port, and a name may lead there.
    """
    parts = parsed(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    literal = _literal(parts.raw_host.decode())
    if literal:
        _check(literal, port)
    elif not settings.OUTBOUND_ALLOW:
        _check_port(port)
    return parts


def target(url: httpx.URL) -> str:
    """Returns the host that a `parsed` address leads to, in one spelling, whatever the port."""
    host = url.raw_host.decode().lower()
    address = _literal(host)
    return str(getattr(address, "ipv4_mapped", None) or address or host)


def fetch(url: str, *, accept: str, most_bytes: int, seconds: float, look_up: LookUp = by_the_system) -> bytes:
    """What lies at the address, whole. `accept`: the media types that are wanted. Raises an `OutboundFailure`."""
    request = httpx.Request("GET", parsed(url), headers={"Accept": accept})
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
    """One exchange, once its head has come; of the body, what came in time and of `most_bytes`. Raises an `OutboundFailure`.

    The request's address must be a `parsed` one. What `admit` raises is passed on.
    """
    deadline = Deadline(seconds=seconds)
    request.headers["Accept-Encoding"] = "identity"
    request.headers["Connection"] = "close"
    request.headers.setdefault("User-Agent", "Sightline")
    intake = Intake()
    backend = Backend(deadline, intake, look_up, admit)
    with httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend) as connections:
        with _named(deadline):
            response = connections.handle_request(_raw(request))
        content, cut = _read(response, deadline, intake, most_bytes)
        return OutboundReply(status=response.status, headers=httpx.Headers(response.headers), content=content, cut=cut)


class Stream(httpcore.NetworkStream):
    """A connection that takes no longer than the exchange may; what httpcore is told to wait is passed over."""

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
    """Resolves, checks, and connects to what was checked: the host's name goes on as Host and as TLS name alone."""

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
        addresses = self.addresses(host)
        for address in addresses:
            _check(address, port)
        tried = addresses[:MOST_TRIED]
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

    def addresses(self, host: str) -> list[Address]:
        literal = _literal(host)
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


def is_public(address: Address) -> bool:
    """Whether it is one for use between networks, and embeds no other. Python's own `is_global` is but the beginning."""
    if isinstance(address, IPv6Address) and address not in UNICAST_V6:
        return False
    listed = any(address in network for network in NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not listed


def _check(address: Address, port: int) -> None:
    if any(address in network for network in settings.OUTBOUND_ALLOW):
        return
    _check_port(port)
    if not is_public(address):
        raise PrivateAddress("It leads to an address that is not public; give one that is open to the internet.")


def _check_port(port: int) -> None:
    if port not in settings.OUTBOUND_PORTS:
        ports = ", ".join(str(port) for port in settings.OUTBOUND_PORTS)
        raise BadAddress(f"Port {port} is not asked; give an address on port {ports}.", code="port_not_taken")


def _check_host(host: str) -> None:
    if _literal(host):
        return
    labels = host.lower().split(".")
    is_name = len(host) <= LONGEST_HOST and all(LABEL.fullmatch(label) for label in labels)
    if not is_name or NUMBER.fullmatch(labels[-1]):
        raise BadAddress("Its host is no name of a server; give one such as example.com, without a dot at its end.")


def _literal(host: str) -> Address | None:
    """An address in its usual spelling; with a zone, it would mean a network of ours."""
    try:
        return None if "%" in host else ip_address(host)
    except ValueError:
        return None


def _raw(request: httpx.Request) -> httpcore.Request:
    url = request.url
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    return httpcore.Request(request.method, target, headers=request.headers.raw, content=request.stream)


def _read(
    response: httpcore.Response, deadline: Deadline, intake: Intake, most_bytes: int
) -> tuple[bytes, OutboundFailure | None]:
    content = bytearray()
    try:
        with _named(deadline):
            for part in response.iter_stream():
                content += part
                intake.body = len(content)
                if len(content) > most_bytes:
                    raise AnswerTooLarge(f"The answer has more than {most_bytes:,} bytes, the most that is taken.")
    except OutboundFailure as failure:
        return bytes(content[:most_bytes]), failure
    return bytes(content), None


@contextmanager
def _named(deadline: Deadline) -> Iterator[None]:
    """Names what httpcore throws. The cause stays behind: its text could quote the request."""
    try:
        yield
    except httpcore.TimeoutException:
        raise deadline.passed() from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
        raise Broken("The server's answer is no HTTP, or stops before its end; try again, or another one.") from None


def _of_tls(error: BaseException | None) -> str:
    """What OpenSSL says of a certificate is of use to whoever keeps it."""
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
