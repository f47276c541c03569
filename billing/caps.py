"""Names the limits of what may be held: `max_credits` of one search, an API key's and a tenant's cap a month, a prepaid balance.

`caps.sql` decides, for the hold and for a quote, and keeps what is used and held under each. This module says why a hold is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.models import ApiKey
from billing.models import Account
from billing.models.caps import left_of
from billing.serializers import credits_text

LIMITS = """
SELECT asked.provider, found.name, found.size, found.used, found.held, found.short_by, month
FROM billing_month() AS month
CROSS JOIN unnest(%(providers)s::text[], %(amounts)s::numeric[], %(most)s::numeric[]) AS asked (provider, amount, most)
LEFT JOIN billing_account AS account ON account.tenant_id = %(tenant)s AND account.provider = asked.provider
CROSS JOIN billing_limits(
    account.id, %(tenant)s, asked.provider, month, %(api_key)s, %(budget)s, asked.most, asked.amount
) AS found
ORDER BY found.rank, found.size
"""
# The API's code for each limit, and the half of a sentence that says how it is mended.
CODES = {
    "max_credits": "max_credits_too_low",
    "key_cap": "key_cap_reached",
    "tenant_cap": "tenant_cap_reached",
    "balance": "insufficient_credits",
}
MENDS = {
    "max_credits": "its max_credits.{provider} is {size} {spent}; raise that, or ask for fewer results.",
    "key_cap": "the API key's cap is {size} a month {spent} until it renews at {renews_at}; ask for fewer results, wait, "
    "use another key, or have the cap raised.",
    "tenant_cap": "your cap is {size} a month {spent} until it renews at {renews_at}; ask for fewer results, wait, "
    "or have the cap raised.",
    "balance": "{left} are available; ask for fewer results, or have credits granted.",
}
CAPS = ("tenant_cap", "key_cap")


@dataclass(frozen=True, kw_only=True)
class Spender:
    """The API key and the search that a hold is for. `max_credits`: the search's own limits, by provider."""

    api_key_id: UUID | None = None
    search: str = ""
    max_credits: Mapping[str, Decimal] = field(default_factory=dict)


NO_SPENDER = Spender()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit of a provider's credits, what is used and held under it, and what is asked.

    `short_by`: how much of what is asked is too much; 0 where it fits. `renews_at`: None for `max_credits` and a balance, which
    never renew.
    """

    name: str
    provider: str
    size: Decimal
    used: Decimal
    held: Decimal
    asked: Decimal
    short_by: Decimal
    renews_at: datetime | None

    @property
    def left(self) -> Decimal:
        """The credits that may still be held."""
        return left_of(self.size, used=self.used, held=self.held)


class LimitReached(Exception):
    """A search can cost more than one of its limits has left."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit.provider)
        self.limit = limit

    @property
    def code(self) -> str:
        return CODES[self.limit.name]

    def __str__(self) -> str:
        limit = self.limit
        return f"This search can cost up to {credits_text(limit.asked)} {limit.provider} credits, and {self.what_is_left()}"

    def what_is_left(self) -> str:
        """Returns the half of the sentence that says what the limit has left, and what to do."""
        limit = self.limit
        used, held, left = (credits_text(amount) for amount in (limit.used, limit.held, limit.left))
        spent = f"({used} used, {held} held), which leaves {left}"
        renews_at = f"{limit.renews_at:%Y-%m-%dT%H:%M:%SZ}" if limit.renews_at else ""
        size = credits_text(limit.size)
        return MENDS[limit.name].format(provider=limit.provider, size=size, spent=spent, left=left, renews_at=renews_at)


def limit_of(
    name: str,
    size: Decimal,
    used: Decimal,
    held: Decimal,
    short_by: Decimal,
    month: date,
    *,
    provider: str,
    asked: Decimal,
) -> Limit:
    """Returns a limit from the columns of `billing_limits`, and the month in which it was looked at."""
    renews_at = next_month(month) if name in CAPS else None
    return Limit(
        name=name,
        provider=provider,
        size=size,
        used=used,
        held=held,
        asked=asked,
        short_by=short_by,
        renews_at=renews_at,
    )


def next_month(month: date) -> datetime:
    """Returns the start of the month after, in UTC."""
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def limits(tenant_id: UUID, asked: Mapping[str, Decimal], spender: Spender = NO_SPENDER) -> dict[str, list[Limit]]:
    """Returns the limits that a hold of the credits `asked` now would meet, by provider, the narrowest first. Locks nothing."""
    found: dict[str, list[Limit]] = {provider: [] for provider in sorted(asked)}
    values = {
        "tenant": tenant_id,
        "api_key": spender.api_key_id,
        "budget": spender.search,
        "providers": list(found),
        "amounts": [asked[provider] for provider in found],
        "most": [spender.max_credits.get(provider) for provider in found],
    }
    with connection.cursor() as cursor:
        cursor.execute(LIMITS, values)
        for provider, *columns in cursor.fetchall():
            found[provider].append(limit_of(*columns, provider=provider, asked=asked[provider]))
    return found


def first_reached(limits: Mapping[str, Sequence[Limit]]) -> LimitReached | None:
    """Returns the refusal of a hold under these limits, which is the one that `ledger.hold` raises; None where it has room."""
    short = (limit for provider in sorted(limits) for limit in limits[provider] if limit.short_by)
    return next(map(LimitReached, short), None)


def attach(accounts: Iterable[Account], api_key: ApiKey) -> list[Account]:
    """Attaches to each account of a tenant its caps in the present month, the tenant's and this API key's, in one query."""
    listed: list[Any] = list(accounts)
    nothing = dict.fromkeys((account.provider for account in listed), Decimal(0))
    found = limits(api_key.tenant_id, nothing, Spender(api_key_id=api_key.pk))
    for account in listed:
        account.caps = [limit for limit in reversed(found[account.provider]) if limit.name in CAPS]
    return listed
