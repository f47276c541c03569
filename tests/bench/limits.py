"""Sets a server's limit and the policy that meets it, on the empty servers that each measurement begins with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from django.conf import settings
from django.core.management import call_command

from providers import policies, registry
from providers.models import Policy
from tests.bench.system import Provider

# More than any setting has under way, so that the rate alone bounds the calls, also while those of a killed worker still count.
MAX_IN_FLIGHT = 64


@dataclass(frozen=True, kw_only=True)
class Limit:
    """`spacing`: no two calls closer than the window; `window`: no more than `calls` in any window."""

    kind: str
    calls: int
    window_ms: int
    guard_ms: str

    def __str__(self) -> str:
        return f"{self.rate:g}/s {self.kind}"

    @property
    def rate(self) -> float:
        return self.calls * 1000 / self.window_ms

    @property
    def slot_seconds(self) -> float:
        """Returns the seconds between two calls at the policy's pace, which is the server's and its guard."""
        return (self.window_ms + float(self.guard_ms)) / self.calls / 1000


ONE = Limit(kind="spacing", calls=1, window_ms=1000, guard_ms="3")
TEN = Limit(kind="window", calls=10, window_ms=1000, guard_ms="3")
# With 3 ms one in 5,000 calls was refused on two busy cores, 0.02 ms early.
TWENTY = Limit(kind="window", calls=20, window_ms=1000, guard_ms="3.5")
TWENTY_SPACED = Limit(kind="spacing", calls=1, window_ms=50, guard_ms="1")
FIFTY = Limit(kind="window", calls=50, window_ms=1000, guard_ms="3.5")
OUT_OF_THE_WAY = Limit(kind="window", calls=10_000, window_ms=1000, guard_ms="0")


def prepare(provider: Provider, limit: Limit, *, latency_ms: int, hits: int = 0) -> None:
    """Empties the servers, and sets the provider's limit and the policy that meets it. `hits`: how many each answer has."""
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    call_command("flush", interactive=False, verbosity=0)
    provider.set(kind=limit.kind, calls=limit.calls, window_ms=limit.window_ms, latency_ms=latency_ms, hits=hits)
    for name in {adapter.provider for adapter in registry.ADAPTERS.values()}:
        policies.of(name)
    Policy.objects.update(
        calls=limit.calls, window_ms=limit.window_ms, guard_ms=limit.guard_ms, max_in_flight=MAX_IN_FLIGHT
    )


def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("What was waited for did not come; the logs are in .local/bench/logs.")
        time.sleep(0.05)
