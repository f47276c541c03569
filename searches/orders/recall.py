"""Cancels or erases a search for its tenant or an operator, and recalls its calls that were claimed and not sent.

The lane's log in Redis decides at one instant whether a call was sent. A sent call is finished and charged. The slot of an
unsent one passes unused, and neither its credits nor its picture are used. While Redis is down no call is sent at all.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from django.db import transaction

from providers.limiter import Unavailable
from searches.calls import recovery
from searches.lifecycle import cancellation, erasure
from searches.models import Call, Search


def cancel(search: Search) -> None:
    """Cancels a search. Its calls are recalled after the commit, because Redis is asked about them."""
    cancellation.cancel(search)
    transaction.on_commit(partial(_recall, search))


def erase(search: Search) -> bool:
    """Returns whether the search was not erased before. Its calls are recalled after the commit."""
    erased = erasure.erase(search)
    transaction.on_commit(partial(_recall, search))
    return erased


def _recall(search: Search) -> None:
    armed = Call.objects.filter(lookup__search=search, lookup__cancel_requested=True, state=Call.State.ARMED)
    with suppress(Unavailable):
        for call in armed.select_related("lookup__lane__policy"):
            recovery.settle_if_unsent(call)
