"""Rebuilds every balance from the entries alone, walks every account's chain, and names each first difference.

Compared are an entry with the one before it (number, hash, balances), an account with its first entry (whose it is), its grants
(its kind) and its last entry, a hold with its entries, each day's usage with its charges, and what counts under caps and budgets
(`caps.sql`) with its entries. The same balances follow from the double entry (`books.sql`), which has its own rules of what an
entry moves. Closed months are compared with their entries by `statement_audit`, hashes that were kept elsewhere by `heads`, and,
where all else is right, grants by `grant_audit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from billing import grant_audit, heads, statement_audit
from billing.heads import Head
from billing.models import Account
from billing.serializers import credits_text

# The first fault of each account. An entry that was altered and hashed anew shows in the next one, which names another before it.
CHAIN = """
WITH walked AS (
    SELECT entry, lag(entry) OVER (PARTITION BY entry.account_id ORDER BY entry.number) AS before
    FROM billing_entry AS entry
), accounts AS MATERIALIZED (
    SELECT id, last_number, billing_account_hash(account) AS first_hash FROM billing_account AS account
), compared AS (
    SELECT (entry).account_id, (entry).number, coalesce((before).number, 0) AS before,
        (entry).hash = billing_entry_hash(entry) AS is_itself,
        (entry).previous_hash = coalesce((before).hash, accounts.first_hash) AS is_next,
        (entry).previous_hash = (before).previous_hash AS is_beside,
        (entry).posted_after AS posted, (entry).held_after AS held, (entry).unknown_after AS unknown,
        coalesce((before).posted_after, 0) + billing_posts((entry).kind, (entry).amount) AS posted_due,
        coalesce((before).held_after, 0) + billing_holds((entry).kind, (entry).amount) AS held_due,
        coalesce((before).unknown_after, 0) + billing_unknowns((entry).kind, (entry).amount) AS unknown_due,
        accounts.last_number
    FROM walked JOIN accounts ON accounts.id = (entry).account_id
), judged AS (
    SELECT compared.*, CASE
        WHEN number > before + 1 THEN 'missing'
        WHEN number <= before OR number > last_number THEN 'inserted'
        WHEN NOT is_next AND is_beside THEN 'before inserted'
        WHEN NOT is_itself THEN 'altered'
        WHEN NOT is_next AND before = 0 THEN 'of another'
        WHEN NOT is_next THEN 'before altered'
        WHEN (posted, held, unknown) IS DISTINCT FROM (posted_due, held_due, unknown_due) THEN 'summed'
    END AS fault
    FROM compared
), named AS (
    SELECT judged.*,
        CASE WHEN fault LIKE 'before %' THEN before WHEN fault = 'missing' THEN before + 1 ELSE number END AS of_entry
    FROM judged WHERE fault IS NOT NULL
)
SELECT DISTINCT ON (account_id)
    account_id, fault, of_entry, posted, posted_due, held, held_due, unknown, unknown_due
FROM named ORDER BY account_id, of_entry, number
"""
ENDS = """
SELECT account.id, account.last_number, coalesce(last.number, 0), account.last_hash = coalesce(last.hash, ''),
    account.posted, coalesce(last.posted_after, 0), account.held, coalesce(last.held_after, 0),
    account.unknown, coalesce(last.unknown_after, 0)
FROM billing_account AS account LEFT JOIN LATERAL (
    SELECT * FROM billing_entry WHERE account_id = account.id ORDER BY number DESC LIMIT 1
) AS last ON true
WHERE (account.last_number, account.last_hash, account.posted, account.held, account.unknown) IS DISTINCT FROM (
    coalesce(last.number, 0), coalesce(last.hash, ''), coalesce(last.posted_after, 0), coalesce(last.held_after, 0),
    coalesce(last.unknown_after, 0)
)
ORDER BY account.id
"""
# The first grant makes an account prepaid, and nothing makes it metered again.
KINDS = """
SELECT account.id, coalesce(first.number, 0)
FROM billing_account AS account LEFT JOIN LATERAL (
    SELECT number FROM billing_entry WHERE account_id = account.id AND kind = 'grant' ORDER BY number LIMIT 1
) AS first ON true
WHERE (account.kind = 'prepaid') <> (first.number IS NOT NULL)
ORDER BY account.id
"""
BOOKS = """
SELECT account.id, books.balance, coalesce(books.available, 0), account.posted - account.held,
    coalesce(books.held, 0), account.held - account.unknown, coalesce(books.unknown, 0), account.unknown
FROM billing_account AS account LEFT JOIN billing_trial_balance AS books ON books.account_id = account.id
WHERE books.balance <> 0 OR (coalesce(books.available, 0), coalesce(books.held, 0), coalesce(books.unknown, 0))
    IS DISTINCT FROM (account.posted - account.held, account.held - account.unknown, account.unknown)
ORDER BY account.id
"""
HOLDS = """
SELECT account_id, reference, coalesce(entries.number, 0), coalesce(hold.open, 0), coalesce(entries.held - entries.unknown, 0),
    coalesce(hold.unknown, 0), coalesce(entries.unknown, 0)
FROM billing_hold AS hold FULL JOIN (
    SELECT account_id, reference, max(number) AS number, sum(billing_holds(kind, amount)) AS held,
        sum(billing_unknowns(kind, amount)) AS unknown
    FROM billing_entry WHERE kind IN ('hold', 'unknown', 'charge', 'release') GROUP BY account_id, reference
) AS entries USING (account_id, reference)
WHERE (coalesce(hold.open, 0), coalesce(hold.unknown, 0))
    IS DISTINCT FROM (coalesce(entries.held - entries.unknown, 0), coalesce(entries.unknown, 0))
ORDER BY account_id, reference
"""
# The days on which usage by an API key, by metadata or not, differs from the charges.
USAGE = """
SELECT account_id, day, api_key, coalesce(plain.charged, 0), coalesce(entries.charged, 0),
    coalesce(by_metadata.charged, 0), coalesce(entries.charged, 0),
    coalesce(plain.charges, 0), coalesce(entries.charges, 0), coalesce(by_metadata.charges, 0), coalesce(entries.charges, 0)
FROM (
    SELECT account_id, (created_at AT TIME ZONE 'UTC')::date AS day, coalesce(spender::text, '') AS api_key,
        sum(amount) AS charged, count(*) AS charges
    FROM billing_entry WHERE kind = 'charge' GROUP BY 1, 2, 3
) AS entries
FULL JOIN (
    SELECT account_id, day, api_key, sum(charged) AS charged, sum(charges) AS charges FROM billing_usage GROUP BY 1, 2, 3
) AS plain USING (account_id, day, api_key)
FULL JOIN (
    SELECT account_id, day, api_key, sum(charged) AS charged, sum(charges) AS charges
    FROM billing_usagebymetadata GROUP BY 1, 2, 3
) AS by_metadata USING (account_id, day, api_key)
WHERE (plain.charged, plain.charges) IS DISTINCT FROM (entries.charged, entries.charges)
    OR (by_metadata.charged, by_metadata.charges) IS DISTINCT FROM (entries.charged, entries.charges)
ORDER BY account_id, day, api_key
"""
# Holds that count elsewhere than their entries.
PLACES = """
SELECT hold.account_id, hold.reference FROM billing_hold AS hold WHERE EXISTS (
    SELECT FROM billing_entry AS entry
    WHERE entry.reference = hold.reference AND kind IN ('hold', 'unknown', 'charge', 'release')
        AND (entry.month, entry.spender, entry.budget) IS DISTINCT FROM (hold.month, hold.spender, hold.budget)
)
ORDER BY hold.account_id, hold.reference
"""
COUNTS = """
SELECT account_id, {name}, coalesce(kept.used, 0), coalesce(entries.used, 0), coalesce(kept.held, 0), coalesce(entries.held, 0)
FROM {kept} AS kept FULL JOIN (
    SELECT account_id, {counted_by}, coalesce(sum(amount) FILTER (WHERE kind = 'charge'), 0) AS used,
        sum(billing_holds(kind, amount)) AS held
    FROM billing_entry WHERE kind IN ('hold', 'charge', 'release') AND {which} GROUP BY account_id, {counted_by}
) AS entries USING (account_id, {counted_by})
WHERE (coalesce(kept.used, 0), coalesce(kept.held, 0)) IS DISTINCT FROM (coalesce(entries.used, 0), coalesce(entries.held, 0))
ORDER BY account_id, {counted_by}
"""
MONTH = "coalesce('in ' || to_char(month, 'YYYY-MM'), 'in no month')"
# What is kept of each month, of each month of an API key, and of each budget, beside what the entries say.
COUNTED = (
    COUNTS.format(name=MONTH, kept="billing_tenantmonth", counted_by="month", which="true"),
    COUNTS.format(
        name=f"{MONTH} || ' by the API key ' || spender",
        kept="billing_keymonth",
        counted_by="month, spender",
        which="spender IS NOT NULL",
    ),
    COUNTS.format(
        name="budget",
        kept="(SELECT account_id, reference AS budget, used, held FROM billing_budget)",
        counted_by="budget",
        which="budget <> ''",
    ),
)
PLACED_ELSEWHERE = "the hold counts in another month, API key or budget than its entries"
FAULTS = {
    "missing": "entry {} is missing",
    "inserted": "entry {} was inserted: the account has not numbered it",
    "before inserted": "entry {} was inserted: the next one was written before it",
    "of another": "entry {} was written for another tenant or provider: the account was altered, or the entry",
    "altered": "entry {} was altered: its hash is not that of what it says",
    "before altered": "entry {} was altered: the next one was written after another",
}


@contextmanager
def snapshot() -> Iterator[CursorWrapper]:
    """Yields a cursor; all that is read in the block is of one moment."""
    begins_here = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if begins_here:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield cursor


def differences(kept: Sequence[Head] = ()) -> list[str]:
    """Returns a sentence for each account, hold or statement that its entries do not add up to; all from one snapshot.

    Of an account the first fault is named, since most of what comes after follows from it. `kept`: hashes that were out of the
    database's reach.
    """
    with snapshot() as cursor:
        found: dict[UUID, list[str]] = {}
        for query, say in ACCOUNTS:
            cursor.execute(query)
            for account, *values in cursor.fetchall():
                found.setdefault(account, list(say(*values)))
        cursor.execute(HOLDS)
        holds = [(account, list(_of_a_hold(*values))) for account, *values in cursor.fetchall()]
        cursor.execute(PLACES)
        holds += [(account, [f"{name}: {PLACED_ELSEWHERE}"]) for account, name in cursor.fetchall()]
        for query in COUNTED:
            cursor.execute(query)
            holds += [(account, list(_of_a_count(*values))) for account, *values in cursor.fetchall()]
        others = [(account, [said]) for account, said in (*statement_audit.faults(cursor), *heads.faults(cursor, kept))]
        faulty = {*found, *(account for account, _ in (*holds, *others))}
        grants = [(account, [said]) for account, said in grant_audit.faults(cursor) if account not in faulty]
        all_said = [*sorted(found.items()), *holds, *others, *grants]
        accounts = Account.objects.select_related("tenant").in_bulk({account for account, _ in all_said})
    return [f"{accounts.get(account, account)}: {what}." for account, said in all_said for what in said]


def _of_the_chain(fault: str, number: int, *balances: Decimal) -> Iterator[str]:
    if fault in FAULTS:
        yield FAULTS[fault].format(number)
        return
    for name, (kept, due) in _pairs(("posted", "held", "unknown"), balances):
        if kept != due:
            yield f"after entry {number} {name} is {credits_text(kept)}, the entries say {credits_text(due)}"
            return


def _of_the_end(last_number: int, number: int, is_whole: bool, *balances: Decimal) -> Iterator[str]:
    if number < last_number:
        yield f"entry {number + 1} is missing: the account has numbered {last_number}"
    elif not is_whole:
        yield f"entry {number} was altered: the account ends with another hash"
    else:
        yield from _differing(("posted", "held", "unknown"), balances, number)


def _of_the_books(balance: Decimal, *balances: Decimal) -> Iterator[str]:
    if balance:
        yield f"the trial balance is {credits_text(balance)}, and must be 0"
    for name, (books, kept) in _pairs(("available", "held and not unknown", "unknown"), balances):
        if books != kept:
            yield f"{name} is {credits_text(kept)}, the books say {credits_text(books)}"


def _of_the_kind(first_grant: int) -> Iterator[str]:
    if first_grant:
        yield f"the account is metered, though entry {first_grant} granted it credits"
    else:
        yield "the account is prepaid, though no entry granted it credits"


def _of_usage(day: date, api_key: str, *values: Decimal) -> Iterator[str]:
    names = ("usage", "usage by metadata", "the number of charges in usage", "the number in usage by metadata")
    for name, (kept, due) in _pairs(names, values):
        if kept != due:
            by = f" by the API key {api_key}" if api_key else ""
            yield f"{name} on {day}{by} is {credits_text(Decimal(kept))}, the entries say {credits_text(Decimal(due))}"


def _of_a_hold(reference: str, number: int, *balances: Decimal) -> Iterator[str]:
    for said in _differing(("open", "unknown"), balances, number):
        yield f"{reference}: {said}"


def _of_a_count(name: str, *balances: Decimal) -> Iterator[str]:
    for what, (kept, due) in _pairs(("used", "held"), balances):
        if kept != due:
            yield f"{name}: {what} is {credits_text(kept)}, the entries say {credits_text(due)}"


def _differing(names: tuple[str, ...], balances: tuple[Decimal, ...], number: int) -> Iterator[str]:
    for name, (kept, due) in _pairs(names, balances):
        if kept != due:
            yield f"{name} is {credits_text(kept)}, the entries say {credits_text(due)} (the last is number {number})"


def _pairs(names: tuple[str, ...], balances: tuple[Decimal, ...]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    return zip(names, zip(balances[::2], balances[1::2], strict=True), strict=True)


# Queries of one row for each account that differs, and what a row says.
ACCOUNTS = (
    (CHAIN, _of_the_chain),
    (ENDS, _of_the_end),
    (KINDS, _of_the_kind),
    (BOOKS, _of_the_books),
    (USAGE, _of_usage),
)
