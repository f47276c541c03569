"""Records the events of searches: every end, in the transaction that makes it true, with the object that GET would answer then.

The caller records last, when the money of the end is final. The body of an event is built only if an endpoint wants it. An erased
search has no events any more, and those recorded before are deleted with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accounts import webhooks
from accounts.models import EventType
from searches import representations
from searches.models import Lookup, Search, Status

# The start of the reference under which the events of a search are recorded; its id follows.
PREFIX = "search:"


def ended(search: Search, lookups: Iterable[Lookup], status: Status | None) -> None:
    """Records that these lookups of the search ended, and that the search ended with `status`, unless that is None."""
    if search.erased_at is not None:
        return
    builders = {EventType.LOOKUP_FINISHED: lambda: [_finished_lookup(search, lookup) for lookup in lookups]}
    if status:
        builders[EventType(f"search.{status}")] = lambda: [representations.of_ended_search(search)]
    webhooks.record_wanted(search.tenant_id, search.mode, builders, reference=_reference(search))


def erase(search: Search) -> None:
    webhooks.erase(_reference(search))


def _finished_lookup(search: Search, lookup: Lookup) -> dict[str, Any]:
    return {**representations.of_ended_lookup(lookup), "search_id": search.pk}


def _reference(search: Search) -> str:
    return f"{PREFIX}{search.pk}"
