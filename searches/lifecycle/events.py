"""What searches announce: each end, in the transaction that makes it true, in the words that a reader would get just then.

Whoever ends something calls this last, when its money is final; nothing is built that nobody wants to hear. Of a search
that was erased nothing is told any more, and what was told is erased with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accounts import webhooks
from accounts.models import EventType
from searches import representations
from searches.models import Lookup, Search, Status

# Of what the events of a search are about.
PREFIX = "search:"


def ended(search: Search, lookups: Iterable[Lookup], status: Status | None) -> None:
    """Announces that these lookups of the search ended, and that the search ended with `status`, unless that is None."""
    if search.erased_at is not None:
        return
    builders = {EventType.LOOKUP_FINISHED: lambda: _lookups(search, lookups)}
    if status:
        builders[EventType(f"search.{status}")] = lambda: _search(search)
    webhooks.record_wanted(search.tenant_id, search.mode, builders, reference=_reference(search))


def erase(search: Search) -> None:
    webhooks.erase(_reference(search))


def _lookups(search: Search, lookups: Iterable[Lookup]) -> list[dict[str, Any]]:
    return [{**representations.of_ended_lookup(lookup), "search_id": search.pk} for lookup in lookups]


def _search(search: Search) -> list[dict[str, Any]]:
    return representations.of_searches(list(representations.with_lookups(Search.objects.filter(pk=search.pk))))


def _reference(search: Search) -> str:
    return f"{PREFIX}{search.pk}"
