"""Cancels the open lookups of a search. Calls that were claimed and not sent are taken back by `orders.recall`."""

from __future__ import annotations

from django.db import transaction

from searches.lanes import queue
from searches.lifecycle import completion
from searches.models import Lookup, Search, Status


@transaction.atomic
def cancel(search: Search) -> None:
    """Ends the waiting lookups at no cost, and marks those with a call under way: that is finished and charged, and ends them."""
    waiting = queue.withdraw(search.lookups.filter(status__in=Lookup.OPEN))
    under_way = search.lookups.filter(status=Status.RUNNING).exclude(pk__in=[lookup.pk for lookup in waiting])
    under_way.update(cancel_requested=True)
    completion.finish_all(waiting, completion.lock(search.pk), Status.CANCELED)
