"""Records what happened, for the endpoints that want to hear of it, in the transaction that makes it true.

An event and its deliveries are rows: none is sent of what was rolled back, and none is lost of what was committed. The body
is made once and is opaque here. `delivery` sends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import DateTimeField

from accounts import clock
from accounts.models import Delivery, Endpoint, Event, EventType
from accounts.webhooks import wakeups

# The data of an event: everything that JSON can say, and times and ids.
Data = Mapping[str, Any]

# The endpoints that want each of some types. They share their rows with each other's events, and are kept from being deleted
# until the caller's transaction is over.
SUBSCRIBERS = """
SELECT type, endpoint.id FROM accounts_endpoint endpoint
JOIN unnest(%s::text[]) AS type ON endpoint.events = '[]' OR endpoint.events ? type
WHERE endpoint.tenant_id = %s AND endpoint.mode = %s AND endpoint.enabled AND endpoint.deleted_at IS NULL
ORDER BY endpoint.id
FOR KEY SHARE OF endpoint
"""


def record(tenant_id: UUID, mode: str, type: EventType, data: Data, *, reference: str = "") -> None:
    """Records one event. `record_wanted` says more."""
    record_wanted(tenant_id, mode, {type: lambda: [data]}, reference=reference)


def record_wanted(
    tenant_id: UUID, mode: str, builders: Mapping[EventType, Callable[[], Iterable[Data]]], *, reference: str = ""
) -> None:
    """Writes events, each with a delivery for every enabled endpoint that wants its type.

    Builds the data of wanted types only. Runs in the caller's transaction, where the endpoints are the last rows to be locked.
    `reference`: what the events are about, by which `erase` finds them.
    """
    subscribers = _subscribers(tenant_id, mode, builders)
    for type, build in builders.items():
        if type in subscribers:
            for data in build():
                write(tenant_id, mode, type, data, subscribers[type], reference)


def erase(reference: str) -> None:
    """Deletes the events about this, sent or not, with the log of their deliveries, in the caller's transaction."""
    about = Delivery.objects.filter(event__reference=reference)
    # Locks in the same order as settling a delivery, which would otherwise write an attempt of a deleted delivery.
    key_shared(Endpoint.objects.filter(pk__in=about.values("endpoint")).order_by("pk"))
    list(about.order_by("pk").select_for_update(of=("self",)))
    Event.objects.filter(reference=reference).delete()


def key_shared(endpoints: QuerySet[Endpoint]) -> list[UUID]:
    """Locks endpoints against being deleted, and returns their ids.

    Django has only stronger locks, with which events of one tenant would wait for each other.
    """
    statement, values = endpoints.values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} FOR KEY SHARE", values)
        return [id for (id,) in cursor.fetchall()]


def write(
    tenant_id: UUID, mode: str, type: EventType, data: Data, endpoint_ids: Iterable[UUID], reference: str = ""
) -> list[Delivery]:
    """Writes an event and its deliveries to these endpoints, which the caller has locked."""
    now = clock.now()
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
        Delivery(tenant_id=tenant_id, event=event, endpoint_id=id, next_attempt_at=now, created_at=now)
        for id in endpoint_ids
    )
    transaction.on_commit(wakeups.wake_up)
    return deliveries


def _subscribers(tenant_id: UUID, mode: str, types: Iterable[EventType]) -> dict[EventType, list[UUID]]:
    found: dict[EventType, list[UUID]] = {}
    with connection.cursor() as cursor:
        cursor.execute(SUBSCRIBERS, ([type.value for type in types], tenant_id, mode))
        for type, endpoint_id in cursor.fetchall():
            found.setdefault(EventType(type), []).append(endpoint_id)
    return found
