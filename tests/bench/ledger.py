"""Measures a settlement with numbers and chain beside one without, in turns, and a ledger of 1,000,000 entries: a past balance,
the audit, and whether it names an entry of which one digit was flipped.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from django.apps import apps
from django.db import connection, transaction

from accounts.models import Tenant
from billing import audit, ledger
from billing.models import Account, Entry
from config import database_functions
from providers import policies
from providers.contract import Answer, Hit
from searches.calls import settlement
from searches.lanes import queue
from tests.bench import limits
from tests.bench.limits import prepare
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

ROUNDS, SETTLED, WARM = 30, 40, 10
# Fewer than were asked for, so that there is a charge and a release.
RESULTS = 15
ENTRIES, ACCOUNTS, LOOKUPS_A_STATEMENT = 1_000_000, 10, 100
PAST_BALANCES = 500
LANE = "modash"
# The function as it was before entries had numbers and hashes. Numbers come from a sequence, since the column wants one.
PLAIN = """
CREATE OR REPLACE FUNCTION billing_charge_and_release(
    lookup text, cost numeric, released numeric, charge_key text, release_key text, charge_id uuid, release_id uuid,
    why text DEFAULT '', who text DEFAULT ''
) RETURNS numeric LANGUAGE plpgsql SET plan_cache_mode = auto AS $$
DECLARE
    present billing_hold;
    charged numeric(18, 6);
    is_last boolean := released IS NULL;
BEGIN
    SELECT * INTO present FROM billing_hold WHERE reference = lookup FOR UPDATE;
    charged := least(cost, present.open);
    released := coalesce(released, present.open - charged);
    IF is_last AND present.unknown = 0 THEN
        DELETE FROM billing_hold WHERE reference = lookup;
    ELSE
        UPDATE billing_hold SET open = present.open - charged - released WHERE reference = lookup;
    END IF;
    INSERT INTO billing_entry (
        id, account_id, number, kind, amount, posted_after, held_after, unknown_after, reference, key, memo, person, created_at,
        previous_hash, hash, month, spender, budget
    )
    SELECT id, present.account_id, nextval('bench_numbers'), kind, amount, 0, 0, 0, lookup, key, '', '', statement_timestamp(),
        '', '', present.month, present.spender, present.budget
    FROM (VALUES
        (charge_id, 'charge', charged, 'charge:' || charge_key), (release_id, 'release', released, 'release:' || release_key)
    ) AS line (id, kind, amount, key) WHERE amount <> 0;
    IF charged <> 0 OR released <> 0 THEN
        UPDATE billing_account SET posted = posted - charged, held = held - charged - released
        WHERE id = present.account_id;
    END IF;
    RETURN charged;
END $$
"""
FILL = """
SELECT billing_enter(
    %s, array_agg(uuidv7()), array_agg(kind), array_agg(amount), array_agg(name), array_agg(kind || ':' || name), '', '',
    billing_month()
)
FROM (SELECT 'lookup:' || uuidv7() AS name FROM generate_series(1, %s)) AS lookups,
    (VALUES ('hold', 2), ('charge', 0.525), ('release', 1.475)) AS line (kind, amount)
"""


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    if not words or "settlement" in words:
        _settlements(provider)
    if not words or "entries" in words:
        _entries(provider)


def _settlements(provider: Provider) -> None:
    prepare(provider, limits.TEN, latency_ms=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE IF NOT EXISTS bench_numbers START 1000000000")
    submitter = Submitter("settles")
    submitter.submit_many(ROUNDS * 2 * SETTLED + 1)
    taken: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(ROUNDS):
        for version, statement in (("without", PLAIN), ("with", _present())):
            with connection.cursor() as cursor:
                cursor.execute(statement)
            taken[version] += [_settle() for _ in range(SETTLED)][WARM:]
    for name, part in (("median", 0.5), ("fastest tenth", 0.1)):
        without, with_chain = (sorted(times)[int(part * len(times))] for times in taken.values())
        print(
            f"A settlement of {RESULTS} results, {name} of {len(taken['with'])} in turns: {without:.3f} ms without numbers and "
            f"chain, {with_chain:.3f} ms with them: {with_chain / without - 1:+.1%}",
            flush=True,
        )


def _present() -> str:
    found = {name: statement for _, name, statement in database_functions.definitions(apps.get_app_config("billing"))}
    return found["billing_charge_and_release"]


def _settle() -> float:
    """Returns the milliseconds of one settlement."""
    claimed = queue.claim(LANE, policies.of(LANE), lease=timedelta(minutes=5))
    if claimed is None:
        raise SystemExit("Nothing was there to claim.")
    hits = [Hit(type="creator", external_id=str(uuid4()), title="…", detail={}, raw={}) for _ in range(RESULTS)]
    answer = Answer(hits=tuple(hits), billed_results=len(hits), last=True, status=200)
    began = time.perf_counter()
    settlement.answered(claimed, answer)
    return 1000 * (time.perf_counter() - began)


def _entries(provider: Provider) -> None:
    prepare(provider, limits.TEN, latency_ms=0)
    began = time.monotonic()
    accounts = [ledger.account_of(Tenant.objects.create(name=f"tenant {nth}"), LANE) for nth in range(ACCOUNTS)]
    with connection.cursor() as cursor:
        for _ in range(ENTRIES // (3 * LOOKUPS_A_STATEMENT) // ACCOUNTS + 1):
            for account in accounts:
                cursor.execute(FILL, [account.pk, LOOKUPS_A_STATEMENT])
        cursor.execute("VACUUM ANALYZE billing_entry")
    print(f"\n{Entry.objects.count():,} entries written in {time.monotonic() - began:.0f} s", flush=True)
    chance = random.Random(4)
    balances = sorted(_timed(lambda: _past_balance(chance, accounts)) for _ in range(PAST_BALANCES))
    print(f"a past balance: {statistics.median(balances):.2f} ms in the median, {balances[-1]:.2f} ms at most")
    seconds = _timed(_audit_is_clean) / 1000
    print(f"the audit, chain included: {seconds:.1f} s", flush=True)
    for column in ("amount", "posted_after", "held_after", "memo"):
        _flip(chance, accounts, column)


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began)


def _past_balance(chance: random.Random, accounts: Sequence[Account]) -> None:
    number = chance.randrange(1, ENTRIES // ACCOUNTS)
    Entry.objects.values_list("posted_after", "held_after").get(account=chance.choice(accounts), number=number)


def _audit_is_clean() -> None:
    if found := audit.differences():
        raise SystemExit("\n".join(found))


def _flip(chance: random.Random, accounts: Sequence[Account], column: str) -> None:
    """Flips one digit of one entry, says how the audit names it, and flips it back."""
    account, number = chance.choice(accounts), chance.randrange(1, ENTRIES // ACCOUNTS)
    entry = Entry.objects.get(account=account, number=number)
    before = getattr(entry, column)
    after = f"{before}1" if column == "memo" else before + Decimal(1).scaleb(chance.randrange(-6, 3))
    _overwrite(entry, column, after)
    found = audit.differences()
    _overwrite(entry, column, before)
    print(f"{column} of entry {number} of {account}: {' '.join(found)}", flush=True)


def _overwrite(entry: Entry, column: str, value: Decimal | str) -> None:
    """Writes as somebody would who can switch the trigger off."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_entry DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE billing_entry SET {column} = %s WHERE id = %s", [value, entry.pk])
        cursor.execute("ALTER TABLE billing_entry ENABLE TRIGGER USER")
