"""Makes lanes of a test's own in the real Redis, and reads their logs, whose instants prove the limit."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

import redis
from django.conf import settings

from providers.limiter import LaneLimiter, Rate, SendOutcome, Token, Waiter


def a_rate(calls: int = 1, window_ms: float = 20, guard_ms: float = 0) -> Rate:
    return Rate(calls=calls, window_us=int(window_ms * 1000), guard_us=int(guard_ms * 1000))


def any_token() -> Token:
    """Returns a token for a test that is not about lanes."""
    return LoggedLane(a_rate(window_ms=1)).token()


@dataclass(frozen=True)
class LoggedLane:
    """A lane whose log began long ago for Redis, unless it is `new`."""

    rate: Rate = field(default_factory=a_rate)
    max_in_flight: int = 100
    new: bool = False
    name: str = field(default_factory=lambda: f"test:{uuid4()}")
    broker_queue: str = field(default_factory=lambda: f"test:messages:{uuid4()}")

    def __post_init__(self) -> None:
        if not self.new:
            self.pause(0)
            self.set(log_began=0, next_free=0, closed_until=0)

    @cached_property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)

    @property
    def limiter(self) -> LaneLimiter:
        return LaneLimiter(lane=self.name, rate=self.rate, max_in_flight=self.max_in_flight)

    def waiter(self, name: str = "") -> Waiter:
        return self.limiter.waiter(name or str(uuid4()), broker_queue=self.broker_queue)

    def token(self, call: str = "", *, seconds: float = 60) -> Token:
        """Returns the token of a worker whose call is in flight."""
        waiter = self.waiter()
        waiter.start(seconds=seconds)
        return Token(waiter=waiter, call=call or str(uuid4()))

    def under(self, rate: Rate) -> LoggedLane:
        """Returns this lane after an operator changed its policy."""
        return replace(self, rate=rate, new=True)

    def pause(self, seconds: float) -> None:
        self.limiter.pause(seconds=seconds)

    def revoke(self, call: str, *, age_seconds: float = 0) -> SendOutcome:
        return self.limiter.revoke(call, age_seconds=age_seconds)

    def now(self) -> int:
        """Returns the instant by the clock of Redis, in microseconds."""
        seconds, microseconds = self.redis.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    def log(self) -> dict[str, int]:
        """Returns when each call left."""
        entries = cast("list[tuple[str, float]]", self.redis.zrange(self.key("log"), 0, -1, withscores=True))
        return {call: int(instant) for call, instant in entries}

    def instants(self) -> list[int]:
        return sorted(self.log().values())

    def get(self, name: str) -> int:
        return int(self.redis.hget(self.key(), name) or 0)

    def set(self, **values: str | int) -> None:
        for name, value in values.items():
            self.redis.hset(self.key(), name, value)

    def flush(self) -> None:
        """Lets Redis forget the lane."""
        self.redis.delete(self.key(), *(self.key(part) for part in ("log", "revoked")))

    def key(self, part: str = "") -> str:
        return f"lane:{{{self.name}}}{part and f':{part}'}"


@contextmanager
def slow_answers(url: str, *, seconds: float) -> Iterator[str]:
    """Returns the address of a Redis whose answers take so long."""
    there = urlsplit(url)
    callers: list[socket.socket] = []

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            callers.append(self.request)
            with socket.create_connection((there.hostname, there.port)) as redis:
                answers = Thread(target=self.carry, args=(redis, self.request, seconds))
                answers.start()
                self.carry(self.request, redis, 0)
                redis.shutdown(socket.SHUT_RDWR)
                answers.join()

        def carry(self, source: socket.socket, target: socket.socket, delay: float) -> None:
            while content := source.recv(65536):
                time.sleep(delay)
                target.sendall(content)

    with ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield there._replace(netloc=f":{there.password}@127.0.0.1:{server.server_address[1]}").geturl()
        server.shutdown()
        for caller in callers:
            caller.shutdown(socket.SHUT_RDWR)
        thread.join()
