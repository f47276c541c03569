"""Checks what must be true at the end, and some of it at any moment before: each law reads all rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from providers import registry
from providers.sandbox.meter import fingerprint
from tests.accounts.receiving import Heard
from tests.chaos.cast import CAST
from tests.chaos.orders import Order
from tests.processes import Sightline

LOOK_SECONDS = 0.5
# States of a call that was sent for certain, and of one with an unknown outcome.
CALLS = """
SELECT lookup.provider, tenant.name,
    count(*) FILTER (WHERE call.state = 'answered' OR call.state = 'failed' AND call.sent_at IS NOT NULL),
    count(*) FILTER (WHERE call.state = 'unknown')
FROM searches_call call JOIN searches_lookup lookup ON lookup.id = call.lookup_id
    JOIN accounts_tenant tenant ON tenant.id = lookup.tenant_id GROUP BY 1, 2
"""
CREDITS = """
SELECT account.provider, tenant.name,
    coalesce((SELECT sum(amount) FROM billing_entry WHERE account_id = account.id AND kind = 'charge'), 0),
    coalesce((SELECT sum(unknown) FROM billing_hold WHERE account_id = account.id), 0)
FROM billing_account account JOIN accounts_tenant tenant ON tenant.id = account.tenant_id
"""
UNFINISHED = """
SELECT search.id, search.status, lookup.status, lookup.queue_state FROM searches_search search
    JOIN searches_lookup lookup ON lookup.search_id = search.id
WHERE search.finished_at IS NULL OR search.status IN ('queued', 'running')
    OR lookup.finished_at IS NULL OR lookup.status IN ('queued', 'running')
"""
UNDELIVERED = "SELECT id, state, next_attempt_at, attempt_count FROM accounts_delivery WHERE state <> 'delivered'"
REPEATS_THAT_COST = """
SELECT lookup.id, lookup.repeat FROM searches_lookup lookup WHERE lookup.repeat <> 'miss' AND (
    EXISTS (SELECT FROM searches_call WHERE lookup_id = lookup.id)
    OR EXISTS (SELECT FROM billing_entry WHERE reference = 'lookup:' || lookup.id)
)
"""
LEFT_OF_THE_ERASED = """
SELECT search.id, lookup.id FROM searches_search search JOIN searches_lookup lookup ON lookup.search_id = search.id
WHERE search.erased_at IS NOT NULL AND (
    search.metadata <> '{}' OR search.image_id IS NOT NULL OR lookup.parameters <> '{}' OR lookup.repeat_key <> ''
    OR EXISTS (SELECT FROM searches_result WHERE lookup_id = lookup.id)
    OR EXISTS (SELECT FROM accounts_event WHERE reference = 'search:' || search.id)
)
"""
# Erasing a search erases its events; endpoints that received them before know of it.
ENDS = """
SELECT 'search.' || status, id, erased_at IS NOT NULL FROM searches_search UNION ALL
SELECT 'lookup.finished', lookup.id, erased_at IS NOT NULL FROM searches_lookup lookup
    JOIN searches_search search ON search.id = lookup.search_id
"""
# Each law is one statement, and therefore reads one snapshot.
MISCOUNTED = """
SELECT tenant_queue.lane_id, tenant_queue.tenant_id,
    tenant_queue.ready, tenant_queue.pending_calls, tenant_queue.wake_at, actual.*
FROM searches_tenantqueue tenant_queue
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE queue_state = 'ready') AS ready,
        coalesce(sum(pages - pages_done) FILTER (WHERE queue_state = 'ready'), 0) AS pending_calls,
        min(not_before) FILTER (WHERE queue_state = 'delayed') AS wake_at
    FROM searches_lookup WHERE lane_id = tenant_queue.lane_id AND tenant_id = tenant_queue.tenant_id
) AS actual
WHERE tenant_queue.ready <> actual.ready OR tenant_queue.pending_calls <> actual.pending_calls
    OR actual.wake_at < coalesce(tenant_queue.wake_at, 'infinity')
"""
WITHOUT_A_QUEUE = """
SELECT lookup.id, lookup.lane_id, lookup.queue_state FROM searches_lookup lookup
WHERE lookup.queue_state IN ('ready', 'delayed', 'blocked') AND NOT EXISTS (
    SELECT 1 FROM searches_tenantqueue WHERE lane_id = lookup.lane_id AND tenant_id = lookup.tenant_id
)
"""
WITHOUT_LEASE = """
SELECT lookup.id, lookup.status, lookup.queue_state, count(call.id) FROM searches_lookup lookup
    LEFT JOIN searches_call call ON call.lookup_id = lookup.id AND call.state = 'armed'
GROUP BY lookup.id HAVING count(call.id) <> CASE WHEN lookup.status = 'running' AND lookup.queue_state = 'none' THEN 1 ELSE 0 END
"""


def counts(sightline: Sightline) -> str:
    """Returns in words how much there was to check."""
    tables = {
        "searches": "SELECT status, count(*) FROM searches_search GROUP BY 1 ORDER BY 2 DESC",
        "lookups": "SELECT status, count(*) FROM searches_lookup GROUP BY 1 ORDER BY 2 DESC",
        "repeats": "SELECT repeat, count(*) FROM searches_lookup GROUP BY 1 ORDER BY 2 DESC",
        "calls": "SELECT state, count(*) FROM searches_call GROUP BY 1 ORDER BY 2 DESC",
        "events": "SELECT type, count(*) FROM accounts_event GROUP BY 1 ORDER BY 2 DESC",
    }
    said = {name: ", ".join(f"{count} {kind}" for kind, count in sightline.rows(rows)) for name, rows in tables.items()}
    return "".join(f"{name:9} {what}\n" for name, what in said.items())


def hold_at_the_end(sightline: Sightline, *, orders: Sequence[Order]) -> None:
    every_order_is_one_search(sightline, orders)
    nothing_is_left_of_what_was_erased(sightline)
    every_search_is_finished(sightline)
    every_tenant_queue_is_counted_right(sightline)
    what_is_under_way_has_a_lease(sightline)
    no_limit_was_broken(sightline)
    each_call_that_left_was_counted(sightline)
    each_credit_that_was_billed_is_charged_or_unknown(sightline)
    nothing_is_held_but_the_unknown(sightline)
    no_repeat_cost_anything(sightline)
    the_ledger_adds_up(sightline)
    the_database_saw_nothing_impossible(sightline)


def hold_at_any_instant(sightline: Sightline) -> None:
    every_tenant_queue_is_counted_right(sightline)
    what_is_under_way_has_a_lease(sightline)


def every_order_is_one_search(sightline: Sightline, orders: Sequence[Order]) -> None:
    """Checks that each order is one search. An erased search no longer names its order."""
    numbers = "SELECT (metadata->>'number')::int FROM searches_search WHERE erased_at IS NULL"
    kept = sorted(number for (number,) in sightline.rows(numbers))
    assert kept == [order.number for order in orders if order.erased_after is None], kept
    [(erased,)] = sightline.rows("SELECT count(*) FROM searches_search WHERE erased_at IS NOT NULL")
    assert erased == len(orders) - len(kept), erased


def nothing_is_left_of_what_was_erased(sightline: Sightline) -> None:
    nothing_of(sightline, LEFT_OF_THE_ERASED)


def wait_for_the_end(sightline: Sightline, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(sightline.rows, (UNFINISHED, UNDELIVERED))) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def every_search_is_finished(sightline: Sightline) -> None:
    nothing_of(sightline, UNFINISHED)


def every_tenant_queue_is_counted_right(sightline: Sightline) -> None:
    nothing_of(sightline, MISCOUNTED)
    nothing_of(sightline, WITHOUT_A_QUEUE)


def what_is_under_way_has_a_lease(sightline: Sightline) -> None:
    nothing_of(sightline, WITHOUT_LEASE)


def no_limit_was_broken(sightline: Sightline) -> None:
    """Checks each key's limit and the lane's: in this sandbox all keys of a provider share one."""
    for provider, stats in counted(sightline).items():
        assert stats["breaches"] == 0, (provider, stats)


def each_call_that_left_was_counted(sightline: Sightline) -> None:
    """Compares a key's calls with its tenant's. None is missing on either side, but for those with an unknown outcome."""
    ours = {(provider, tenant): (left, unknown) for provider, tenant, left, unknown in sightline.rows(CALLS)}
    for of, tally in tallies(sightline):
        left, unknown = ours.get(of, (0, 0))
        assert left <= tally["calls"] <= left + unknown, (of, left, unknown, tally)


def each_credit_that_was_billed_is_charged_or_unknown(sightline: Sightline) -> None:
    ours = {(provider, tenant): (charged, unknown) for provider, tenant, charged, unknown in sightline.rows(CREDITS)}
    for of, tally in tallies(sightline):
        charged, unknown = ours.get(of, (Decimal(0), Decimal(0)))
        assert charged <= Decimal(tally["credits"]) <= charged + unknown, (of, charged, unknown, tally)


def nothing_is_held_but_the_unknown(sightline: Sightline) -> None:
    nothing_of(sightline, "SELECT reference, open, unknown FROM billing_hold WHERE open <> 0")
    nothing_of(
        sightline,
        """SELECT account.id, held FROM billing_account account WHERE held <>
        (SELECT coalesce(sum(unknown), 0) FROM billing_hold WHERE account_id = account.id)""",
    )


def no_repeat_cost_anything(sightline: Sightline) -> None:
    """Checks lookups that took an earlier answer and followers of a lookup."""
    nothing_of(sightline, REPEATS_THAT_COST)


def the_ledger_adds_up(sightline: Sightline) -> None:
    """Runs the audit, which exits with 1 on a difference and names it."""
    sightline.manage("audit_ledger")


def each_end_was_told_once(sightline: Sightline, heard: Sequence[Heard]) -> None:
    """Checks that each search and each lookup has one event, however often it was sent, and that it was received. An erased
    one may have had one.
    """
    nothing_of(sightline, UNDELIVERED)
    bodies: dict[str, str] = {}
    for one in heard:
        assert bodies.setdefault(one.id, one.body) == one.body, (one.id, bodies[one.id], one.body)
    events = [json.loads(body) for body in bodies.values()]
    told = [
        (event["type"], event["data"]["id"]) for event in events if event["type"].startswith(("search.", "lookup."))
    ]
    ends = [((type, str(id)), erased) for type, id, erased in sightline.rows(ENDS)]
    erased = {id for (_, id), was_erased in ends if was_erased}
    assert len(told) == len(set(told)), told
    assert {end for end in told if end[1] not in erased} == {end for end, was_erased in ends if not was_erased}, told


def the_database_saw_nothing_impossible(sightline: Sightline) -> None:
    """Checks the server's log: no deadlock, and no tenant queue whose count had to be corrected."""
    log = (sightline.folder / "postgresql" / "log").read_text()
    assert "deadlock" not in log
    assert "counted lookups as ready that are not" not in log


def nothing_of(sightline: Sightline, statement: str) -> None:
    found = sightline.rows(statement)
    assert not found, found


def counted(sightline: Sightline) -> dict[str, dict[str, Any]]:
    """Returns the sandbox's own counts, by provider."""
    counts: dict[str, dict[str, Any]] = sightline.sandbox.get("/_stats").json()
    return counts


def tallies(sightline: Sightline) -> Iterable[tuple[tuple[str, str], dict[str, Any]]]:
    """Returns the counts of each key at each provider that it was used with."""
    none = {"calls": 0, "credits": "0"}
    counts = counted(sightline)
    for provider in registry.PROVIDERS:
        for tenant, (key, _) in CAST.items():
            yield (provider, tenant), counts[provider]["keys"].get(fingerprint(key), none)
