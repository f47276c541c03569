"""What came of the demo, and whether it adds up: every figure is what the API or the sandbox says, none is assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from config.demo.caller import Caller, Json
from config.demo.cast import GUARD_MS
from config.launcher.trouble import Trouble

SHOWN_RESULTS = 10


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a tenant can read about its searches, and its account with their provider."""

    results: list[Json]
    calls: list[Json]
    entries: list[Json]
    account: Json
    source: Json

    @classmethod
    def read(cls, caller: Caller, searches: Sequence[Json]) -> Findings:
        lookup = searches[0]["lookups"][0]
        return cls(
            results=[each for search in searches for each in caller.list(f"/searches/{search['id']}/results")],
            calls=[each for search in searches for each in caller.list(f"/searches/{search['id']}/calls")],
            entries=list(caller.list("/credits/entries")),
            account=next(each for each in caller.list("/credits") if each["provider"] == lookup["provider"]),
            source=next(each for each in caller.list("/sources") if each["source"] == lookup["source"]),
        )

    def moved(self, kind: str) -> Decimal:
        return sum((Decimal(entry["amount"]) for entry in self.entries if entry["kind"] == kind), Decimal())


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often calls left the lane, from the first to the last."""

    calls: int
    seconds: float
    limit: float

    @classmethod
    def of(cls, calls: Sequence[Json], rate: Json) -> Pace:
        times = sorted(datetime.fromisoformat(call["sent_at"] or call["armed_at"]) for call in calls)
        span = (times[-1] - times[0]).total_seconds()
        return cls(calls=len(times), seconds=span, limit=rate["calls"] * 1000 / rate["window_ms"])

    @property
    def reached(self) -> float:
        return (self.calls - 1) / self.seconds if self.seconds else 0.0


class Report:
    def __init__(self, console: Console) -> None:
        self.console = console

    def line(self, text: str = "") -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def creators(self, found: Findings, maker: str) -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("rank", "creator", "followers", "engagement", "matched posts"):
            table.add_column(name, justify="left" if name == "creator" else "right")
        for result in found.results[:SHOWN_RESULTS]:
            table.add_row(*_row(result))
        self.line(f"\n{len(found.results)} creators found; the {min(SHOWN_RESULTS, len(found.results))} most alike:\n")
        self.console.print(table)
        for rank in (each["rank"] for each in found.results if each["creator"]["username"] == maker):
            self.line(f"\n@{maker}, from whose post the picture was made, has rank {rank}.")

    def credits(self, found: Findings) -> None:
        account = found.account
        held, charged, released = (found.moved(kind) for kind in ("hold", "charge", "release"))
        self.line(
            f"\nCredits     {_plain(held)} held at submit, {_plain(charged)} charged, {_plain(released)} released; "
            f"balance {account['available']} of {_plain(found.moved('grant'))} {account['provider']} credits"
        )

    def lane(self, found: Findings, neighbour: Findings) -> None:
        pace = Pace.of([*found.calls, *neighbour.calls], found.source["rate"])
        self.line(
            f"Lane        {pace.calls} calls in {pace.seconds:.2f} s: {pace.reached:.3f} a second of {pace.limit:g} allowed "
            f"({pace.reached / pace.limit:.1%} of the limit; {GUARD_MS} ms a call are kept as a guard), "
            f"{len(neighbour.calls)} of them the neighbour's"
        )

    def sandbox(self, stats: Json, found: Findings, neighbour: Findings) -> None:
        """Raises `Trouble` where the provider's own count differs from ours."""
        billed, charged = Decimal(stats["credits"]), found.moved("charge") + neighbour.moved("charge")
        calls = len(found.calls) + len(neighbour.calls)
        self.line(
            f"Sandbox     counted {stats['calls']} calls and {stats['breaches']} breaches of its limit, and billed "
            f"{_plain(billed)} credits, of which {_plain(neighbour.moved('charge'))} to the neighbour"
        )
        if stats["breaches"] or stats["calls"] != calls or billed != charged:
            raise Trouble(
                f"That does not agree with our {calls} calls, no breach, and {_plain(charged)} credits charged."
            )
        self.line("            which is what our ledger says, to the last credit.")


def _row(result: Json) -> list[str]:
    creator = result["creator"]
    followers, engagement = creator["followers_count"], creator["engagement_rate"]
    return [
        str(result["rank"]),
        f"@{creator['username']}",
        "hidden" if followers is None else f"{followers:,}",
        "" if engagement is None else f"{engagement:.4f}",
        str(len(creator["matched_posts"])),
    ]


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
