"""A provider of the bench's own: it answers as Modash does after a set time, and refuses every call that comes early. Asked as
KeyAPI or Memories are, it says that it found nothing, as they would.

`spacing` refuses a request that arrives closer than window/calls to the one before it, refused ones included;
`window` refuses one that would be more than `calls` in any window. The clock is the system's monotonic one, so that
arrivals compare with what other processes of this machine noted.

    POST /_set {"kind", "calls", "window_ms", "latency_ms", "hits"}     forgets what was
    GET  /_log → [[arrived at, key, accepted], …]
    GET  /_accepted → how many
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

PROFILE = {
    "profilePicture": "https://example.com/picture.jpg",
    "followersCount": 1000,
    "engagementRate": 0.01,
    "accountCategory": "Other",
    "matchedPosts": [],
    "recentPosts": [],
}
# Of so many that no lookup reaches the last of them.
TOTAL = 1_000_000
THROTTLED = {"error": True, "code": "too_many_requests", "message": "Rate limit exceeded"}
# What another provider says that found nothing, by what stands in its path.
NOTHING = {"/product/": {"code": 0, "message": "success", "data": []}, "similar_images": {"code": "0000", "data": []}}


class Limit:
    def __init__(
        self, *, kind: str = "window", calls: int = 1000, window_ms: int = 1000, latency_ms: int = 0, hits: int = 0
    ) -> None:
        self.kind = kind
        self.calls = calls
        self.window = window_ms / 1000
        self.latency = latency_ms / 1000
        self.hits = hits
        self.log: list[tuple[float, str, bool]] = []
        self.last = float("-inf")
        self.accepted: deque[float] = deque()
        self.count = 0

    def admit(self, arrived: float, key: str) -> bool:
        if self.kind == "spacing":
            admitted = arrived - self.last >= self.window / self.calls
        else:
            while self.accepted and arrived - self.accepted[0] >= self.window:
                self.accepted.popleft()
            admitted = len(self.accepted) < self.calls
        self.last = arrived
        if admitted:
            self.accepted.append(arrived)
            self.count += 1
        self.log.append((arrived, key, admitted))
        return admitted

    def found(self) -> dict[str, Any]:
        names = [f"creator-{self.count}-{number}" for number in range(self.hits)]
        profiles = [PROFILE | {"userId": name, "username": name, "fullName": name} for name in names]
        return {"error": False, "total": TOTAL if profiles else 0, "profiles": profiles}


class Connection(asyncio.Protocol):
    limit = Limit()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.begin()

    def begin(self) -> None:
        self.head = bytearray()
        self.arrived = 0.0
        self.body = bytearray()
        self.missing = -1

    def data_received(self, data: bytes) -> None:
        """Reads only the length of a search's body, because this process must be ready when the next request arrives."""
        self.arrived = self.arrived or time.monotonic()
        if self.missing < 0:
            self.head += data
            head, blank, data = bytes(self.head).partition(b"\r\n\r\n")
            if not blank:
                return
            lines = head.decode("latin-1").split("\r\n")
            self.path = lines[0].split(" ")[1]
            self.headers = {name.lower(): value.strip() for name, _, value in (at.partition(":") for at in lines[1:])}
            self.missing = int(self.headers.get("content-length", 0))
        self.missing -= len(data)
        if self.path == "/_set":
            self.body += data
        if self.missing <= 0:
            path, headers, body, arrived = self.path, self.headers, bytes(self.body), self.arrived
            self.begin()
            self.handle(path, headers, body, arrived)

    def handle(self, path: str, headers: dict[str, str], body: bytes, arrived: float) -> None:
        if path == "/_set":
            Connection.limit = Limit(**json.loads(body))
            self.answer(200, {})
        elif path == "/_log":
            self.answer(200, self.limit.log)
        elif path == "/_accepted":
            self.answer(200, self.limit.count)
        elif self.limit.admit(arrived, headers.get("authorization", "")[-12:]):
            said = next((nothing for part, nothing in NOTHING.items() if part in path), None) or self.limit.found()
            asyncio.get_running_loop().call_later(self.limit.latency, self.answer, 200, said)
        else:
            self.answer(429, THROTTLED)

    def answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        self.transport.write(head.encode() + content)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def come_first() -> None:
    """Raises the process' priority where it may, because a real provider has a machine of its own."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


if __name__ == "__main__":
    come_first()
    asyncio.run(serve())
