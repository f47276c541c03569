"""How lookups and searches end: every end goes through here, with its money, in one transaction.

One code for one fact: a lookup that ends without success while something may have been billed says `outcome_unknown`,
whatever ended it; one that failed for want of an answer, and surely cost nothing, says `no_answer`.

The search's status follows from its lookups', counted anew under the search's lock whenever one of them changes (`count.sql`).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from accounts.models import Mode
from billing import ledger
from providers.failures import Failure, Lost, Refused, Unreachable
from searches.lanes import queue, wakeups
from searches.lifecycle import events, live_updates
from searches.models import Lane, Lookup, Search, Standing, Status

# What the end of a lookup says of it.
ENDING = ("status", "standing", "finished_at", "error_code", "error_detail", "error_retryable")
COUNT = "SELECT searches_count(%s, %s)"
OUTCOME_UNKNOWN, NO_ANSWER = "outcome_unknown", "no_answer"
MAY_BE_BILLED = "A call was sent whose answer was lost or cannot be read; it may have been billed."
LONGEST_DETAIL = 500


def lock(search_id: UUID) -> Search:
    """For an end: after its lookups, and before the credit accounts."""
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
    """Ends a lookup that stands in no line, charges what its last call cost (`key`: that call's) and returns it, gives back
    what was not spent, and tells who wants to hear of it. Its row and its search's are locked by the caller, who may have
    noted on both what the call came to: that is saved with it.
    """
    _end(lookup, status, failure)
    charged = ledger.close(lookup.reference, cost, key=key)
    events.ended(search, [lookup], _count(search))
    return charged


def _finish_all(lookups: Iterable[Lookup], search: Search, status: Status, failure: Failure | None = None) -> None:
    """By provider: credit accounts are locked in that order."""
    ended = sorted(lookups, key=lambda lookup: lookup.provider)
    for lookup in ended:
        _end(lookup, status, failure)
        ledger.release(lookup.reference)
    if ended:
        events.ended(search, ended, _count(search))


def _end(lookup: Lookup, status: Status, failure: Failure | None) -> None:
    lookup.status, lookup.standing, lookup.finished_at = status, Standing.OUT, Now()
    lookup.error_code, lookup.error_detail = _error(lookup, status, failure)
    lookup.error_retryable = failure.retryable if failure else bool(lookup.error_code)
    lookup.save(update_fields=[*ENDING, *Lookup.PROGRESS])
    if lookup.has_followers:
        transaction.on_commit(lambda: wakeups.land(lookup.pk))


def _error(lookup: Lookup, status: Status, failure: Failure | None) -> tuple[str, str]:
    """Returns the code and the detail that an end leaves."""
    if status != Status.SUCCEEDED and _may_have_been_billed(lookup):
        cause = failure.detail[: LONGEST_DETAIL - len(MAY_BE_BILLED) - 1] if failure else ""
        return OUTCOME_UNKNOWN, f"{cause} {MAY_BE_BILLED}".strip()
    if failure is None:
        return "", ""
    code = NO_ANSWER if isinstance(failure, (Unreachable, Lost)) else failure.code
    return code, failure.detail[:LONGEST_DETAIL]


def _may_have_been_billed(lookup: Lookup) -> bool:
    """Whether a part of what was held is unknown still: an answer that came late may have settled it. What costs nothing, as
    in the sandbox, has no entry to tell, and says what would be so if it did.
    """
    if not lookup.unknown_calls or not lookup.most_credits:
        return bool(lookup.unknown_calls)
    return bool(ledger.tallies([lookup.reference])[lookup.reference].unknown)


def touch(search: Search) -> None:
    """Counts a search's status anew, and tells those who wait for a change once it is committed. It is locked by the caller."""
    _count(search)


def _count(search: Search) -> Status | None:
    """What it ended as, if it did just now."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT, (search.pk, search.results_count))
        status = Status(cursor.fetchone()[0])
    transaction.on_commit(lambda: live_updates.announce(search.pk))
    ended = status not in (Status.QUEUED, Status.RUNNING)
    return status if ended and search.finished_at is None else None


@transaction.atomic
def cancel(search: Search) -> None:
    """Ends what waits, at no cost; a call that is under way is finished, charged and kept, and then the lookup ends."""
    waiting = queue.withdraw(search.lookups.filter(status__in=(Status.QUEUED, Status.RUNNING)))
    under_way = search.lookups.filter(status=Status.RUNNING).exclude(pk__in=[lookup.pk for lookup in waiting])
    under_way.update(cancel_requested=True)
    _finish_all(waiting, lock(search.pk), Status.CANCELED)


def expire() -> int:
    """Ends the lookups whose time is up before they found anything, at no cost.

    One that has pages waits for the rest: it was started in time, and what it found would be half. Where it is parked it
    ends all the same, for nobody can say when its credential is mended. Who rides on another is in vain where that one is.
    """
    in_vain = Q(standing__in=queue.IN_LINE) & (Q(pages_done=0) | Q(standing=Standing.PARKED))
    ridden_on = Lookup.objects.filter(in_vain, pk=OuterRef("repeat_of"))
    rides_in_vain = Q(standing=Standing.RIDING) & Q(Exists(ridden_on))
    return _end_waiting((in_vain | rides_in_vain) & Q(expires_at__lte=queue.now()), Status.EXPIRED)


def abandon() -> int:
    """Fails the live lookups whose credential was deleted, at no cost: a turn would be wasted on each. Who rides on another
    goes the way of that one, which may be under way with the key still.
    """
    live = Lane.objects.filter(mode=Mode.LIVE).values("pk")
    in_line = Q(standing__in=queue.IN_LINE, credential=None, lane__in=live)
    return _end_waiting(in_line, Status.FAILED, credential_deleted())


def credential_deleted() -> Failure:
    return Refused("credential_missing", "The credential was deleted; store your key and search again.")


def _end_waiting(which: Q, status: Status, failure: Failure | None = None) -> int:
    """Of those that wait, search by search; a thousand at once."""
    waiting = Lookup.objects.filter(which, standing__in=queue.WAITING).order_by("search")[:1000]
    count = 0
    for search_id, lookups in groupby(waiting, key=lambda lookup: lookup.search_id):
        with transaction.atomic():
            taken = queue.withdraw(lookups, only=which)
            _finish_all(taken, lock(search_id), status, failure)
            count += len(taken)
    return count
