"""Sends on request: a test event, a delivery once more, or a range of them.

A resent delivery keeps its id and its body, and is retried by the schedule as if it were new. An endpoint that asked for a pause
gets it at once all the same, because a person asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts import batches
from accounts.models import Delivery, Endpoint, EventType
from accounts.webhooks import events, wakeups

# Deliveries resent by one request, which waits for it.
MOST_RESENT = 10_000
# Attempts of one delivery, after which a request for more is refused.
MOST_ATTEMPTS = 1000


class RangeTooLong(Exception):
    """More deliveries than one range may hold."""


class TooManyAttempts(Exception):
    """The delivery was tried as often as one may be."""


@transaction.atomic
def ping(endpoint: Endpoint) -> Delivery:
    """Sends a test event to this endpoint alone, whatever types it wants. Raises `Endpoint.DoesNotExist`."""
    locked = events.key_shared(Endpoint.objects.filter(pk=endpoint.pk))
    if not locked:
        raise Endpoint.DoesNotExist
    data = {"endpoint_id": endpoint.pk}
    [delivery] = events.write(endpoint.tenant_id, endpoint.mode, EventType.PING, data, locked)
    _end_pause(endpoint.pk)
    return delivery


@transaction.atomic
def redeliver(delivery: Delivery) -> None:
    """Sends a delivery once more. One that is under way counts as that. Raises `TooManyAttempts`."""
    if delivery.attempt_count >= MOST_ATTEMPTS:
        raise TooManyAttempts
    _resend(Delivery.objects.filter(pk=delivery.pk))
    _end_pause(delivery.endpoint_id)
    delivery.refresh_from_db()


def redeliver_range(
    endpoint: Endpoint,
    *,
    since: datetime,
    until: datetime,
    states: Collection[str] = (Delivery.State.FAILED,),
    types: Collection[str] = (),
    admit: Callable[[int], object] = lambda count: None,
) -> int:
    """Sends an endpoint's deliveries of the events from `since` up to, not including, `until` once more; returns how many.

    Skips those with `MOST_ATTEMPTS`. `types`: empty for all. Calls `admit` with the number of deliveries before it sends any;
    `admit` may raise. Raises `RangeTooLong`.
    """
    deliveries = Delivery.objects.filter(
        endpoint=endpoint, state__in=states, event__created_at__gte=since, event__created_at__lt=until
    )
    if types:
        deliveries = deliveries.filter(event__type__in=types)
    ids = list(deliveries.values_list("pk", flat=True)[: MOST_RESENT + 1])
    if len(ids) > MOST_RESENT:
        raise RangeTooLong
    admit(len(ids))
    starts = range(0, len(ids), batches.SIZE)
    count = sum(_resend(Delivery.objects.filter(pk__in=ids[start : start + batches.SIZE])) for start in starts)
    _end_pause(endpoint.pk)
    return count


def _resend(deliveries: QuerySet[Delivery]) -> int:
    idle = deliveries.filter(Q(leased_until=None) | Q(leased_until__lte=Now()), attempt_count__lt=MOST_ATTEMPTS)
    resent = idle.update(
        state=Delivery.State.PENDING, next_attempt_at=Now(), leased_until=None, tries=0, finished_at=None
    )
    transaction.on_commit(wakeups.wake_up)
    return resent


def _end_pause(endpoint_id: UUID) -> None:
    """Ends a pause that the endpoint asked for. Locks it after its deliveries, as settling does."""
    Endpoint.objects.filter(pk=endpoint_id, quiet_until__gt=Now()).update(quiet_until=None)
