"""Names the files of each room that get faults, and the tests of the room, the nearest first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Room:
    files: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "billing": Room(
        files=(
            "billing/ledger.py",
            "billing/caps.py",
            "billing/corrections.py",
            "billing/statements.py",
            "billing/usage.py",
            "billing/entry_list.py",
            "billing/audit.py",
            "billing/heads.py",
            "billing/statement_audit.py",
            "billing/reconciliation.py",
            "billing/price_defaults.py",
            "billing/alerts.py",
            "billing/events.py",
            "billing/query_serializers.py",
            "billing/serializers.py",
            "billing/views.py",
            "billing/models/accounts.py",
            "billing/entries.sql",
            "billing/caps.sql",
            "billing/alerts.sql",
            "billing/grants.sql",
            "billing/hold.sql",
            "billing/charge_and_release.sql",
            "billing/unknown.sql",
            "billing/usage.sql",
            "billing/statements.sql",
            "billing/books.sql",
            "billing/append_only.sql",
        ),
        tests=(
            "tests/billing",
            "tests/api/test_credits.py",
            "tests/api/test_caps.py",
            "tests/api/test_usage.py",
            "tests/api/test_statements.py",
            "tests/admin/test_credits.py",
            "tests/admin/test_caps.py",
            "tests/admin/test_statements.py",
            "tests/searches/calls/test_settlement.py",
            "tests/searches/reconciliation",
            "tests/searches/test_lock_order.py",
        ),
    ),
    "lanes": Room(
        files=(
            "searches/lanes/queue.py",
            "searches/lanes/credential_gate.py",
            "searches/lanes/directory.py",
            "searches/lanes/pauses.py",
            "searches/lanes/breaker.py",
            "searches/lanes/backlog.py",
            "searches/lanes/backoff.py",
            "searches/lanes/estimates.py",
            "searches/lanes/wakeups.py",
            "searches/lanes/claim.sql",
            "searches/lanes/return_from_idle.sql",
            "searches/lanes/estimates.sql",
            "searches/lanes/next_in_line.sql",
            "searches/lanes/backlog.sql",
            "providers/keyring/resting.py",
        ),
        tests=(
            "tests/searches/lanes",
            "tests/searches/test_lock_order.py",
            "tests/searches/orders/test_bounds.py",
            "tests/api/test_positions.py",
            "tests/admin/test_lanes.py",
        ),
    ),
    "limiter": Room(
        files=(
            "providers/limiter_lane.lua",
            "providers/limiter_tokens.lua",
            "providers/limiter_waiters.lua",
            "providers/limiter.py",
        ),
        tests=(
            "tests/providers/test_limiter_waiters.py",
            "tests/providers/test_limiter_guard.py",
            "tests/providers/test_limiter.py",
            "tests/providers/test_limiter_redis.py",
        ),
    ),
}
