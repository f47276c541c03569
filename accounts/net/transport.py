"""Bounds connections over httpcore's public network backend, for both ways out: `accounts.net.outbound` and `providers.http`.

httpx and httpcore know time limits for single operations only. What both ways out need beside that is here: one deadline for
many operations, bodies that are sent in pieces so that the deadline is looked at between them, and the time to connect shared
out among the addresses of a name.
"""

from __future__ import annotations

import ssl
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import certifi
import httpcore
import httpx

# Pieces of 64 KiB are handed to the kernel, so that the time is looked at while a slow server takes a body in.
PIECE_BYTES = 64 * 1024
# Is called with each address before it is connected to, and may raise in order to prevent that.
Admit = Callable[[str], None]
# The most addresses of a name that are tried. They share the time that there is.
MOST_TRIED = 4


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """The end of `seconds` from now, by the monotonic clock. `passed`: makes the error that says that it is over."""

    seconds: float
    passed: Callable[[], Exception]
    begun: float = field(default_factory=lambda: time.monotonic())

    def remaining(self, at_most: float | None = None) -> float:
        """Returns the seconds that remain, or `at_most` where that is less. Raises `passed()` where none remain."""
        remaining = self.begun + self.seconds - time.monotonic()
        if remaining <= 0:
            raise self.passed()
        return remaining if at_most is None else min(at_most, remaining)


@dataclass(eq=False)
class BoundedStream(httpcore.NetworkStream):
    """A connection that writes piece by piece. Subclasses say how long each operation may take."""

    inner: httpcore.NetworkStream

    @abstractmethod
    def write_piece(self, piece: bytes, timeout: float | None) -> None: ...

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE_BYTES):
            self.write_piece(buffer[start : start + PIECE_BYTES], timeout)

    def close(self) -> None:
        self.inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


class Connector(httpcore.NetworkBackend):
    """Connects to one of several addresses. Subclasses resolve the name, and wrap the stream."""

    inner = httpcore.SyncBackend()

    def connect_to_any(
        self, addresses: Sequence[str], port: int, deadline: Deadline, *, admit: Admit = lambda address: None
    ) -> httpcore.NetworkStream:
        """Tries the first `MOST_TRIED` addresses one after the other, each for its share of the time that remains.

        Raises the last `httpcore.ConnectError` or `httpcore.ConnectTimeout`, and what `admit` raises.
        """
        tried = addresses[:MOST_TRIED]
        failure: Exception = httpcore.ConnectError("the name has no address")
        for number, address in enumerate(tried):
            admit(address)
            share = deadline.remaining() / (len(tried) - number)
            try:
                return self.inner.connect_tcp(address, port, share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def to_httpcore(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


@cache
def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())
