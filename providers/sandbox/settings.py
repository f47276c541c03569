"""What the sandbox is told from outside: it has settings of its own, since it stands for machines that are not ours."""

from __future__ import annotations

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
