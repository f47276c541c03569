"""What the sandbox is told from outside: it has settings of its own, since it stands for machines that are not ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds. `calls` in any `window` are what every provider allows a key, where not what its document says, and
    all keys together where they are of `one_account`; `slow` and `hang` are what magic credentials take for an answer:
    longer than usual, and longer than anybody waits.
    """

    calls: int | None = None
    window: float | None = None
    one_account: bool = False
    latency: float = 0.3
    slow: float = 4.0
    hang: float = 35.0
    credits: Decimal = Decimal(1_000_000)
    public_url: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        return cls(
            calls=int(environ.get("SANDBOX_CALLS", 0)) or None,
            window=_seconds(environ, "SANDBOX_WINDOW_MS", 0) or None,
            one_account=environ.get("SANDBOX_ONE_ACCOUNT", "").lower() == "true",
            latency=_seconds(environ, "SANDBOX_LATENCY_MS", 300),
            slow=_seconds(environ, "SANDBOX_SLOW_MS", 4000),
            hang=_seconds(environ, "SANDBOX_HANG_MS", 35_000),
            credits=Decimal(environ.get("SANDBOX_CREDITS", 1_000_000)),
            public_url=environ.get("SANDBOX_PUBLIC_URL", ""),
        )


def _seconds(environ: Mapping[str, str], name: str, milliseconds: float) -> float:
    return float(environ.get(name, milliseconds)) / 1000
