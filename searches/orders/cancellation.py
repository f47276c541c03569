"""Stops a search for its tenant or an operator: cancels or erases it in one transaction, and then takes back its calls that
were claimed and have not left.

The lane's log decides at one instant whether a call left. One that did is finished and charged; of one that did not the slot
passes unused, and neither its credits nor its picture go. Where Redis is away none leaves, and its worker finds that out.
"""

from __future__ import annotations

from contextlib import suppress

from providers import limiter, policies
from providers.limiter import Fate, Unavailable
from searches.calls import settlement
from searches.lanes import queue
from searches.lifecycle import completion, erasure
from searches.models import Call, Search


def cancel(search: Search) -> None:
    completion.cancel(search)
    _recall(search)


def erase(search: Search) -> bool:
    """False where it was erased before."""
    erased = erasure.erase(search)
    _recall(search)
    return erased


def _recall(search: Search) -> None:
    armed = Call.objects.filter(lookup__search=search, lookup__cancel_requested=True, state=Call.State.ARMED)
    with suppress(Unavailable):
        for call in armed.select_related("lookup__lane__policy"):
            lane = call.lookup.lane
            rate = policies.rate(policies.in_force(lane.policy, lane.mode))
            age = (queue.now() - call.armed_at).total_seconds()
            if limiter.revoke(lane.name, rate, str(call.pk), age_seconds=age) is Fate.NEVER_SENT:
                settlement.unsent(call, call.lookup)
