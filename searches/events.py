"""What searches announce: each end, in the transaction that makes it true, in the words that a reader would get just then.

Whoever ends something calls this last, when its money is final; nothing is built that nobody wants to hear. Of a search
that was erased nothing is told any more, and what was told is erased with it.
"""

from __future__ import annotations

from accounts import webhooks
from accounts.models import EventType
from searches import answers
from searches.models import Lookup, Search, Status


def lookup_finished(lookup: Lookup, search: Search) -> None:
    type = EventType.LOOKUP_FINISHED
    if _wanted(search, type):
        data = {**answers.lookup_shown(lookup), "search_id": search.pk}
        webhooks.record(search.tenant_id, search.mode, type, data, reference=_reference(search))


def search_ended(search: Search, status: Status) -> None:
    type = EventType(f"search.{status}")
    if _wanted(search, type):
        [data] = answers.shown(list(answers.with_lookups(Search.objects.filter(pk=search.pk))))
        webhooks.record(search.tenant_id, search.mode, type, data, reference=_reference(search))


def erase(search: Search) -> None:
    webhooks.erase(_reference(search))


def _wanted(search: Search, type: EventType) -> bool:
    return search.erased_at is None and webhooks.wants(search.tenant_id, search.mode, type)


def _reference(search: Search) -> str:
    return f"search:{search.pk}"
