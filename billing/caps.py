"""Names the limits of what may be held: a tenant's cap a month, an API key's cap a month, and `max_credits` of one search.

`caps.sql` decides, inside the hold, and keeps what is used and held under each. Here is what a limit that has no room says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import Account
from billing.serializers import credits_text

LIMITS = """
SELECT account_id, name, size, used, held, month
FROM unnest(%s::uuid[]) AS account_id, billing_month() AS month, billing_limits(account_id, month, %s, '')
ORDER BY account_id, rank DESC
"""
# The API's code for each limit, and the half of a sentence that says how it is mended.
CODES = {"max_credits": "max_credits_too_low", "key_cap": "key_cap_reached", "tenant_cap": "tenant_cap_reached"}
MENDS = {
    "max_credits": "its max_credits.{provider} is {size} {spent}; raise that, or ask for fewer results.",
    "key_cap": "the API key's cap is {size} a month {spent} until it renews at {renews_at}; ask for fewer results, wait, "
    "use another key, or have the cap raised.",
    "tenant_cap": "your cap is {size} a month {spent} until it renews at {renews_at}; ask for fewer results, wait, "
    "or have the cap raised.",
}


@dataclass(frozen=True, kw_only=True)
class Spender:
    """The API key and the search that a hold is for. `max_credits`: the search's own limits, by provider."""

    api_key_id: UUID | None = None
    search: str = ""
    max_credits: Mapping[str, Decimal] = field(default_factory=dict)


NO_SPENDER = Spender()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit, and what is used and held under it. `renews_at` is None for `max_credits`, which never renews."""

    name: str
    size: Decimal
    used: Decimal
    held: Decimal
    renews_at: datetime | None

    @property
    def left(self) -> Decimal:
        """The credits that may still be held; 0 where the limit was lowered below what is used and held."""
        return max(self.size - self.used - self.held, Decimal(0))


class LimitReached(Exception):
    """A search can cost more than one of its limits has left."""

    def __init__(self, provider: str, asked: Decimal, limit: Limit) -> None:
        super().__init__(provider)
        self.provider = provider
        self.asked = asked
        self.limit = limit

    @property
    def code(self) -> str:
        return CODES[self.limit.name]

    def __str__(self) -> str:
        return (
            f"This search can cost up to {credits_text(self.asked)} {self.provider} credits, and {self.what_is_left()}"
        )

    def what_is_left(self) -> str:
        """Returns the half of the sentence that says what the limit has left, and what to do."""
        limit = self.limit
        used, held, left = (credits_text(amount) for amount in (limit.used, limit.held, limit.left))
        spent = f"({used} used, {held} held), which leaves {left}"
        renews_at = f"{limit.renews_at:%Y-%m-%dT%H:%M:%SZ}" if limit.renews_at else ""
        size = credits_text(limit.size)
        return MENDS[limit.name].format(provider=self.provider, size=size, spent=spent, renews_at=renews_at)


def limit_of(name: str, size: Decimal, used: Decimal, held: Decimal, month: date) -> Limit:
    renews_at = None if name == "max_credits" else next_month(month)
    return Limit(name=name, size=size, used=used, held=held, renews_at=renews_at)


def next_month(month: date) -> datetime:
    """Returns the start of the month after, in UTC."""
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def attach(accounts: Iterable[Account], api_key_id: UUID) -> list[Account]:
    """Attaches to each account its caps in the present month, the tenant's and this API key's, in one query."""
    listed: list[Any] = list(accounts)
    with connection.cursor() as cursor:
        cursor.execute(LIMITS, [[account.pk for account in listed], api_key_id])
        rows = cursor.fetchall()
    for account in listed:
        account.caps = [limit_of(*values) for of_account, *values in rows if of_account == account.pk]
    return listed
