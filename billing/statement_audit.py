"""Checks closed months against the entries, and names the first wrong statement of each account.

A statement is compared with the one before it (number, balances, hash), with its entries (sums, balances and hash after
the last), and with itself (its own hash). The last one must be the one that the account ends with, and the month before the open
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from billing.models import Statement
from billing.serializers import credits_text

BALANCES = ("posted", "held", "unknown")
SUMS = tuple(Statement.SUMS.values())
NAMES = (
    *("the first number", *(f"opening {name}" for name in BALANCES)),
    *(*SUMS, *(f"closing {name}" for name in BALANCES)),
)
# Each array has a value for each of NAMES.
QUERY = """
WITH walked AS (
    SELECT statement, lag(statement) OVER mine AS before, lead(statement) OVER mine IS NULL AS is_last
    FROM billing_statement AS statement WINDOW mine AS (PARTITION BY statement.account_id ORDER BY statement.month)
), compared AS (
    SELECT account.id AS account_id, (statement).month, coalesce((before).month, (statement).month) AS month_before,
        (account.open_month - interval '1 month')::date AS newest, (statement).month IS NULL AS has_none,
        (before).month IS NOT NULL AND (before).month + interval '1 month' <> (statement).month AS is_apart,
        (statement).hash = billing_statement_hash(statement) AS is_itself,
        (statement).previous_hash = coalesce((before).hash, '') AS is_next,
        NOT coalesce(is_last, true) OR account.last_statement_hash = coalesce((statement).hash, '') AS is_end,
        coalesce(is_last, false) AS is_last, (statement).last_entry_hash = coalesce(last.hash, '') AS ends_so,
        ARRAY[(statement).first_number, (statement).opening_posted, (statement).opening_held, (statement).opening_unknown,
            (statement).grants, (statement).expiries, (statement).adjustments, (statement).charges, (statement).holds,
            (statement).releases, (statement).unknowns, (statement).closing_posted, (statement).closing_held,
            (statement).closing_unknown] AS kept,
        ARRAY[coalesce((before).last_number, 0) + 1, coalesce((before).closing_posted, 0), coalesce((before).closing_held, 0),
            coalesce((before).closing_unknown, 0), sums.grants, sums.expiries, sums.adjustments, sums.charges, sums.holds,
            sums.releases, sums.unknowns, coalesce(last.posted_after, 0), coalesce(last.held_after, 0),
            coalesce(last.unknown_after, 0)] AS due
    FROM billing_account AS account LEFT JOIN walked ON (statement).account_id = account.id
    LEFT JOIN billing_entry AS last ON last.account_id = account.id AND last.number = (statement).last_number
    LEFT JOIN LATERAL billing_sums(account.id, (statement).first_number, (statement).last_number) AS sums ON true
), judged AS (
    SELECT compared.*, CASE
        WHEN has_none THEN CASE WHEN NOT is_end THEN 'missing' END
        WHEN is_apart THEN 'missing before'
        WHEN month > newest THEN 'inserted'
        WHEN NOT is_itself OR NOT is_next AND month = month_before THEN 'altered'
        WHEN NOT is_next THEN 'before altered'
        WHEN kept <> due THEN 'summed'
        WHEN NOT ends_so THEN 'ended'
        WHEN is_last AND month < newest THEN 'missing after'
        WHEN NOT is_end THEN 'another end'
    END AS fault
    FROM compared
)
SELECT DISTINCT ON (account_id) account_id, fault, to_char(of_month, 'YYYY-MM'), kept, due
FROM (
    SELECT judged.*, CASE fault
        WHEN 'missing' THEN newest WHEN 'before altered' THEN month_before
        WHEN 'missing before' THEN month_before + interval '1 month' WHEN 'missing after' THEN month + interval '1 month'
        ELSE month
    END AS of_month FROM judged WHERE fault IS NOT NULL
) AS named ORDER BY account_id, of_month, month
"""
FAULTS = {
    "missing": "is missing",
    "missing before": "is missing",
    "missing after": "is missing",
    "inserted": "was inserted: that month is not closed",
    "altered": "was altered: its hash is not that of what it says after the one before it",
    "before altered": "was altered: the next one was written after another",
    "ended": "does not end with the hash of its last entry",
    "another end": "was altered: the account ends with another hash",
}


def faults(cursor: Any) -> list[tuple[UUID, str]]:
    """Returns the first fault of each account's statements, with the account's id."""
    cursor.execute(QUERY)
    return [
        (account, f"statement {month} {what}")
        for account, fault, month, kept, due in cursor.fetchall()
        for what in _said(fault, kept, due)
    ]


def _said(fault: str, kept: list[Any], due: list[Any]) -> Iterator[str]:
    if fault in FAULTS:
        yield FAULTS[fault]
        return
    for name, has, must in zip(NAMES, kept, due, strict=True):
        if has != must:
            yield f"says that {name} is {credits_text(has)}; it must be {credits_text(must)}"
            return
