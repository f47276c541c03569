"""Ends the waiting lookups that will never be asked: their time is up, or their credential was deleted. Both cost nothing."""

from __future__ import annotations

from itertools import groupby

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from accounts import batches, clock
from accounts.models import Mode
from providers.failures import Failure
from searches.lanes import queue
from searches.lifecycle import completion
from searches.models import Lane, Lookup, QueueState, Status


def expire() -> int:
    """Ends the lookups whose time is up before they found anything; returns how many.

    A lookup that has some of its pages waits for the rest: it was started in time, and its results would be incomplete. It
    expires all the same while its credential is dead, for nobody knows when that will work again. A follower expires if its
    leader does.
    """
    in_vain = Q(queue_state__in=queue.IN_QUEUE) & (Q(pages_done=0) | Q(queue_state=QueueState.BLOCKED))
    leaders = Lookup.objects.filter(in_vain, pk=OuterRef("repeat_of"))
    follows_in_vain = Q(queue_state=QueueState.FOLLOWING) & Q(Exists(leaders))
    return _end_waiting((in_vain | follows_in_vain) & Q(expires_at__lte=clock.now()), Status.EXPIRED)


def fail_without_credential() -> int:
    """Fails the live lookups whose credential was deleted, before each wastes a slot; returns how many.

    Followers are left to their leader, whose call may be under way with the key still.
    """
    live = Lane.objects.filter(mode=Mode.LIVE).values("pk")
    in_line = Q(queue_state__in=queue.IN_QUEUE, credential=None, lane__in=live)
    return _end_waiting(in_line, Status.FAILED, completion.credential_deleted())


def _end_waiting(which: Q, status: Status, failure: Failure | None = None) -> int:
    """Ends up to `batches.SIZE` waiting lookups, in one transaction a search."""
    waiting = Lookup.objects.filter(which, queue_state__in=queue.WAITING).order_by("search")[: batches.SIZE]
    count = 0
    for search_id, lookups in groupby(waiting, key=lambda lookup: lookup.search_id):
        with transaction.atomic():
            withdrawn = queue.withdraw(lookups, only=which)
            completion.finish_all(withdrawn, completion.lock(search_id), status, failure)
            count += len(withdrawn)
    return count
