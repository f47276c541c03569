"""Erases searches: everything that was asked, found and shown, in one transaction with the cancel.

The rows that the ledger and a provider's bill are compared with stay, and say nothing else. A call that was sent is finished and
charged as ever, but nothing of its answer is kept (`settlement`). What a search cost stays in the usage, without its metadata.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from billing import usage
from searches import pictures
from searches.lanes import queue
from searches.lifecycle import cancellation, events, live_updates, stored_searches
from searches.models import Call, Lookup, Search

NOTHING_OF_A_CALL: dict[str, Any] = {"error_detail": "", "excerpt": ""}
NOTHING_OF_A_LOOKUP: dict[str, Any] = {
    "parameters": {},
    "effective_parameters": {},
    "result_count": 0,
    "duplicates": 0,
    "unreadable": 0,
    "total": None,
    "error_detail": "",
    # No equal lookup is answered or led by it any more (`coalescing`).
    "repeat_key": "",
}
NOTHING_OF_A_SEARCH: dict[str, Any] = {
    "image": None,
    "crop": "",
    "metadata": {},
    "request_id": "",
    "results_count": 0,
}


@transaction.atomic
def erase(search: Search) -> bool:
    """Erases a search, and its picture unless another search names it. Returns False where it was erased before."""
    lookups = Lookup.objects.filter(search=search)
    queue.lock_tenant_queues(lookups.filter(status__in=Lookup.OPEN).values_list("pk", flat=True))
    # Ended ones too, and before the search: a late answer to one locks them in this order.
    list(lookups.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    present = Search.objects.select_for_update(no_key=True).get(pk=search.pk)
    if present.metadata:
        # Before the cancel, for it locks all accounts that the cancel may lock only some of.
        usage.forget_metadata(
            present.tenant_id,
            [(lookup.reference, lookup.source, lookup.provider) for lookup in lookups],
            metadata=json.dumps(present.metadata),
        )
    cancellation.cancel(search)
    lookups.update(**NOTHING_OF_A_LOOKUP)
    if present.erased_at is not None:
        return False
    search.results.all().delete()
    Call.objects.filter(lookup__search=search).update(**NOTHING_OF_A_CALL)
    Search.objects.filter(pk=search.pk).update(**NOTHING_OF_A_SEARCH, erased_at=Now(), results_erased_at=Now())
    events.erase(search)
    stored_searches.remove(present.tenant_id)
    if present.image_id is not None:
        pictures.erase_unnamed(present.image_id)
    transaction.on_commit(lambda: live_updates.announce(search.pk))
    return True
