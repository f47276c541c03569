"""Enforces the limit that a provider sets on each key, and counts calls and credits.

A request counts from the arrival of its head. A request that comes too early is refused, counts as a breach, and takes no
slot. If all keys share one limit, as the keys of one account do, the calls of all of them count.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock
from typing import Any


@dataclass
class KeyTally:
    """The counts of one key.

    `refusals`: answers that were not a success, breaches included. `played`: how often each behaviour of a magic key was played.
    `most_early`: how many seconds the worst breach came too early. `first`, `last`: when calls were admitted.
    """

    calls: int = 0
    breaches: int = 0
    most_early: float = 0.0
    refusals: int = 0
    played: Counter[str] = field(default_factory=Counter)
    credits: Decimal = Decimal(0)
    shortest_gap: float | None = None
    first: float | None = None
    last: float | None = None

    def shown(self) -> dict[str, Any]:
        gap = None if self.shortest_gap is None else round(self.shortest_gap * 1000, 3)
        return {
            "calls": self.calls,
            "breaches": self.breaches,
            "most_early_ms": round(self.most_early * 1000, 3),
            "refusals": self.refusals,
            "played": dict(self.played),
            "credits": str(self.credits),
            "shortest_gap_ms": gap,
            "seconds": 0.0 if self.first is None or self.last is None else round(self.last - self.first, 6),
        }


class Meter:
    """Admits `calls` in any `window` seconds, of each key, or of all keys together if the limit is `shared`."""

    def __init__(self, *, calls: int, window: float, shared: bool = False) -> None:
        self.calls = calls
        self.window = window
        self.shared = shared
        self.lock = Lock()
        self.tallies: dict[str, KeyTally] = defaultdict(KeyTally)
        # The instants at which each key's last calls were admitted.
        self.recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=calls))

    def admit(self, key: str, arrived: float) -> int | None:
        """Returns the number of this call among the key's admitted calls, from 1; None for a breach."""
        with self.lock:
            tally = self.tallies[key]
            recent = self.recent["" if self.shared else key]
            tally.calls += 1
            if len(recent) == self.calls and (early := self.window - (arrived - recent[0])) > 0:
                tally.breaches += 1
                tally.most_early = max(tally.most_early, early)
                return None
            if recent:
                gap = arrived - recent[-1]
                tally.shortest_gap = gap if tally.shortest_gap is None else min(gap, tally.shortest_gap)
            recent.append(arrived)
            tally.first = arrived if tally.first is None else tally.first
            tally.last = arrived
            return tally.calls - tally.breaches

    def refuse(self, key: str) -> None:
        with self.lock:
            self.tallies[key].refusals += 1

    def play(self, key: str, behaviour: str) -> None:
        with self.lock:
            self.tallies[key].played[behaviour] += 1

    def bill(self, key: str, credits: Decimal, *, of: Decimal) -> bool:
        """Bills the key, or returns False if it has too few of its `of` credits left."""
        with self.lock:
            tally = self.tallies[key]
            if tally.credits + credits > of:
                return False
            tally.credits += credits
            return True

    def tally(self, key: str) -> KeyTally:
        with self.lock:
            return self.tallies[key]

    def reset(self) -> None:
        with self.lock:
            self.tallies.clear()
            self.recent.clear()

    def stats(self) -> dict[str, Any]:
        """Returns the sums, and the counts of each key under its fingerprint, for a real key may be sent here by mistake."""
        with self.lock:
            tallies = list(self.tallies.values())
            return {
                "calls": sum(tally.calls for tally in tallies),
                "breaches": sum(tally.breaches for tally in tallies),
                "refusals": sum(tally.refusals for tally in tallies),
                "played": dict(sum((tally.played for tally in tallies), Counter[str]())),
                "credits": str(sum((tally.credits for tally in tallies), Decimal(0))),
                "keys": {fingerprint(key): tally.shown() for key, tally in self.tallies.items()},
            }


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]
