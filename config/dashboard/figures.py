"""Reads all counts of the first page in one query. Each part of it reads an index of few rows, or rows that were counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from accounts.ids import first_id_of
from config.dashboard.words import MOST_COUNTED

# A worker counts every kind of rows at least once a minute. After so long without it, a page says so.
LATE = timedelta(minutes=5)
KINDS = ("calls", "searches", "deliveries", "credits")
# Drift and failed audits are old news after so long, as on a credential's page.
RECENT = timedelta(days=30)
# What needs a person. Of each at most a thousand rows are counted, and one more.
TROUBLES = {
    "invalid": "FROM providers_credential WHERE state = 'invalid'",
    "exhausted": "FROM providers_credential WHERE state = 'exhausted'",
    "unknown": "FROM billing_hold WHERE unknown > 0",
    "drift": "FROM billing_reconciliation WHERE state = 'unexplained' AND id >= %(month)s",
    "disabled": "FROM accounts_endpoint WHERE NOT enabled AND deleted_at IS NULL",
    "failing": "FROM accounts_endpoint WHERE enabled AND failing_since IS NOT NULL AND deleted_at IS NULL",
    "breakers": "FROM searches_lane WHERE trips > 0",
    "paused_lanes": "FROM searches_lane WHERE paused",
    "paused_providers": "FROM providers_policy WHERE paused",
    "told_to_wait": "FROM searches_lane WHERE paused_until > statement_timestamp()",
    "audits": "FROM billing_ledgeraudit WHERE differences > 0 AND id >= %(month)s",
}
HOURS = "start >= date_trunc('hour', statement_timestamp(), 'UTC') - interval '23 hours'"
FIGURES = f"""
SELECT statement_timestamp(),
    {", ".join(f"(SELECT count(*) FROM (SELECT {source} LIMIT {MOST_COUNTED + 1}) AS found)" for source in TROUBLES.values())},
    (
        SELECT json_agg(json_build_object(
            'start', start, 'mode', mode, 'succeeded', succeeded, 'partial', partial, 'failed', failed,
            'canceled', canceled, 'expired', expired, 'open', open
        ) ORDER BY start) FROM searches_searchhour WHERE {HOURS}
    ),
    (
        SELECT json_agg(json_build_object(
            'start', start, 'pending', pending, 'delivered', delivered, 'failed', failed, 'retried', retried, 'seconds', seconds
        ) ORDER BY start) FROM accounts_deliveryhour WHERE {HOURS}
    ),
    (
        SELECT json_agg(json_build_object('provider', provider, 'day', day, 'charged', charged::text, 'charges', charges))
        FROM billing_creditday WHERE day > (statement_timestamp() AT TIME ZONE 'UTC')::date - 14
    ),
    (SELECT json_object_agg(name, json_build_array(since, until)) FROM accounts_rollupprogress),
    (SELECT json_build_object('day', day, 'differences', differences, 'id', id) FROM billing_ledgeraudit
        WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT 1)
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The counts at one moment. `progress`: since when and until when each kind of rows has been counted."""

    moment: datetime
    troubles: dict[str, int]
    searches: list[dict[str, Any]]
    deliveries: list[dict[str, Any]]
    credits: list[dict[str, Any]]
    progress: dict[str, tuple[datetime, datetime]]
    audit: dict[str, Any] | None

    def is_counted(self, kind: str, start: datetime, end: datetime) -> bool:
        """Returns whether all rows of the kind between two moments were counted, those of the last minutes aside."""
        since, until = self.progress.get(kind, (None, None))
        return since is not None and until is not None and since <= start and min(end, self.moment - LATE) <= until

    @property
    def late(self) -> list[str]:
        """The kinds of rows that nobody has counted for some minutes."""
        return [kind for kind in KINDS if kind in self.progress and self.progress[kind][1] < self.moment - LATE]

    @property
    def uncounted(self) -> list[str]:
        """The kinds of rows that nobody has counted since the tables were made."""
        return [kind for kind in KINDS if kind not in self.progress]


def read() -> Figures:
    """Returns all counts."""
    with connection.cursor() as cursor:
        cursor.execute(FIGURES, {"month": first_id_of(timezone.now() - RECENT)})
        moment, *counts, searches, deliveries, credits, progress, audit = cursor.fetchone()
    return Figures(
        moment=moment,
        troubles=dict(zip(TROUBLES, counts, strict=True)),
        searches=[_dated(row) for row in searches or ()],
        deliveries=[_dated(row) for row in deliveries or ()],
        credits=[
            {**row, "charged": Decimal(row["charged"]), "day": date.fromisoformat(row["day"])} for row in credits or ()
        ],
        progress={
            name: (datetime.fromisoformat(since), datetime.fromisoformat(until))
            for name, (since, until) in (progress or {}).items()
        },
        audit=audit,
    )


def _dated(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "start": datetime.fromisoformat(row["start"])}
