"""Cancels or erases a search, or one lookup, for its tenant or an operator, and recalls its calls that were claimed and not sent.

The lane's log in Redis decides at one instant whether a call was sent. A sent call is finished and charged. The slot of an
unsent one passes unused, and neither its credits nor its picture are used. While Redis is down no call is sent at all.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from django.db import transaction
from django.db.models import Q

from providers.limiter import Unavailable
from searches.calls import recovery
from searches.lifecycle import cancellation, erasure
from searches.models import Call, Lookup, Search


def cancel(search: Search) -> bool:
    """Cancels a search. Returns whether anything of it was open. Its calls are recalled after the commit, because Redis is asked
    about them.
    """
    canceled = cancellation.cancel(search)
    transaction.on_commit(partial(_recall, Q(lookup__search=search)))
    return canceled


def cancel_lookup(lookup: Lookup) -> bool:
    """Cancels one lookup of a search. Returns whether it was open. Its call is recalled after the commit."""
    canceled = cancellation.cancel_lookup(lookup)
    transaction.on_commit(partial(_recall, Q(lookup=lookup)))
    return canceled


def erase(search: Search) -> bool:
    """Returns whether the search was not erased before. Its calls are recalled after the commit."""
    erased = erasure.erase(search)
    transaction.on_commit(partial(_recall, Q(lookup__search=search)))
    return erased


def _recall(its_calls: Q) -> None:
    armed = Call.objects.filter(its_calls, lookup__cancel_requested=True, state=Call.State.ARMED)
    with suppress(Unavailable):
        for call in armed.select_related("lookup__lane__policy"):
            recovery.settle_if_unsent(call)
