"""Replays which shares of caps and grants were reached, from the entries and the changes of caps alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from accounts.models import Event, Tenant
from billing.models import Account, Entry, ThresholdAlert
from tests.billing.test_numbers import entries_of

SHARES = (50, 80, 100)
# The provider, the kind of limit, the API key, the month or the number of the grant, and the share.
Reached = tuple[str, str, str, str, int]


@dataclass(frozen=True, kw_only=True)
class CapChange:
    """A cap that was set, or lifted where `size` is None, after the entry with this number."""

    after: int
    month: date
    spender: UUID | None
    size: Decimal | None


@dataclass
class CapChanges:
    """The changes of all caps of a tenant, by provider, in their order."""

    by_provider: dict[str, list[CapChange]] = field(default_factory=dict)

    def add(self, account: Account, month: date, spender: UUID | None, size: Decimal | None) -> None:
        after = Account.objects.get(pk=account.pk).last_number
        change = CapChange(after=after, month=month, spender=spender, size=size)
        self.by_provider.setdefault(account.provider, []).append(change)


class Replay:
    """Replays one account."""

    def __init__(self, account: Account, changes: list[CapChange]) -> None:
        self.provider = account.provider
        self.caps: dict[UUID | None, Decimal] = {}
        self.used: dict[tuple[UUID | None, date], Decimal] = {}
        self.posted = Decimal(0)
        self.grant: Entry | None = None
        self.reached: set[Reached] = set()
        steps: list[Any] = [(change.after + 0.5, change) for change in changes]
        steps += [(entry.number, entry) for entry in entries_of(account)]
        for _, step in sorted(steps, key=lambda step: step[0]):
            self.change(step) if isinstance(step, CapChange) else self.enter(step)

    def change(self, change: CapChange) -> None:
        self.caps.pop(change.spender, None)
        if change.size is not None:
            self.caps[change.spender] = change.size
            self.compare(change.spender, change.month, Decimal(0))

    def enter(self, entry: Entry) -> None:
        before = self.posted
        match entry.kind:
            case "grant":
                self.grant = entry
                self.posted += entry.amount
            case "adjustment":
                self.posted += entry.amount
            case "charge" | "expiry":
                self.posted -= entry.amount
        if entry.kind == "charge" and entry.month:
            for spender in {None, entry.spender}:
                used = self.used.get((spender, entry.month), Decimal(0))
                self.used[spender, entry.month] = used + entry.amount
                self.compare(spender, entry.month, used)
        if self.grant and self.posted < before:
            size, number = self.grant.amount, str(self.grant.number)
            self.add("grant", "", number, size, size - before, size - self.posted)

    def compare(self, spender: UUID | None, month: date, before: Decimal) -> None:
        if size := self.caps.get(spender):
            now = self.used.get((spender, month), Decimal(0))
            self.add("key_cap" if spender else "tenant_cap", str(spender or ""), f"{month:%Y-%m}", size, before, now)

    def add(self, limit: str, spender: str, period: str, size: Decimal, before: Decimal, now: Decimal) -> None:
        self.reached |= {
            (self.provider, limit, spender, period, share) for share in SHARES if before < share * size / 100 <= now
        }


def replayed(tenant: Tenant, changes: CapChanges) -> list[Reached]:
    accounts = Account.objects.filter(tenant=tenant)
    return sorted(
        reached
        for account in accounts
        for reached in Replay(account, changes.by_provider.get(account.provider, [])).reached
    )


def announced(tenant: Tenant) -> list[Reached]:
    """Returns what the events say that was reached. Each event has its row, which names the grant."""
    rows = ThresholdAlert.objects.filter(account__tenant=tenant).select_related("account")
    numbers = {(row.account.provider, row.period_start.isoformat()): row.grant_number for row in rows}
    assert all(row.announced for row in rows)
    return sorted(_said(numbers, data) for data in _events(tenant))


def _said(numbers: dict[tuple[str, str], int | None], data: dict[str, Any]) -> Reached:
    period = data["period_start"][:7]
    if data["limit"] == "grant":
        period = str(numbers[data["provider"], data["period_start"].replace("Z", "+00:00")])
    return data["provider"], data["limit"], data["api_key_id"] or "", period, data["share"]


def _events(tenant: Tenant) -> Iterator[dict[str, Any]]:
    for event in Event.objects.filter(tenant=tenant, type="credits.threshold_reached"):
        yield json.loads(event.body)["data"]
