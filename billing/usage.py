"""Reports what a tenant's lookups cost, by day, source, API key and metadata. Every line names its provider.

Usage is added up in the movement that writes the charge (`usage.sql`), and not rolled up later to some entry's number: a charge
holds its account locked anyway, so that another row of that account costs little, and a report needs no entries at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.models import Tenant
from billing.models import Usage, UsageByMetadata

METADATA = "metadata."
# The text that a group is sorted by and shown as. The empty text means that there is none; a text of metadata may be empty.
COLUMNS = {"day": "to_char(usage.day, 'YYYY-MM-DD')", "source": "usage.source", "api_key": "usage.api_key"}
METADATA_COLUMN = "coalesce('=' || (usage.metadata ->> %s), '')"
LINES_AT_ONCE = 1000

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class UsageReport:
    """Reports the usage of a tenant. `groups`: `day`, `source`, `api_key`, `metadata.<key>`. The days begin with `since`, and end
    before `until`.
    """

    tenant_id: UUID
    groups: Sequence[str]
    since: date | None = None
    until: date | None = None
    provider: str = ""
    source: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that the lines are ordered by."""
        return ("provider", *self.groups)

    def page(self, after: Sequence[str] | None, most: int) -> list[Line]:
        """Returns the lines after the one with these keys, at most so many."""
        names = ", ".join(_names(self.groups))
        query, values = _summed(self)
        places = ", ".join(["%s"] * len(self.keys))
        behind = f"WHERE ({names}) > ({places})" if after is not None else ""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT * FROM ({query}) AS line {behind} ORDER BY {names} LIMIT %s", [*values, *(after or ()), most]
            )
            return [self._line(row) for row in cursor.fetchall()]

    def batches(self) -> Iterator[list[Line]]:
        """Yields all lines as they are at one moment, some at a time.

        The database keeps the others in a cursor, whose connection is held until all are read: a page of lines would add up
        the rest of the usage again, and of another moment. A pooler that shares sessions would lose such a cursor.
        """
        query, values = _summed(self)
        with connection.chunked_cursor() as cursor:
            cursor.execute(f"{query} ORDER BY {', '.join(_names(self.groups))}", values)
            while rows := cursor.fetchmany(LINES_AT_ONCE):
                yield [self._line(row) for row in rows]

    def _line(self, row: Sequence[Any]) -> Line:
        *keys, charged, charges = row
        return {**dict(zip(self.keys, keys, strict=True)), "charged": charged, "charges": charges}


def shown(line: Line, prefixes: dict[str, str]) -> dict[str, Any]:
    """Returns the line as it is answered. `prefixes`: the beginnings of the tenant's API keys, by their ids."""
    metadata = {
        key.removeprefix(METADATA): text.removeprefix("=") if text else None
        for key, text in line.items()
        if key.startswith(METADATA)
    }
    found = {name: value for name, value in line.items() if not name.startswith(METADATA)}
    if metadata:
        found["metadata"] = metadata
    if "api_key" in found:
        found["api_key_prefix"] = prefixes.get(found["api_key"])
        found["api_key"] = found["api_key"] or None
    return found


def prefixes(tenant: Tenant) -> dict[str, str]:
    return {str(id): prefix for id, prefix in tenant.api_keys.values_list("pk", "prefix")}


def forget_metadata(tenant_id: UUID, lookups: Sequence[tuple[str, str, str]], *, metadata: str) -> None:
    """Forgets the metadata of a search's lookups: their reference, source and provider. What they cost stays.

    `metadata` is JSON. The caller has locked the lookups; the holds and all accounts of the lookups are locked here.
    """
    references, sources, providers = (list(column) for column in zip(*lookups, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT billing_forget_metadata(%s, %s::text[], %s::text[], %s::text[], %s::jsonb)",
            [tenant_id, references, sources, providers, metadata],
        )


def _summed(report: UsageReport) -> tuple[str, list[Any]]:
    """Returns the query of the lines, in no order, and its values."""
    has_metadata = any(group.startswith(METADATA) for group in report.groups)
    table = (UsageByMetadata if has_metadata else Usage)._meta.db_table
    columns = [COLUMNS.get(group, METADATA_COLUMN) for group in report.groups]
    values: list[Any] = [group.removeprefix(METADATA) for group in report.groups if group not in COLUMNS]
    # One order whatever the database's language.
    selected = ", ".join(
        f'({column}) COLLATE "C" AS {name}'
        for column, name in zip(["account.provider", *columns], _names(report.groups), strict=True)
    )
    conditions = {
        "account.tenant_id = %s": report.tenant_id,
        "usage.day >= %s": report.since,
        "usage.day < %s": report.until,
        "account.provider = %s": report.provider,
        "usage.source = %s": report.source,
    }
    given = {condition: value for condition, value in conditions.items() if value}
    query = f"""
        SELECT {selected}, sum(usage.charged), sum(usage.charges)::bigint
        FROM {table} AS usage JOIN billing_account AS account ON account.id = usage.account_id
        WHERE {" AND ".join(given)} GROUP BY {", ".join(_names(report.groups))}
    """
    return query, [*values, *given.values()]


def _names(groups: Sequence[str]) -> list[str]:
    """Returns names for the columns of the keys: those of metadata are the tenant's, and no names of SQL."""
    return [f"key_{number}" for number in range(len(groups) + 1)]
