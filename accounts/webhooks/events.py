"""What happened, written down for whoever wants to hear it, in the transaction that makes it true: an event and its
deliveries are rows, so that none is sent of what was rolled back, and none is lost of what was committed.

The body is made once and is opaque here. What sends it is `delivery`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from celery import current_app
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import DateTimeField

from accounts.models import Delivery, Endpoint, Event, EventType

log = logging.getLogger(__name__)

QUEUE = "webhooks"
# A message that nobody takes is of no use for longer; clocks are compared here, so it is more than any should be wrong by.
STALE_SECONDS = 900
# One serves all that is recorded meanwhile by a process: who is woken looks again a little later (`dispatcher`).
WAKE_UP_SECONDS = 0.05
# With as many waiting nobody needs another; where nobody takes them they would fill Redis.
MOST_WAKE_UPS = 20
# After a failure nobody is nudged for this long: a silent Redis must not cost every event its time limit.
QUIET_SECONDS = 5.0
# As many are resent in one statement.
RESENT_AT_ONCE = 1000
# By one request, which waits for it.
MOST_RESENT = 10_000
# Of one delivery, after which it is sent by nobody's wish.
MOST_ATTEMPTS = 1000
# As `_takers`, of which this is asked at every end of a lookup.
WANTED = """
SELECT type FROM unnest(%s::text[]) AS type WHERE EXISTS (
    SELECT FROM accounts_endpoint WHERE tenant_id = %s AND mode = %s AND enabled AND deleted_at IS NULL
        AND (events = '[]' OR events ? type)
)
"""
_quiet_until = 0.0


class RangeTooLong(Exception):
    """More deliveries than one range may hold."""


class TooManyAttempts(Exception):
    """The delivery was tried as often as one may be."""


def wanted(tenant_id: UUID, mode: str, types: Collection[EventType]) -> set[EventType]:
    """Which of these anybody wants to hear of: what would be told of the others, nobody needs to build."""
    with connection.cursor() as cursor:
        cursor.execute(WANTED, ([type.value for type in types], tenant_id, mode))
        return {EventType(type) for (type,) in cursor.fetchall()}


def record(tenant_id: UUID, mode: str, type: EventType, data: Mapping[str, Any], *, reference: str = "") -> None:
    """Writes the event and a delivery for every enabled endpoint that wants it, in the caller's transaction, the last of
    its rows to be locked. `data` is what JSON can say, times and ids included; `reference`: what it is about, by which it
    can be erased.
    """
    # Shared with each other, and kept from being deleted until this is committed.
    takers = key_shared(_takers(tenant_id, mode, type))
    if takers:
        _write(tenant_id, mode, type, data, takers, reference)


def erase(reference: str) -> None:
    """All that was recorded about it, sent or not, with the log of its deliveries; in the caller's transaction."""
    about = Delivery.objects.filter(event__reference=reference)
    # As whoever settles one of them locks, who would otherwise leave an attempt at nothing.
    key_shared(Endpoint.objects.filter(pk__in=about.values("endpoint")).order_by("pk"))
    list(about.order_by("pk").select_for_update(of=("self",)))
    Event.objects.filter(reference=reference).delete()


@transaction.atomic
def ping(endpoint: Endpoint) -> Delivery:
    """Sends a test to this endpoint alone, whatever types it wants. Raises `Endpoint.DoesNotExist`."""
    takers = key_shared(Endpoint.objects.filter(pk=endpoint.pk))
    if not takers:
        raise Endpoint.DoesNotExist
    [delivery] = _write(endpoint.tenant_id, endpoint.mode, EventType.PING, {"endpoint_id": endpoint.pk}, takers)
    _disturb(endpoint.pk)
    return delivery


@transaction.atomic
def redeliver(delivery: Delivery) -> None:
    """Sends it once more, as if it were new: at once, and again by the schedule. One that is under way counts as that.

    Raises `TooManyAttempts`.
    """
    if delivery.attempt_count >= MOST_ATTEMPTS:
        raise TooManyAttempts
    _resend(Delivery.objects.filter(pk=delivery.pk))
    _disturb(delivery.endpoint_id)
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
    """Sends an endpoint's deliveries of the events of this stretch (`since` included, `until` not) once more, and says how
    many: none that was tried `MOST_ATTEMPTS` times. `types`: empty for all. Raises `RangeTooLong`, and sends none.
    `admit` is told their number before, and raises where they are too many for now.
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
    starts = range(0, len(ids), RESENT_AT_ONCE)
    count = sum(_resend(Delivery.objects.filter(pk__in=ids[start : start + RESENT_AT_ONCE])) for start in starts)
    _disturb(endpoint.pk)
    return count


def wake_up() -> None:
    """Asks a worker to look at what is due. Never raises: one that is lost costs a second."""
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    _quiet_until = time.monotonic() + WAKE_UP_SECONDS
    try:
        _send_wake_up()
    except (OperationalError, RedisError, OSError):
        _quiet_until = time.monotonic() + QUIET_SECONDS
        log.warning("deliveries are not announced for %s s: the broker is unreachable", QUIET_SECONDS)


def _send_wake_up() -> None:
    with current_app.producer_or_acquire() as producer:
        with producer.channel.conn_or_acquire() as redis:
            waiting = redis.llen(QUEUE)
        if waiting < MOST_WAKE_UPS:
            current_app.send_task(
                "accounts.tasks.deliver", queue=QUEUE, expires=STALE_SECONDS, retry=False, producer=producer
            )


def key_shared(endpoints: QuerySet[Endpoint]) -> list[UUID]:
    """Their ids. Django knows stronger locks only, with which events of one tenant would wait for each other."""
    statement, values = endpoints.values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} FOR KEY SHARE", values)
        return [id for (id,) in cursor.fetchall()]


def _takers(tenant_id: UUID, mode: str, type: EventType) -> QuerySet[Endpoint]:
    mine = Endpoint.objects.filter(tenant=tenant_id, mode=mode, enabled=True)
    return mine.filter(Q(events=[]) | Q(events__contains=[type.value])).order_by("pk")


def _write(
    tenant_id: UUID, mode: str, type: EventType, data: Mapping[str, Any], takers: list[UUID], reference: str = ""
) -> list[Delivery]:
    now = _now()
    body = {"type": type.value, "timestamp": DateTimeField().to_representation(now), "data": data}
    event = Event.objects.create(
        tenant_id=tenant_id,
        mode=mode,
        type=type,
        reference=reference,
        body=JSONRenderer().render(body).decode(),
        created_at=now,
    )
    deliveries = Delivery.objects.bulk_create(
        Delivery(tenant_id=tenant_id, event=event, endpoint_id=taker, next_attempt_at=now, created_at=now)
        for taker in takers
    )
    transaction.on_commit(wake_up)
    return deliveries


def _disturb(endpoint_id: UUID) -> None:
    """It may have asked to be left alone; who sends by hand knows better. Locked after its deliveries, as who settles does."""
    Endpoint.objects.filter(pk=endpoint_id, quiet_until__gt=Now()).update(quiet_until=None)


def _now() -> datetime:
    """The database's clock, by which deliveries are due."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def _resend(deliveries: QuerySet[Delivery]) -> int:
    idle = deliveries.filter(Q(leased_until=None) | Q(leased_until__lte=Now()), attempt_count__lt=MOST_ATTEMPTS)
    resent = idle.update(
        state=Delivery.State.PENDING, next_attempt_at=Now(), leased_until=None, tries=0, finished_at=None
    )
    transaction.on_commit(wake_up)
    return resent
