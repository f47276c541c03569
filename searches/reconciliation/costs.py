"""Adds up what the calls with one key cost between two readings of its account.

Each call has a time in which the provider may have counted it: from its first byte, or its claim if that is unknown, until
`LAG` after its end. A call whose time is between the readings was surely counted between them. One whose time overlaps a reading
may have been counted on either side of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection

from accounts.ids import first_id_of
from billing.models import Reading
from billing.reconciliation import LAG, CostOfCalls, Costs
from providers.keyring.verification import AccountReading
from providers.models import Credential

# A call is settled within minutes, and a worker's clock, by which its id is made, may be minutes off.
LONGEST_CALL = timedelta(hours=1)

# Calls that were never sent are left out. What an armed call costs is unknown yet: at most its whole page. The primary key's
# range finds the calls, because ids are ordered by time; a week is the most (`billing.reconciliation.APART_AT_MOST`). A day of
# one call a second took 0.2 s on two busy cores. An index by keys would slow every claim down.
COSTS = """
WITH costs AS (
    SELECT call.state, call.credits + call.overbilled AS billed, call.overbilled, call.unknown,
        lookup.price_per_call + lookup.page_size * lookup.price_per_result AS most,
        lookup.tenant_id = %(tenant)s AS is_own,
        call.state <> 'armed' AND coalesce(call.sent_at, call.armed_at) >= %(opened_by)s
            AND call.finished_at + %(lag)s <= %(closed_from)s AS is_between
    FROM searches_call call JOIN searches_lookup lookup ON lookup.id = call.lookup_id
    WHERE call.id >= %(first_id)s AND call.id < %(end_id)s AND call.key_fingerprint = %(key)s
        AND (call.sent_at IS NOT NULL OR call.state IN ('armed', 'unknown'))
        AND coalesce(call.sent_at, call.armed_at) <= %(closed_by)s
        AND (call.finished_at IS NULL OR call.finished_at + %(lag)s >= %(opened_from)s)
)
SELECT
    is_own,
    count(*) FILTER (WHERE is_between AND unknown = 0) AS calls,
    count(*) FILTER (WHERE NOT is_between OR unknown > 0) AS open_calls,
    coalesce(sum(billed) FILTER (WHERE is_between), 0) AS billed,
    coalesce(sum(overbilled) FILTER (WHERE is_between), 0) AS overbilled,
    coalesce(sum(CASE WHEN state = 'armed' THEN most ELSE billed END) FILTER (WHERE NOT is_between), 0) AS overlapping,
    coalesce(sum(unknown), 0) AS unknown
FROM costs GROUP BY is_own
"""
NAMES = ("calls", "open_calls", "billed", "overbilled", "overlapping", "unknown")


def between(credential: Credential, opening: Reading, closing: AccountReading | Reading) -> Costs:
    """Returns what all calls with the credential's key cost: those of its tenant, and those of others that have the same key."""
    values: dict[str, Any] = {
        "tenant": credential.tenant_id,
        "key": credential.key_fingerprint,
        "first_id": first_id_of(opening.asked_at - LONGEST_CALL),
        "end_id": first_id_of(closing.answered_at + LONGEST_CALL),
        "opened_from": opening.asked_at,
        "opened_by": opening.answered_at,
        "closed_from": closing.asked_at,
        "closed_by": closing.answered_at,
        "lag": LAG,
    }
    with connection.cursor() as cursor:
        cursor.execute(COSTS, values)
        found = {is_own: CostOfCalls(**dict(zip(NAMES, row, strict=True))) for is_own, *row in cursor.fetchall()}
    return Costs(own=found.get(True, CostOfCalls()), of_others=found.get(False, CostOfCalls()))
