"""What the sandbox is told from outside: it has settings of its own, since it stands for machines that are not ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds. `calls` in any `window` are what each provider allows a key; `slow` and `hang` are what magic
    credentials take for an answer: longer than usual, and longer than anybody waits.
    """

    calls: int = 1
    window: float = 1.0
    latency: float = 0.3
    slow: float = 4.0
    hang: float = 35.0
    credits: Decimal = Decimal(1_000_000)
    public_url: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        return cls(
            calls=int(environ.get("SANDBOX_CALLS", 1)),
            window=_seconds(environ, "SANDBOX_WINDOW_MS", 1000),
            latency=_seconds(environ, "SANDBOX_LATENCY_MS", 300),
            slow=_seconds(environ, "SANDBOX_SLOW_MS", 4000),
            hang=_seconds(environ, "SANDBOX_HANG_MS", 35_000),
            credits=Decimal(environ.get("SANDBOX_CREDITS", 1_000_000)),
            public_url=environ.get("SANDBOX_PUBLIC_URL", ""),
        )


def _seconds(environ: Mapping[str, str], name: str, milliseconds: float) -> float:
    return float(environ.get(name, milliseconds)) / 1000
