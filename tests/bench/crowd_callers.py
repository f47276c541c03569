"""Plays the callers of `tests.bench.crowds`, in a process of its own.

The quiet tenant sends at a steady rate, whatever the answers take, and writes a line for each. A crowd sends all it can until it
is ended, and writes how often each status came.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.picture import jpeg

GREEDY_THREADS = "200 greedy threads"
GETS_A_SECOND, POSTS_A_SECOND = 20, 4
# A quiet answer takes a few hundredths of a second. One that takes longer than this counts as this.
PATIENCE_SECONDS = 10.0
GREEDY, WAITING, SLOW, HUGE, GUESSING = 200, 1000, 1000, 4, 64
# The proxy counts the connections of an address; a crowd has many.
ADDRESSES = 32
HUGE_BYTES = 2 * 1024**3
BLOCK = bytes(65_536)
BROKEN = (OSError, asyncio.IncompleteReadError, ValueError, IndexError)
ORDER = b'{"lookups": [{"source": "tiktok-creators"}]}'


@dataclass
class Caller:
    host: str
    port: int
    key: str
    search: str
    revoked_key: str
    statuses: Counter[str] = field(default_factory=Counter)

    def head(self, line: str, *headers: str, key: str | None = None, number: int = 0) -> bytes:
        address = f"X-Forwarded-For: 198.51.100.{1 + number % ADDRESSES}"
        bearer = f"Authorization: Bearer {self.key if key is None else key}"
        return "\r\n".join((f"{line} HTTP/1.1", "Host: 127.0.0.1", bearer, address, *headers, "", "")).encode()

    def picture(self, number: int, *headers: str) -> bytes:
        """Returns the request of a search with a picture that no other request has."""
        content = jpeg() + number.to_bytes(8, "big")
        parts = (
            b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n' + ORDER,
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="mug.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
            + content,
            b"--b--\r\n",
        )
        body = b"\r\n".join(parts)
        told = ("Content-Type: multipart/form-data; boundary=b", f"Content-Length: {len(body)}", *headers)
        return self.head("POST /v1/searches", *told, number=number) + body

    async def once(self, request: bytes) -> int:
        """Returns the status of a request on a connection of its own."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(request)
            answer = await reader.read(-1)
            return int(answer.split(b" ", 2)[1])
        finally:
            writer.close()

    async def forever(self, session: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]) -> None:
        """Runs sessions on one connection after another, and counts how they end."""
        while True:
            ended = "no connection"
            with suppress(*BROKEN):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                ended = "closed without an answer"
                try:
                    ended = await session(reader, writer)
                finally:
                    writer.close()
            self.statuses[ended] += 1
            await asyncio.sleep(0.1)


async def status(reader: asyncio.StreamReader) -> int:
    """Reads one answer that has a length."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    await reader.readexactly(int(lengths[0]) if lengths else 0)
    return int(head.split(b" ", 2)[1])


async def quiet(caller: Caller, log: Path) -> None:
    get = caller.head(f"GET /v1/searches/{caller.search}", "Connection: close")
    jpeg()  # takes a moment the first time
    with log.open("w", buffering=1) as lines:
        begun = time.monotonic()

        async def ask(kind: str, request: bytes, due: float) -> None:
            await asyncio.sleep(due - time.monotonic())
            code = 0
            with suppress(TimeoutError, *BROKEN):
                code = await asyncio.wait_for(caller.once(request), PATIENCE_SECONDS)
            lines.write(f"{due} {kind} {min(time.monotonic() - due, PATIENCE_SECONDS)} {code}\n")

        asking = set()
        every = GETS_A_SECOND // POSTS_A_SECOND
        for number in itertools.count():
            due = begun + number / GETS_A_SECOND
            asks = [ask("GET", get, due)]
            if number % every == 0:
                # Between two GETs.
                asks.append(ask("POST", caller.picture(number, "Connection: close"), due + 0.5 / GETS_A_SECOND))
            for each in asks:
                asking.add(task := asyncio.create_task(each))
                task.add_done_callback(asking.discard)
            await asyncio.sleep(due + 1 / GETS_A_SECOND - time.monotonic())


async def greedy(caller: Caller, number: int) -> None:
    """Reads, and submits a picture at each fourth request, without a pause."""
    turns = itertools.count(number * 1_000_000)

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        for turn in turns:
            get = caller.head(f"GET /v1/searches/{caller.search}", number=number)
            writer.write(get if turn % 4 else caller.picture(turn))
            caller.statuses[str(await status(reader))] += 1
        return ""

    await caller.forever(session)


async def guessing(caller: Caller, number: int) -> None:
    """Sends a key of the right form, which nobody has, without a pause."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        while True:
            writer.write(caller.head("GET /v1/searches", key=caller.revoked_key, number=number))
            caller.statuses[str(await status(reader))] += 1

    await caller.forever(session)


async def waiting(caller: Caller, number: int) -> None:
    """Waits for a search that does not end, and asks again a second after an answer."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        while True:
            writer.write(caller.head(f"GET /v1/searches/{caller.search}", "Prefer: wait=30", number=number))
            caller.statuses[str(await status(reader))] += 1
            await asyncio.sleep(1)

    await asyncio.sleep(number / WAITING)
    await caller.forever(session)


async def slow(caller: Caller, number: int) -> None:
    """Sends one byte a second."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        told = ("Content-Type: application/json", "Content-Length: 1000")
        writer.write(caller.head("POST /v1/searches", *told, number=number) + b"{")
        answer = asyncio.create_task(status(reader))
        while not answer.done():
            await asyncio.wait([answer], timeout=1)
            writer.write(b" ")
        return str(answer.result())

    await caller.forever(session)


async def huge(caller: Caller, number: int, *, chunks: bool) -> None:
    """Sends two gigabytes, announced or in chunks, until it is stopped."""
    length = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {HUGE_BYTES}"
    block = b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if chunks else BLOCK

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        told = ("Content-Type: multipart/form-data; boundary=b", length)
        writer.write(caller.head("POST /v1/images", *told, number=number))
        answer = asyncio.create_task(status(reader))
        for _ in range(HUGE_BYTES // len(BLOCK)):
            if answer.done():
                break
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(0)
        return str(await answer)

    await caller.forever(session)


CROWDS: dict[str, tuple[int, Callable[[Caller, int], Awaitable[None]]]] = {
    "a 2 GB body, announced": (HUGE, lambda caller, number: huge(caller, number, chunks=False)),
    "a 2 GB body in chunks": (HUGE, lambda caller, number: huge(caller, number, chunks=True)),
    "1,000 slow bodies": (SLOW, slow),
    GREEDY_THREADS: (GREEDY, greedy),
    "1,000 waiting requests": (WAITING, waiting),
    "64 threads with wrong keys": (GUESSING, guessing),
}


async def crowd(name: str, caller: Caller, log: Path) -> None:
    count, member = CROWDS[name]
    tasks = [asyncio.ensure_future(member(caller, number)) for number in range(count)]
    while True:
        written = log.with_suffix(".new")
        written.write_text(json.dumps(caller.statuses))
        written.replace(log)
        await asyncio.wait(tasks, timeout=0.5, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()


def favoured(nice: int) -> None:
    """Sets the priority of this process. Where Linux groups processes by session, that of the group counts."""
    with suppress(PermissionError):
        os.nice(nice)
        if (group := Path("/proc/self/autogroup")).exists():
            group.write_text(str(nice))


def main(name: str, log: str, host: str, port: str, key: str, search: str, revoked_key: str) -> None:
    caller = Caller(host, int(port), key, search, revoked_key)
    if name == "quiet":
        # It measures, so it must not wait for the processor itself.
        favoured(-10)
        asyncio.run(quiet(caller, Path(log)))
    else:
        # A crowd has machines of its own in reality.
        favoured(19)
        asyncio.run(crowd(name, caller, Path(log)))


if __name__ == "__main__":
    main(*sys.argv[1:])
