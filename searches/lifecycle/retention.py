"""Keeps pictures, results and searches for as long as their tenant's retention says, and erases them then.

Only what has ended is erased, so that no open lookup loses what it needs. Each search and picture is a transaction of its own,
and each condition is asked again under its locks, so that two runs at once do no harm. One run takes a little of each tenant in
turn and ends after `LONGEST_SECONDS`; the next run goes on. Entries of the ledger stay, and so do the rows that they name.

Without its results a lookup answers no repeats. Neither a search nor its results are erased while an event about it is still to
be delivered, for `GRACE` at most, while its end or the last delivery is younger than `READING`, or while followers wait for an
answer.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Concat, Now

from accounts import clock
from accounts.models import Delivery, Tenant
from searches import pictures
from searches.lifecycle import erasure, events
from searches.models import Call, Image, Lookup, Search

log = logging.getLogger(__name__)

# Rows of one tenant and kind that a run erases before it looks at the next.
AT_ONCE = 100
# Searches that one statement separates from their picture.
DETACHED_AT_ONCE = 1000
# The other tasks of a worker wait while it runs.
LONGEST_SECONDS = 20.0
# Longer than deliveries are tried: an event that is pending after that is never delivered.
GRACE = timedelta(days=7)

# An event, or an answer that waited, only says that a search has ended. The results are another request, for which there is this
# time even if nothing is kept.
READING = timedelta(minutes=1)

Row = TypeVar("Row", Search, Image)
# The last row that was looked at, by tenant and kind: a run continues where the last one of this process ran out of time.
_last: dict[tuple[UUID, str], Any] = {}


def enforce() -> None:
    """Erases what is kept for longer than it may be, some of each tenant's until nothing is left or the time is over."""
    deadline = time.monotonic() + LONGEST_SECONDS
    tenants = list(Tenant.objects.all())
    random.shuffle(tenants)
    while tenants:
        more = []
        for tenant in tenants:
            if time.monotonic() > deadline:
                return
            if _enforce(tenant):
                more.append(tenant)
        tenants = more


def _enforce(tenant: Tenant) -> bool:
    """Erases some rows of each kind; returns whether there may be more. A kind that fails stops no other and no next tenant."""
    now, more = clock.now(), False
    for kind, erase in KINDS.items():
        try:
            more |= erase(tenant, now - tenant.retention(kind))
        except Exception:
            log.exception("%s of tenant %s is not enforced", kind, tenant.pk)
    return more


def _advance(kind: str, tenant: Tenant, rows: QuerySet[Row], erase: Callable[[Row], object], instant: str) -> bool:
    """Erases some of the rows after the last one, ordered by the column `instant`. Returns whether there may be more.

    A row that cannot be erased is skipped until the walk begins anew.
    """
    rows = rows.order_by(instant, "pk")
    if last := _last.pop((tenant.pk, kind), None):
        at = getattr(last, instant)
        rows = rows.filter(Q(**{f"{instant}__gt": at}) | Q(pk__gt=last.pk), **{f"{instant}__gte": at})
    some = list(rows[:AT_ONCE])
    for row in some:
        try:
            erase(row)
        except Exception:
            log.exception("%s %s cannot be erased yet", type(row).__name__, row.pk)
    if len(some) < AT_ONCE:
        return False
    _last[tenant.pk, kind] = some[-1]
    return True


def erase_searches(tenant: Tenant, ended_by: datetime) -> bool:
    """Erases some searches as DELETE does. Returns whether there may be more."""
    announced = _announced(tenant, ended_by).filter(erased_at=None)
    return _advance("search_retention_days", tenant, announced, erasure.erase, "finished_at")


def erase_results(tenant: Tenant, ended_by: datetime) -> bool:
    """Erases what some searches found, and what a provider said instead. Returns whether there may be more."""
    announced = _announced(tenant, ended_by).filter(results_erased_at=None)
    return _advance("result_retention_days", tenant, announced, _erase_results, "finished_at")


def erase_images(tenant: Tenant, unused_since: datetime) -> bool:
    """Erases some pictures that no search needs or has needed since, with their files. Returns whether there may be more."""
    needing = Search.objects.filter(image=OuterRef("pk")).filter(Q(finished_at=None) | Q(finished_at__gt=unused_since))
    unused = Image.objects.for_tenant(tenant).filter(stored_at__lte=unused_since).exclude(Exists(needing))
    rows = unused.only("stored_at")
    return _advance(
        "image_retention_days", tenant, rows, lambda image: _erase_image(image.pk, unused_since), "stored_at"
    )


KINDS: dict[str, Callable[[Tenant, datetime], bool]] = {
    "search_retention_days": erase_searches,
    "result_retention_days": erase_results,
    "image_retention_days": erase_images,
}


def _announced(tenant: Tenant, ended_by: datetime) -> QuerySet[Search]:
    """Returns the searches that ended by then, of whose end all have heard who are told of it, and could read them since."""
    read_since = clock.now() - READING
    ended = Search.objects.for_tenant(tenant).filter(finished_at__lte=min(ended_by, read_since))
    has_followers = Exists(Lookup.objects.filter(search=OuterRef("pk"), has_followers=True))
    return ended.exclude(has_followers).filter(
        Q(finished_at__lte=ended_by - GRACE) | ~Exists(_deliveries_to_wait_for(read_since))
    )


def _deliveries_to_wait_for(read_since: datetime) -> QuerySet[Delivery]:
    reference = Concat(Value(events.PREFIX), Cast(OuterRef("pk"), TextField()), output_field=TextField())
    is_recent = Q(state=Delivery.State.PENDING) | Q(finished_at__gt=read_since)
    return Delivery.objects.filter(is_recent, event__reference=reference)


@transaction.atomic
def _erase_results(search: Search) -> None:
    """Erases the results of one search. Locks its lookups and then the search, as an erasure does."""
    lookups = Lookup.objects.filter(search=search)
    locked = list(lookups.select_for_update(no_key=True).order_by("pk"))
    if any(lookup.has_followers for lookup in locked):
        return
    lookups.exclude(repeat_key="").update(repeat_key="")
    Search.objects.select_for_update(no_key=True).get(pk=search.pk)
    search.results.all().delete()
    Call.objects.filter(lookup__search=search).exclude(excerpt="").update(excerpt="")
    Search.objects.filter(pk=search.pk, results_erased_at=None).update(results_erased_at=Now())


def _erase_image(image_id: UUID, unused_since: datetime) -> None:
    """Erases a picture, after detaching it from ended searches, some in each transaction."""
    while _detach(image_id, unused_since) == DETACHED_AT_ONCE:
        pass
    pictures.erase_unused(image_id, unused_since)


@transaction.atomic
def _detach(image_id: UUID, unused_since: datetime) -> int:
    ended = Search.objects.filter(image=image_id, finished_at__lte=unused_since)
    locked = ended.select_for_update(no_key=True, skip_locked=True).order_by("pk").values_list("pk", flat=True)
    ids = list(locked[:DETACHED_AT_ONCE])
    Search.objects.filter(pk__in=ids).update(image=None)
    return len(ids)
