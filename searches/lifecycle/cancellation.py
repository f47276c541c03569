"""Cancels the open lookups of a search. Calls that were claimed and not sent are taken back by `orders.recall`."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from searches.lanes import queue
from searches.lifecycle import completion
from searches.models import Lookup, Search, Status


def cancel(search: Search) -> bool:
    """Cancels what is open of a search. Returns whether anything was."""
    return _cancel(search.pk, search.lookups.all())


def cancel_lookup(lookup: Lookup) -> bool:
    """Cancels one lookup of a search, whose others go on. Returns whether it was open."""
    return _cancel(lookup.search_id, Lookup.objects.filter(pk=lookup.pk))


@transaction.atomic
def _cancel(search_id: UUID, lookups: QuerySet[Lookup]) -> bool:
    """Ends the waiting lookups at no cost, and marks those with a call under way: that is finished and charged, and ends them."""
    waiting = queue.withdraw(lookups.filter(status__in=Lookup.OPEN))
    under_way = lookups.filter(status=Status.RUNNING).exclude(pk__in=[lookup.pk for lookup in waiting])
    marked = under_way.update(cancel_requested=True)
    completion.finish_all(waiting, completion.lock(search_id), Status.CANCELED)
    return bool(waiting or marked)
