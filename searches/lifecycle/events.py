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
    """These lookups of the search have ended, and itself with this status, unless that is None."""
    if search.erased_at is not None:
        return
    part, whole = EventType.LOOKUP_FINISHED, EventType(f"search.{status}") if status else None
    wanted = webhooks.wanted(search.tenant_id, search.mode, [part, whole] if whole else [part])
    if part in wanted:
        for lookup in lookups:
            _tell(search, part, {**representations.lookup_shown(lookup), "search_id": search.pk})
    if whole and whole in wanted:
        [data] = representations.shown(list(representations.with_lookups(Search.objects.filter(pk=search.pk))))
        _tell(search, whole, data)


def erase(search: Search) -> None:
    webhooks.erase(_reference(search))


def _tell(search: Search, type: EventType, data: dict[str, Any]) -> None:
    webhooks.record(search.tenant_id, search.mode, type, data, reference=_reference(search))


def _reference(search: Search) -> str:
    return f"{PREFIX}{search.pk}"
