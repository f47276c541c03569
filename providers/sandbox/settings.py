"""Holds the settings of the sandbox. They are separate from Sightline's, for the sandbox plays other companies' servers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """The settings of one sandbox. Times are in seconds.

    `calls`, `window`: so many calls in any stretch of so many seconds are allowed; None: as the provider's document says.
    `one_account`: all keys share one limit, instead of one limit a key. `latency`: the least time of an answer.
    `slow`, `hang`: the time of an answer to a magic key, longer than usual and longer than any caller waits.

    `billed_percent`: so much of its price each call is billed, to play a provider that bills wrongly. `surplus`: so many results
    more than a page holds are answered and billed.
    """

    calls: int | None = None
    window: float | None = None
    one_account: bool = False
    latency: float = 0.3
    slow: float = 4.0
    hang: float = 35.0
    credits: Decimal = Decimal(1_000_000)
    billed_percent: int = 100
    surplus: int = 0
    public_url: str = ""
