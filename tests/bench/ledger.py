"""Measures a settlement with numbers, chain, usage and caps beside one without, in turns, and a ledger of 1,000,000 entries: a
past balance, the audit, and whether it names each entry of which one digit was flipped.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.core.management import call_command
from django.db import connection, transaction

from accounts.models import Tenant
from billing import ledger
from billing.models import Account, Entry, KeyCap, TenantCap
from providers import policies
from providers.contract import Answer, Hit
from searches.calls import settlement
from searches.lanes import queue
from tests.bench import filling, limits, variants
from tests.bench.limits import prepare
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

ROUNDS, SETTLED, WARM = 24, 40, 10
# Fewer than were asked for, so that there is a charge and a release.
RESULTS = 15
ACCOUNTS = 10
PAST_BALANCES, FIRST_READS = 500, 50
LANE = "modash"
# What counts in months, budgets and usage.
COUNTING = ("billing_count_usage", "billing_count")
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
# Another digit in each column of an entry, as somebody would write it who can switch the trigger off.
FLIPS = {
    "amount": "amount + 0.000001",
    "posted_after": "posted_after - 100",
    "held_after": "held_after + 0.01",
    "unknown_after": "unknown_after + 1",
    "reference": "regexp_replace(reference, '0', '9')",
    "key": "regexp_replace(key, '0', '9')",
    "memo": "memo || '1'",
    "month": "month + 30",
    "spender": "overlay(spender::text PLACING CASE left(spender::text, 1) WHEN '1' THEN '2' ELSE '1' END FROM 1)::uuid",
    "created_at": "created_at + interval '1 microsecond'",
    "previous_hash": "set_byte(previous_hash, 31, get_byte(previous_hash, 31) # 1)",
    "hash": "set_byte(hash, 0, get_byte(hash, 0) # 16)",
}


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    if not words or "settlement" in words:
        _settlements(provider)
    if not words or "entries" in words:
        _entries(provider)


def _settlements(provider: Provider) -> None:
    prepare(provider, limits.TEN, latency_ms=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE IF NOT EXISTS bench_numbers START 1000000000")
    charge = variants.present("billing_charge_and_release")
    versions = {
        "without": [PLAIN],
        "numbers and chain": [charge, *map(variants.emptied, COUNTING)],
        "numbers, chain, usage and caps": [charge, *map(variants.present, COUNTING)],
    }
    submitter = Submitter("settles")
    TenantCap.objects.create(tenant=submitter.tenant, provider=LANE, amount=Decimal(1_000_000))
    KeyCap.objects.create(api_key=submitter.key, provider=LANE, amount=Decimal(1_000_000))
    submitter.submit_many(ROUNDS * len(versions) * SETTLED + 1)
    taken: dict[str, list[float]] = {name: [] for name in versions}
    for number in range(ROUNDS):
        # Each is first in turn, since a round's first one comes after a pause.
        for name in [*versions][number % 3 :] + [*versions][: number % 3]:
            variants.install(*versions[name])
            taken[name].append(statistics.median([_settle() for _ in range(SETTLED)][WARM:]))
    print(f"\nA settlement of {RESULTS} results, the medians of {ROUNDS} rounds of {SETTLED - WARM} in turns")
    for name, times in taken.items():
        ratios = sorted(one / without for one, without in zip(times, taken["without"], strict=True))
        print(
            f"{name}: {statistics.median(times):.3f} ms, {statistics.median(ratios) - 1:+.1%} "
            f"({ratios[len(ratios) // 4] - 1:+.1%} to {ratios[3 * len(ratios) // 4] - 1:+.1%} for the middle half of the rounds)",
            flush=True,
        )


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
    lookups = filling.ENTRIES // filling.ENTRIES_A_LOOKUP
    for turn, first in enumerate(range(0, lookups, filling.LOOKUPS_A_STATEMENT)):
        filling.spend(accounts[turn % ACCOUNTS].tenant, first=first)
    filling.vacuum()
    print(f"\n{Entry.objects.count():,} entries written in {time.monotonic() - began:.0f} s", flush=True)
    chance = random.Random(4)
    _past_balances(chance)
    began = time.monotonic()
    code, said = _audited()
    if code:
        raise SystemExit(said)
    print(f"audit_ledger, all checks: {time.monotonic() - began:.1f} s (needed: less than 60 s)", flush=True)
    _flipped(chance)


def _past_balances(chance: random.Random) -> None:
    heads = list(Account.objects.filter(last_number__gt=0).values_list("pk", "last_number"))
    reads = {"by number": _balance_after, "at a moment": _balance_at}
    times: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(FIRST_READS + PAST_BALANCES):
        account_id, last = chance.choice(heads)
        number = chance.randint(1, last)
        moment = Entry.objects.values_list("created_at", flat=True).get(account=account_id, number=number)
        for name, value in (("by number", number), ("at a moment", moment)):
            began = time.perf_counter()
            reads[name](account_id, value)
            times[name].append(1000 * (time.perf_counter() - began))
    for name, found in times.items():
        found = sorted(found[FIRST_READS:])
        print(
            f"a past balance {name}: {statistics.median(found):.2f} ms in the median, {found[int(0.99 * len(found))]:.2f} ms for "
            f"99 %, {found[-1]:.2f} ms at most (needed: less than 10 ms)",
            flush=True,
        )


def _balance_after(account_id: UUID, number: Any) -> None:
    Entry.objects.values_list("posted_after", "held_after").get(account=account_id, number=number)


def _balance_at(account_id: UUID, moment: Any) -> None:
    earlier = Entry.objects.filter(account=account_id, created_at__lte=moment).order_by("-created_at", "-number")
    earlier.values_list("posted_after", "held_after")[0]


def _flipped(chance: random.Random) -> None:
    """Flips a digit of one entry of each account, its first, its last, the middle one or any, and audits all of them at once."""
    accounts = list(Account.objects.filter(last_number__gt=0).select_related("tenant").order_by("pk"))
    columns = [*FLIPS]
    chance.shuffle(columns)
    for nth in range(0, len(columns), len(accounts)):
        flips = list(zip(accounts, columns[nth:], strict=False))
        numbers = [_number(chance, place, account.last_number) for place, (account, _) in enumerate(flips)]
        for (account, column), number in zip(flips, numbers, strict=True):
            _overwrite(account, number, f"{column} = {FLIPS[column]}")
        code, said = _audited()
        for (account, column), number in zip(flips, numbers, strict=True):
            named = f"{account}: entry {number} was altered" in said
            print(f"{column} of entry {number} of {account}: {'named' if named else 'NOT NAMED'}", flush=True)
        print(f"exit code {code}", flush=True)
        _restore()


def _number(chance: random.Random, place: int, last: int) -> int:
    return [1, last, last // 2][place] if place < 3 else chance.randint(2, last - 1)


def _overwrite(account: Account, number: int, change: str) -> None:
    """Writes what somebody would who can switch the trigger off, and keeps the entry as it was."""
    where = "WHERE account_id = %s AND number = %s"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bench_entries (LIKE billing_entry)")
        cursor.execute(f"INSERT INTO bench_entries SELECT * FROM billing_entry {where}", [account.pk, number])
        cursor.execute("ALTER TABLE billing_entry DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE billing_entry SET {change} {where}", [account.pk, number])
        cursor.execute("ALTER TABLE billing_entry ENABLE TRIGGER USER")


def _restore() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_entry DISABLE TRIGGER USER")
        cursor.execute(
            "DELETE FROM billing_entry WHERE (account_id, number) IN (SELECT account_id, number FROM bench_entries)"
        )
        cursor.execute("INSERT INTO billing_entry SELECT * FROM bench_entries")
        cursor.execute("ALTER TABLE billing_entry ENABLE TRIGGER USER")
        cursor.execute("DROP TABLE bench_entries")


def _audited() -> tuple[int, str]:
    """Returns the exit code of `audit_ledger`, and what it named."""
    said = StringIO()
    try:
        call_command("audit_ledger", stdout=StringIO(), stderr=said)
    except SystemExit as end:
        return int(str(end.code)), said.getvalue()
    return 0, ""
