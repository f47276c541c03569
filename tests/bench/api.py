"""Requests a second of the API, beside a bare DRF application with the same reads and writes (`tests.bench.bare`), in turns.

Both are run by granian with the same options, over the same PostgreSQL. Beside requests a second, which the callers' own work
on the same cores brings closer to each other, the processor time of servers, decoders, PostgreSQL and Valkey is compared.
"""

from __future__ import annotations

import base64
import itertools
import json
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from accounts import keys
from accounts.models import Mode, Tenant
from providers import registry
from providers.keyring import credentials
from searches.models import Search
from tests.bench import limits, system
from tests.bench.limits import prepare, wait_until
from tests.bench.picture import jpeg
from tests.bench.system import Provider
from tests.bench.tenants import SOURCE, Submitter

CALLERS = 4
ROUNDS, SECONDS, WARMING_SECONDS = 12, 1.5, 3.0
# Waiting lookups of other tenants, ahead of the open search.
AHEAD = 100
BOUNDARY = "picture-and-order"
# Asks the provider in any case: pictures that differ in bytes alone would follow each other.
ORDER = json.dumps({"lookups": [{"source": SOURCE}], "max_age": 0})
PICTURES = 40
# A JPEG's first table: marker, length and number, and then 64 divisors, of which the last two make each picture sent another one.
TABLE, TABLE_BYTES = b"\xff\xdb\x00\x43\x00", 64
NUMBERS = itertools.count()

Requests = Iterator[bytes]


@dataclass
class Server:
    """A server that is measured. `rates` and `costs`: requests a second, and milliseconds of processor time a request."""

    name: str
    process: subprocess.Popen[str]
    address: tuple[str, int]
    secret: str
    rates: list[float] = field(default_factory=list)
    costs: list[dict[str, float]] = field(default_factory=list)

    def cost(self) -> dict[str, float]:
        """Returns the median of each part's processor time a request, in milliseconds."""
        return {part: statistics.median(cost[part] for cost in self.costs) for part in self.costs[0]}


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    prepare(provider, limits.OUT_OF_THE_WAY, latency_ms=0, hits=15)
    # A tenant each, so that what one of them wrote is no backlog of the other's.
    secret, other_secret = _tenant("ours"), _tenant("bare")
    with (
        system.web(folder) as (web, url),
        system.web(folder, application="tests.bench.bare.wsgi:application") as (bare, bare_url),
    ):
        # Makes the rows that the bare application counts in: the tenant's queues, its accounts and its stored pictures.
        _search(url, other_secret)
        for name, (requests, status, needed) in _sent(folder, url, secret).items():
            if not words or any(word in name for word in words):
                ours = Server("ours", web, _address(url), secret)
                other = Server("bare", bare, _address(bare_url), other_secret)
                _in_turns((ours, other), requests, status)
                _say(name, ours, other, needed)


def _tenant(name: str) -> str:
    """Returns the secret of an API key of a tenant that can search all sources."""
    tenant = Tenant.objects.create(name=name)
    for provider in ("modash", "keyapi", "memories"):
        credentials.store(tenant, provider, f"secret-of-{name}")
    return keys.issue(tenant, Mode.LIVE)[1]


def _sent(folder: Path, url: str, secret: str) -> dict[str, tuple[Callable[[str], Requests], int, float]]:
    """Returns what is measured: the requests, the status of their answers, and the share of the bare rate that is needed."""
    with system.workers(folder, count=1, processes=4):
        ended = _search(url, secret)
        wait_until(lambda: Search.objects.filter(pk=ended, finished_at__isnull=False).exists(), seconds=60)
    Submitter("ahead").submit_many(AHEAD)
    waiting = _search(url, secret)
    for number in range(PICTURES):
        # Made before the measurement, because making them uses the same two processors.
        jpeg(number)
    return {
        "GET an ended search of 4 lookups": (lambda _: _gets(secret, ended), 200, 0.6),
        "GET an open search of 4 lookups in a line": (lambda _: _gets(secret, waiting), 200, 0.6),
        f"POST a JPEG of {len(jpeg()) // 1000} kB, one lookup": (_posts, 202, 0.4),
    }


def _search(url: str, secret: str) -> str:
    """Returns the id of a search that asks all sources."""
    order = {
        "image": {"base64": base64.b64encode(jpeg()).decode()},
        "lookups": [{"source": source} for source in sorted(registry.ADAPTERS)],
        "max_age": 0,
    }
    headers = {"Authorization": f"Bearer {secret}"}
    answer = httpx.post(f"{url}/v1/searches", json=order, headers=headers, trust_env=False, timeout=30)
    return str(answer.raise_for_status().json()["id"])


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def _gets(secret: str, search: str) -> Requests:
    head = f"GET /v1/searches/{search} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"
    return itertools.repeat(head.encode())


def _posts(secret: str) -> Requests:
    """Yields requests with another picture each."""
    while True:
        yield _form(secret, _another_picture())


def _another_picture() -> bytes:
    number = next(NUMBERS)
    picture = jpeg(number % PICTURES)
    end = picture.index(TABLE) + len(TABLE) + TABLE_BYTES
    divisors = number // PICTURES % 255 + 1, number // PICTURES // 255 % 255 + 1
    return picture[: end - 2] + bytes(divisors) + picture[end:]


def _form(secret: str, picture: bytes) -> bytes:
    parts = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="request"\r\n\r\n{ORDER}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="picture.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body = b"".join((parts, picture, f"\r\n--{BOUNDARY}--\r\n".encode()))
    head = (
        f"POST /v1/searches HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _in_turns(servers: Sequence[Server], requests: Callable[[str], Requests], status: int) -> None:
    for server in servers:
        _slice(server, requests, status, WARMING_SECONDS)
        server.rates.clear()
        server.costs.clear()
    for turn in range(ROUNDS):
        for server in servers if turn % 2 else reversed(servers):
            _slice(server, requests, status, SECONDS)


def _slice(server: Server, requests: Callable[[str], Requests], status: int, seconds: float) -> None:
    before, began = _cpu_seconds(server), time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        turns = [
            pool.submit(_call, server.address, requests(server.secret), status, began + seconds) for _ in range(CALLERS)
        ]
        count = sum(turn.result() for turn in turns)
    server.rates.append(count / (time.monotonic() - began))
    after = _cpu_seconds(server)
    server.costs.append({part: 1000 * (after[part] - before[part]) / count for part in after})


def _cpu_seconds(server: Server) -> dict[str, float]:
    """Returns the processor time so far. `server`: with the decoders that it started."""
    return {
        "server": system.cpu_seconds([server.process]),
        "PostgreSQL": system.postgres_seconds(),
        "Valkey": system.valkey_seconds(),
    }


def _call(address: tuple[str, int], requests: Requests, status: int, until: float) -> int:
    """Sends requests one after the other over one connection, and returns how many were answered."""
    expected, count = f"HTTP/1.1 {status}".encode(), 0
    with closing(socket.create_connection(address, timeout=30)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            if time.monotonic() > until:
                break
            connection.sendall(request)
            answer = _answer(connection)
            if not answer.startswith(expected):
                raise SystemExit(answer.decode())
            count += 1
    return count


def _answer(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _piece(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += _piece(connection)
    return head + b"\r\n\r\n" + body


def _piece(connection: socket.socket) -> bytes:
    piece = connection.recv(65_536)
    if not piece:
        raise SystemExit("The server closed the connection.")
    return piece


def _say(name: str, ours: Server, bare: Server, needed: float) -> None:
    print(f"\n{name}, {CALLERS} callers, {ROUNDS} turns of {SECONDS:g} s each")
    for server in (ours, bare):
        rate, least, most = statistics.median(server.rates), min(server.rates), max(server.rates)
        cost = ", ".join(f"{part} {ms:.2f}" for part, ms in server.cost().items())
        print(f"{server.name}: {rate:.0f} a second, {least:.0f} to {most:.0f}; ms of processor time each: {cost}")
    shares = sorted(own / other for own, other in zip(ours.rates, bare.rates, strict=True))
    costs = sum(bare.cost().values()) / sum(ours.cost().values())
    print(
        f"share: {statistics.median(shares):.0%} of the requests a second, {shares[0]:.0%} to {shares[-1]:.0%} (needed: "
        f"{needed:.0%}); {costs:.0%} by processor time",
        flush=True,
    )
