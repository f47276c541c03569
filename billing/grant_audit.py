"""Checks grants and draws against the entries, and names the first wrong one of each account.

A grant is compared with its entry and with the entries of its expiry. What it has available, expired and drawn must not be more
than was granted; the rest is spent. Its account's next expiry must not be after its own. The draws of a hold must not be more
than it holds, and an account must have at least what its grants have available.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.serializers import credits_text

QUERY = """
WITH drawn AS (
    SELECT grant_id, sum(amount) AS amount FROM billing_draw GROUP BY grant_id
), expired AS (
    SELECT account_id, reference, sum(amount) AS amount FROM billing_entry WHERE kind = 'expiry' GROUP BY account_id, reference
), compared AS (
    SELECT coalesce(kept.account_id, entry.account_id) AS account_id, coalesce(kept.number, entry.number) AS number,
        entry.amount AS granted, kept.amount, kept.available, kept.expired, kept.has_expired,
        coalesce(drawn.amount, 0) AS drawn, coalesce(expired.amount, 0) AS expired_due
    FROM billing_grant AS kept
    FULL JOIN (SELECT * FROM billing_entry WHERE kind = 'grant') AS entry
    ON (entry.account_id, entry.number) = (kept.account_id, kept.number)
    LEFT JOIN drawn ON drawn.grant_id = kept.id
    LEFT JOIN expired ON expired.account_id = coalesce(kept.account_id, entry.account_id)
        AND expired.reference = 'entry:' || coalesce(kept.number, entry.number)
), faults AS (
    SELECT account_id, number, 'grant ' || number AS name, CASE
        WHEN amount IS NULL THEN 'is missing, though entry ' || number || ' is there'
        WHEN granted IS NULL THEN 'has no entry'
    END AS what, NULL::numeric AS kept, NULL::numeric AS due
    FROM compared
    UNION ALL
    SELECT account_id, number, 'grant ' || number, 'the amount', amount, granted FROM compared WHERE amount <> granted
    UNION ALL
    SELECT account_id, number, 'grant ' || number, 'what has expired', expired, expired_due
    FROM compared WHERE expired <> expired_due
    UNION ALL
    SELECT account_id, number, 'grant ' || number, 'what is available after its expiry', available, 0
    FROM compared WHERE has_expired AND available <> 0
    UNION ALL
    SELECT account_id, number, 'grant ' || number, 'what is available, expired and drawn', available + expired + drawn, granted
    FROM compared WHERE available + expired + drawn > granted
    UNION ALL
    SELECT hold.account_id, NULL, hold.reference, 'what it draws from grants', sum(draw.amount), hold.open + hold.unknown
    FROM billing_draw AS draw JOIN billing_hold AS hold USING (reference)
    GROUP BY hold.reference HAVING sum(draw.amount) > hold.open + hold.unknown
    UNION ALL
    SELECT account_id, NULL, 'an expiry', 'names ' || reference || ', which is no grant', NULL, NULL
    FROM expired WHERE NOT EXISTS (
        SELECT FROM billing_grant AS kept WHERE kept.account_id = expired.account_id AND 'entry:' || kept.number = reference
    )
    UNION ALL
    SELECT account.id, kept.number, 'grant ' || kept.number,
        'would expire too late: the next expiry of the account is after it', NULL, NULL
    FROM billing_grant AS kept JOIN billing_account AS account ON account.id = kept.account_id
    WHERE available > 0 AND expires_at < coalesce(next_expiry, 'infinity')
    UNION ALL
    SELECT account.id, NULL, 'the grants', 'what they have available', sum(available), posted - held
    FROM billing_grant JOIN billing_account AS account ON account.id = account_id
    GROUP BY account.id HAVING sum(available) > posted - held
)
SELECT DISTINCT ON (account_id) account_id, name, what, kept, due FROM faults
WHERE what IS NOT NULL ORDER BY account_id, number, name, what
"""


def faults(cursor: Any) -> list[tuple[UUID, str]]:
    """Returns the first fault of each account's grants, with the account's id."""
    cursor.execute(QUERY)
    return [(account, _said(*values)) for account, *values in cursor.fetchall()]


def _said(name: str, what: str, kept: Decimal | None, due: Decimal | None) -> str:
    if kept is None or due is None:
        return f"{name} {what}"
    return f"{name}: {what} is {credits_text(kept)}, and should be {credits_text(due)}"
