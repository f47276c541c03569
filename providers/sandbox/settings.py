"""What the sandbox is told from outside: it has settings of its own, since it stands for machines that are not ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds. `calls` in any `window` are what each provider allows a key."""

    calls: int = 1
    window: float = 1.0
    latency: float = 0.3
    credits: Decimal = Decimal(1_000_000)
    public_url: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        return cls(
            calls=int(environ.get("SANDBOX_CALLS", 1)),
            window=float(environ.get("SANDBOX_WINDOW_MS", 1000)) / 1000,
            latency=float(environ.get("SANDBOX_LATENCY_MS", 300)) / 1000,
            credits=Decimal(environ.get("SANDBOX_CREDITS", 1_000_000)),
            public_url=environ.get("SANDBOX_PUBLIC_URL", ""),
        )
