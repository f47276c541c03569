"""The ledger of the seed: accounts whose entries are numbered, balanced, chained and counted as `billing_enter` does it.

`manage.py audit_ledger` finds no difference. Amounts are whole millionths of a credit.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from billing.models import Account, Entry, Grant, Hold, KeyMonth, TenantMonth, Usage, UsageByMetadata
from tests.seed.copying import Table, id_at

CREDIT = 1_000_000
METADATA = {"campaign": "autumn"}
# What a kind of entry adds to what is posted and held, in amounts.
POSTED = {"grant": 1, "charge": -1}
HELD = {"hold": 1, "charge": -1, "release": -1}


def credits(millionths: int) -> str:
    """Returns an amount as PostgreSQL prints `numeric(18, 6)`."""
    whole, part = divmod(abs(millionths), CREDIT)
    return f"{'-' if millionths < 0 else ''}{whole}.{part:06d}"


@dataclass(kw_only=True)
class Books:
    """One account, with its balances and the end of its chain."""

    id: str
    tenant: str
    provider: str
    opened: datetime
    granted: int = 0
    posted: int = 0
    held: int = 0
    unknown: int = 0
    number: int = 0
    hash: bytes = b""

    def __post_init__(self) -> None:
        self.hash = hashlib.sha256(json.dumps([self.id, self.tenant, self.provider]).encode()).digest()


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Names the subject of an entry: a lookup, under an API key."""

    lookup: str
    source: str
    spender: str
    held_at: datetime

    @property
    def reference(self) -> str:
        return f"lookup:{self.lookup}"

    @property
    def month(self) -> str:
        return f"{self.held_at:%Y-%m-01}"


class Ledger:
    """The tables of the ledger. `spend` writes all entries of a lookup."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.books: list[Books] = []
        self.entries = Table(
            Entry,
            *("id", "account_id", "number", "kind", "amount", "posted_after", "held_after", "unknown_after"),
            *("reference", "key", "memo", "person", "month", "spender", "created_at", "previous_hash", "hash"),
        )
        self.holds = Table(
            Hold,
            *("reference", "account_id", "open", "unknown", "source", "metadata", "month", "spender", "created_at"),
        )
        self.used: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.usage: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])

    def open(self, tenant: str, provider: str, *, at: datetime, granted: int) -> Books:
        """Opens an account, prepaid if credits are granted."""
        books = Books(id=id_at(at, self.chance), tenant=tenant, provider=provider, opened=at, granted=granted)
        self.books.append(books)
        if granted:
            self._enter(books, "grant", granted, None, f"grant:{books.id}", at)
        return books

    def hold(self, books: Books, cost: Cost, amount: int) -> None:
        self._spend(books, cost, "hold", amount, f"hold:{cost.reference}", cost.held_at)

    def charge(self, books: Books, cost: Cost, call: str, amount: int, at: datetime) -> None:
        self._spend(books, cost, "charge", amount, f"charge:{call}", at)
        counted = self.usage[books.id, f"{at:%Y-%m-%d}", cost.source, cost.spender]
        counted[0] += amount
        counted[1] += 1

    def release(self, books: Books, cost: Cost, amount: int, at: datetime) -> None:
        if amount:
            self._spend(books, cost, "release", amount, f"release:{cost.reference}", at)

    def lose(self, books: Books, cost: Cost, call: str, amount: int, at: datetime) -> None:
        """Marks what is held as unknown, and keeps the hold until it is settled."""
        self._spend(books, cost, "unknown", amount, f"unknown:{call}", at)
        self.keep(books, cost, 0, amount)

    def keep(self, books: Books, cost: Cost, open: int, unknown: int = 0) -> None:
        """Keeps the hold of a lookup that has not ended, or whose cost is unknown."""
        amounts = credits(open), credits(unknown)
        self.holds.add(
            *(cost.reference, books.id, *amounts, cost.source, METADATA, cost.month, cost.spender, cost.held_at)
        )

    def _spend(self, books: Books, cost: Cost, kind: str, amount: int, key: str, at: datetime) -> None:
        self._enter(books, kind, amount, cost, key, at)
        counted = self.used[books.id, cost.month, cost.spender]
        counted[0] += amount if kind == "charge" else 0
        counted[1] += HELD.get(kind, 0) * amount

    def _enter(self, books: Books, kind: str, amount: int, cost: Cost | None, key: str, at: datetime) -> None:
        books.number += 1
        books.posted += POSTED.get(kind, 0) * amount
        books.held += HELD.get(kind, 0) * amount
        books.unknown += amount if kind == "unknown" else 0
        id, before = id_at(at, self.chance), books.hash
        moved = (kind, *map(credits, (amount, books.posted, books.held, books.unknown)))
        memo = "" if cost else "Welcome."
        for_what = (cost.month, cost.spender) if cost else (None, None)
        named = (cost.reference if cost else "", key, memo, "", *for_what)
        said = [before.hex(), id, books.id, books.number, *moved, *named, "", f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"]
        books.hash = hashlib.sha256(json.dumps(said).encode()).digest()
        self.entries.add(id, books.id, books.number, *moved, *named, at, before, books.hash)

    def send(self) -> None:
        self.entries.send()
        self.holds.send()

    def close(self) -> None:
        """Writes the accounts and what they count, as the entries left them."""
        accounts = Table(
            Account,
            *(
                "id",
                "tenant_id",
                "provider",
                "kind",
                "posted",
                "held",
                "unknown",
                "last_number",
                "last_hash",
                "open_month",
            ),
            "created_at",
        )
        grants = Table(Grant, "account_id", "number", "amount", "available", "expired", "priority", "has_expired")
        for books in self.books:
            balances = (credits(each) for each in (books.posted, books.held, books.unknown))
            end = books.hash if books.number else b""
            kind = "prepaid" if books.granted else "metered"
            month = f"{books.opened:%Y-%m-01}"
            accounts.add(
                books.id, books.tenant, books.provider, kind, *balances, books.number, end, month, books.opened
            )
            if books.granted:
                left = credits(books.posted - books.held)
                grants.add(books.id, 1, credits(books.granted), left, credits(0), Grant.USUAL, False)
        accounts.send()
        grants.send()
        self._close_counts()

    def _close_counts(self) -> None:
        months: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        by_key = Table(KeyMonth, "account_id", "month", "spender", "used", "held")
        for (account, month, spender), (used, held) in self.used.items():
            months[account, month][0] += used
            months[account, month][1] += held
            by_key.add(account, month, spender, credits(used), credits(held))
        by_key.send()
        by_tenant = Table(TenantMonth, "account_id", "month", "used", "held")
        for (account, month), (used, held) in months.items():
            by_tenant.add(account, month, credits(used), credits(held))
        by_tenant.send()
        columns = ("account_id", "day", "source", "api_key", "charged", "charges")
        plain, with_metadata = Table(Usage, *columns), Table(UsageByMetadata, *columns, "metadata", "digest")
        digest = hashlib.sha256(json.dumps(METADATA).encode()).digest()
        for (account, day, source, key), (charged, charges) in self.usage.items():
            plain.add(account, day, source, key, credits(charged), charges)
            with_metadata.add(account, day, source, key, credits(charged), charges, METADATA, digest)
        plain.send()
        with_metadata.send()
