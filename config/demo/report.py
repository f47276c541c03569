"""Prints the results of the demo and checks that they add up. Every figure comes from the API or the sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from accounts.numbers import decimal_text
from config.demo.api_client import ApiClient, Json
from config.demo.tenants import GUARD_MS
from config.demo.webhook_receiver import Arrival
from config.launcher.errors import LaunchError

SHOWN_RESULTS = 6
NAME_WIDTH = 22
REAL = "For a provider's own answers, store a key of yours."
INVENTED = f"The sandbox has invented all of it, pictures too. {REAL}"
INVENTED_FOR_YOURS = (
    "\nThe sandbox has invented all of this: it knows nothing of the world, and so nothing of what your picture shows. "
    f"What it found is what of its own drawings looks most alike. {REAL}"
)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Holds what a tenant can read about its searches, and of each provider the tenant's balance and the rate of its lane."""

    lookups: list[Json]
    results: list[Json]
    calls: list[Json]
    entries: list[Json]
    balances: Json
    rates: Json

    @classmethod
    def read(cls, caller: ApiClient, searches: Sequence[Json]) -> Findings:
        return cls(
            lookups=[lookup for search in searches for lookup in search["lookups"]],
            results=[each for search in searches for each in caller.list(f"/searches/{search['id']}/results")],
            calls=[each for search in searches for each in caller.list(f"/searches/{search['id']}/calls")],
            entries=list(caller.list("/credits/entries")),
            balances={account["provider"]: account["available"] for account in caller.list("/credits")},
            rates={source["provider"]: source["rate"] for source in caller.list("/sources")},
        )

    @property
    def providers(self) -> list[str]:
        return list(dict.fromkeys(lookup["provider"] for lookup in self.lookups))

    def results_of(self, source: str) -> list[Json]:
        return [result for result in self.results if result["source"] == source]

    def calls_to(self, provider: str) -> list[Json]:
        own = {lookup["id"] for lookup in self.lookups if lookup["provider"] == provider}
        return [call for call in self.calls if call["lookup_id"] in own]

    def moved(self, kind: str, provider: str) -> Decimal:
        amounts = (each["amount"] for each in self.entries if (each["kind"], each["provider"]) == (kind, provider))
        return sum(map(Decimal, amounts), Decimal())


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Computes how much of its limit a lane used, by the clock of the provider that judges its calls.

    Of N calls allowed in a window, the calls after the first fill whole windows, N in each. If the limit was kept, no whole
    window passes in less than its time, and the use is never more than 100 %.
    """

    calls: int
    seconds: float
    most: int
    window_seconds: float

    @classmethod
    def of(cls, tally: Json, rate: Json) -> Pace:
        admitted = tally["calls"] - tally["breaches"]
        return cls(
            calls=admitted, seconds=tally["seconds"], most=rate["calls"], window_seconds=rate["window_ms"] / 1000
        )

    @property
    def use(self) -> float | None:
        """Returns the share of the limit that was used; None if the calls fill no whole window."""
        windows = (self.calls - 1) // self.most
        return windows * self.window_seconds / self.seconds if windows > 0 else None

    def __str__(self) -> str:
        limit = f"{self.most / self.window_seconds:g} a second allowed"
        if self.use is None:
            return f"{self.calls} call{'' if self.calls == 1 else 's'}, of {limit}"
        return f"{self.calls} calls, {self.seconds:.2f} s from first to last, of {limit} ({self.use:.1%} of the limit)"


class Report:
    def __init__(self, console: Console) -> None:
        self.console = console

    def line(self, text: str = "") -> None:
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def results(self, found: Findings, maker: str) -> None:
        """Prints a column for each source, best results first, as many beside each other as the terminal is wide."""
        columns = [_column(lookup["source"], found.results_of(lookup["source"])) for lookup in found.lookups]
        self.console.print(Columns(columns, padding=(0, 2)))
        creators = (each for each in found.results if each["type"] == "creator")
        for rank in (each["rank"] for each in creators if each["creator"]["username"] == maker):
            self.line(f"\n@{maker}, from whose post the picture was made, has rank {rank}.")
        self.line(INVENTED if maker else INVENTED_FOR_YOURS)

    def credits(self, found: Findings) -> None:
        self.line()
        for label, provider in _labelled("Credits", found.providers):
            held, charged, released = (
                decimal_text(found.moved(kind, provider)) for kind in ("hold", "charge", "release")
            )
            self.line(
                f"{label}{held} held at submit, {charged} charged, {released} released; "
                f"balance {found.balances[provider]} of {decimal_text(found.moved('grant', provider))}"
            )

    def lanes(self, stats: Json, found: Findings, neighbour: Findings) -> None:
        """Prints a line for each lane, from the sandbox's notes on its calls, which all have one key."""
        for label, provider in _labelled("Lanes", found.providers):
            (tally,) = stats[provider]["keys"].values()
            others = neighbour.calls_to(provider)
            pace = Pace.of(tally, found.rates[provider])
            self.line(f"{label}{pace}{f', {len(others)} of them by the neighbour' if others else ''}")
        self.line(
            f"{'':12}By the sandbox's clock: of the time from the first call to the last, what the limit alone takes."
        )
        self.line(f"{'':12}{GUARD_MS} ms a call are kept as a guard: the sandbox refuses what comes a moment early.")

    def webhook(self, arrival: Arrival, search: Json) -> None:
        """Prints the webhook. Raises `LaunchError` if it differs from the API."""
        if arrival.event["data"] != search:
            raise LaunchError(f"The webhook {arrival.event['type']} differs from GET /v1/searches/{search['id']}.")
        late = (arrival.at - datetime.fromisoformat(search["finished_at"])).total_seconds()
        self.line(
            f"Webhook     {arrival.event['type']}, {arrival.bytes:,} bytes, received {late:.2f} s after the search had ended; "
            "its signature is good"
        )

    def sandbox(self, stats: Json, found: Findings, neighbour: Findings) -> None:
        """Prints the providers' own counts. Raises `LaunchError` if they differ from ours."""
        for label, provider in _labelled("Sandbox", found.providers):
            counted = stats[provider]
            calls = len(found.calls_to(provider)) + len(neighbour.calls_to(provider))
            charged = found.moved("charge", provider) + neighbour.moved("charge", provider)
            billed = Decimal(counted["credits"])
            self.line(
                f"{label}calls counted: {counted['calls']}, breaches of its limit: {counted['breaches']}, "
                f"billed: {decimal_text(billed)} credits"
            )
            if counted["breaches"] or counted["calls"] != calls or billed != charged:
                raise LaunchError(
                    f"That is not what we have: {calls} calls, no breach, {decimal_text(charged)} credits charged."
                )
        self.line(f"{'':12}which is what our ledger says, to the last credit; the neighbour's part is in it.")


def _column(source: str, results: Sequence[Json]) -> Text:
    return Text("\n".join(["", f"{source}: {len(results)}", *map(_shown, results[:SHOWN_RESULTS])]))


def _labelled(label: str, providers: Iterable[str]) -> Iterable[tuple[str, str]]:
    for number, provider in enumerate(providers):
        yield f"{'' if number else label:<12}{provider:<10}", provider


def _shown(result: Json) -> str:
    match result["type"]:
        case "creator":
            username = result["creator"]["username"]
            name = _cut(result["title"]) if username is None else f"@{username}"
            followers = result["creator"]["followers_count"]
            about = "" if followers is None else f"{followers:,}"
        case "product":
            name, about = _cut(result["title"]), result["product"]["region"] or ""
        case "video":
            name, about = _cut(result["title"]), _start(result["video"]["moments"])
        case _:
            name, about = _cut(result["title"]), ""
    return f"{result['rank']}  {name}  {about}".rstrip()


def _cut(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"


def _start(moments: Sequence[Json]) -> str:
    """Returns the start of the moment that is most alike."""
    start = moments[0]["start_seconds"]
    return "" if start is None else f"at {start:g} s"
