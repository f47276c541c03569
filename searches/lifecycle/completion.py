"""Ends lookups, and counts their search's status anew: every end is made here, with its money, in one transaction.

Each error code has one meaning. A lookup that ends without success while something may have been billed has the error
`outcome_unknown`, whatever ended it. One that failed for want of an answer and surely cost nothing has `no_answer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Now

from billing import ledger
from providers.failures import Failure, Lost, Refused, Unreachable
from searches.lanes import wakeups
from searches.lifecycle import events, live_updates
from searches.models import Lookup, QueueState, Search, Status

# The columns that an end writes.
ENDING = ("status", "queue_state", "finished_at", "error_code", "error_detail", "error_retryable")
RECOUNT = "SELECT searches_count(%s, %s)"
OUTCOME_UNKNOWN, NO_ANSWER = "outcome_unknown", "no_answer"
MAY_BE_BILLED = "A call was sent whose answer was lost or cannot be read; it may have been billed."
# The length of the column `error_detail`.
LONGEST_DETAIL = 500


def lock(search_id: UUID) -> Search:
    """Locks a search whose lookups are to end: after those lookups, and before the credit accounts."""
    return Search.objects.select_for_update(no_key=True).get(pk=search_id)


def finish(
    lookup: Lookup,
    search: Search,
    status: Status,
    failure: Failure | None = None,
    *,
    cost: Decimal = ledger.ZERO,
    key: str = "",
) -> Decimal:
    """Ends a lookup that is in no queue, and returns what was charged for its last call.

    `cost` and `key` are that call's price and id; the rest of the hold is released. The caller has locked the rows of the
    lookup and the search. What the call changed on both is saved with the end.
    """
    charged = _end(lookup, status, failure, cost=cost, key=key)
    events.ended(search, [lookup], recount(search))
    return charged


def finish_all(lookups: Iterable[Lookup], search: Search, status: Status, failure: Failure | None = None) -> None:
    """Ends some lookups of one search, at no cost. Sorts them by provider, the order in which credit accounts are locked."""
    ended = sorted(lookups, key=lambda lookup: lookup.provider)
    ledger.lock([lookup.reference for lookup in ended])
    for lookup in ended:
        _end(lookup, status, failure)
    if ended:
        events.ended(search, ended, recount(search))


def _end(
    lookup: Lookup, status: Status, failure: Failure | None, *, cost: Decimal = ledger.ZERO, key: str = ""
) -> Decimal:
    lookup.status, lookup.queue_state, lookup.finished_at = status, QueueState.NONE, Now()
    lookup.error_code, lookup.error_detail = _error(lookup, status, failure)
    lookup.error_retryable = failure.retryable if failure else bool(lookup.error_code)
    lookup.save(update_fields=[*ENDING, *Lookup.PROGRESS])
    if lookup.has_followers:
        transaction.on_commit(lambda: wakeups.resolve_followers(lookup.pk))
    return ledger.close(lookup.reference, cost, key=key)


def _error(lookup: Lookup, status: Status, failure: Failure | None) -> tuple[str, str]:
    """Returns the code and the detail of an end's error, both empty where there is none."""
    if status != Status.SUCCEEDED and _may_have_been_billed(lookup):
        cause = failure.detail[: LONGEST_DETAIL - len(MAY_BE_BILLED) - 1] if failure else ""
        return OUTCOME_UNKNOWN, f"{cause} {MAY_BE_BILLED}".strip()
    if failure is None:
        return "", ""
    code = NO_ANSWER if isinstance(failure, (Unreachable, Lost)) else failure.code
    return code, failure.detail[:LONGEST_DETAIL]


def _may_have_been_billed(lookup: Lookup) -> bool:
    """Returns whether a part of the lookup's hold is still unknown; a late answer may have settled it.

    A lookup that costs nothing, as in the sandbox, has no entries. Its unknown calls count as if it had.
    """
    if not lookup.unknown_calls or not lookup.most_credits:
        return bool(lookup.unknown_calls)
    return bool(ledger.tallies([lookup.reference])[lookup.reference].unknown)


def recount(search: Search) -> Status | None:
    """Counts the status of a locked search anew (`search_status.sql`). Returns it if the search has ended just now."""
    with connection.cursor() as cursor:
        cursor.execute(RECOUNT, (search.pk, search.results_count))
        status = Status(cursor.fetchone()[0])
    transaction.on_commit(lambda: live_updates.announce(search.pk))
    return status if status not in Lookup.OPEN and search.finished_at is None else None


def credential_deleted() -> Failure:
    """Returns the failure of a lookup whose credential was deleted before its call."""
    return Refused("credential_missing", "The credential was deleted; store your key and search again.")
