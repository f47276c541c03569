"""A receiver of webhooks for the bench: cheap, so that what is measured is the sending.

POST /quick → 204        POST /hang → 204 after 20 s        POST /third → 500 every third time
GET  /_log → [[path, webhook-id, arrived at], …] by the system's clock, and forgets it
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

HANG_SECONDS = 20.0
log: list[tuple[str, str, float]] = []
thirds = 0


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        arrived = time.time()
        method, path, _ = head.split(" ", 2)
        await reader.readexactly(_number(head, "content-length"))
        status, body = await _answer(method, path, _value(head, "webhook-id"), arrived)
        writer.write(f"HTTP/1.1 {status} .\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
    writer.close()


async def _answer(method: str, path: str, id: str, arrived: float) -> tuple[int, bytes]:
    global thirds
    if method == "get":
        said = json.dumps(log).encode()
        log.clear()
        return 200, said
    log.append((path, id, arrived))
    if path == "/hang":
        await asyncio.sleep(HANG_SECONDS)
    if path == "/third":
        thirds += 1
        return (500, b"") if thirds % 3 == 0 else (204, b"")
    return 204, b""


def _value(head: str, name: str) -> str:
    return head.partition(f"{name}: ")[2].partition("\r\n")[0]


def _number(head: str, name: str) -> int:
    return int(_value(head, name) or 0)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
