"""Replays from the entries what is left of each grant, and what each hold has drawn."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from billing.models import Account, Draw, Entry
from tests.billing.test_numbers import entries_of

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Replay:
    """The credits left of an account's grants, and drawn by its holds, by its entries and the grants' terms alone."""

    terms: dict[int, tuple[int, datetime, int]]
    left: dict[int, Decimal] = field(default_factory=dict)
    expired: dict[int, Decimal] = field(default_factory=dict)
    draws: dict[str, dict[int, Decimal]] = field(default_factory=lambda: defaultdict(dict))
    held: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    available: Decimal = Decimal(0)

    def follow(self, entry: Entry) -> None:
        match entry.kind:
            case "grant":
                self.left[entry.number], self.expired[entry.number] = entry.amount, Decimal(0)
            case "hold":
                self.hold(entry.reference, entry.amount)
            case "charge":
                self.spend(entry.reference, entry.amount)
            case "release":
                self.give_back(entry.reference, entry.amount)
            case "expiry":
                of = int(entry.reference.removeprefix("entry:"))
                self.left[of] -= entry.amount
                self.expired[of] += entry.amount
        self.available = entry.posted_after - entry.held_after
        if entry.kind == "adjustment" and entry.amount < 0:
            self.take(sum(self.left.values(), Decimal(0)) - self.available)

    def in_order(self) -> list[int]:
        return sorted(self.left, key=self.terms.__getitem__)

    def take(self, amount: Decimal) -> dict[int, Decimal]:
        """Takes as much as is left of the grants, in the order in which they are spent. Returns the parts."""
        parts = {}
        for number in self.in_order():
            part = max(min(amount, self.left[number]), Decimal(0))
            self.left[number] -= part
            amount -= part
            if part:
                parts[number] = part
        return parts

    def hold(self, reference: str, amount: Decimal) -> None:
        self.held[reference] += amount
        for number, part in self.take(amount).items():
            self.draws[reference][number] = self.draws[reference].get(number, Decimal(0)) + part

    def spend(self, reference: str, amount: Decimal) -> None:
        self.held[reference] -= amount
        draws = self.draws[reference]
        for number in sorted(draws, key=self.terms.__getitem__):
            part = min(amount, draws[number])
            draws[number] -= part
            amount -= part

    def give_back(self, reference: str, amount: Decimal) -> None:
        """Gives back. What belongs to a grant that has expired is expired by the next entries."""
        draws = self.draws[reference]
        rest = self.held[reference] - sum(draws.values(), Decimal(0))
        self.held[reference] -= amount
        amount -= min(amount, rest)
        for number in sorted(draws, key=self.terms.__getitem__, reverse=True):
            part = min(amount, draws[number])
            draws[number] -= part
            self.left[number] += part
            amount -= part

    def drawn(self) -> dict[tuple[str, int], Decimal]:
        return {(reference, of): part for reference, own in self.draws.items() for of, part in own.items() if part}


def replayed(account: Account) -> Replay:
    terms = {grant.number: (grant.priority, grant.expires_at or NEVER, grant.number) for grant in account.grants.all()}
    replay = Replay(terms)
    for entry in entries_of(account):
        replay.follow(entry)
    return replay


def drawn(account: Account) -> dict[tuple[str, int], Decimal]:
    draws = Draw.objects.filter(grant__account=account).values_list("hold_id", "grant__number", "amount")
    return {(reference, number): amount for reference, number, amount in draws}
