"""Keeps the log of deliveries in bounds: what came due for a disabled endpoint ends, and what is old, or of an endpoint that
was deleted, is forgotten. A little at a time: what is left is the next run's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.models import Delivery, Endpoint, Event

AT_ONCE = 1000
# A run, of each kind.
BATCHES = 20
# In one statement: of a thousand rows that Django writes one by one, the reading of the statement takes a second.
END = """
    WITH due AS (
        SELECT delivery.id FROM accounts_delivery delivery
        JOIN accounts_endpoint endpoint ON endpoint.id = delivery.endpoint_id
        WHERE NOT endpoint.enabled AND endpoint.deleted_at IS NULL
            AND delivery.state = 'pending' AND delivery.next_attempt_at <= statement_timestamp()
        LIMIT %(at_once)s
        FOR NO KEY UPDATE OF delivery SKIP LOCKED
    ),
    ended AS (
        UPDATE accounts_delivery
        SET state = 'failed', attempt_count = attempt_count + 1, next_attempt_at = NULL, leased_until = NULL,
            finished_at = statement_timestamp()
        WHERE id = ANY (ARRAY(SELECT id FROM due))
        RETURNING id, attempt_count
    )
    INSERT INTO accounts_attempt (delivery_id, number, started_at, duration_ms, cause, detail, answer)
    SELECT id, attempt_count, statement_timestamp(), 0, 'endpoint_disabled', %(detail)s, '' FROM ended
"""
DISABLED = "The endpoint was disabled when it was due; enable it and send it again."


def end_disabled() -> None:
    """What is not due yet stays: it is sent if the endpoint has been enabled by then."""
    _repeat(_end_some)


def forget_old() -> None:
    """Events older than the log is kept, with their deliveries, but for those that are still to be sent."""
    _repeat(_forget_some)


def forget_deleted() -> None:
    """What deleted endpoints were sent, and then they themselves."""
    for endpoint in Endpoint.with_deleted.filter(deleted_at__isnull=False)[:BATCHES]:
        _repeat(lambda endpoint=endpoint: _forget_some_of(endpoint))  # type: ignore[misc]


def _repeat(do_some: Callable[[], bool]) -> None:
    """While there is more, and not for long: who waits behind this is not to wait for a backlog."""
    all(do_some() for _ in range(BATCHES))


def _end_some() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(END, {"at_once": AT_ONCE, "detail": DISABLED})
        return bool(cursor.rowcount == AT_ONCE)


@transaction.atomic
def _forget_some() -> bool:
    old = Event.objects.filter(created_at__lt=Now() - timedelta(days=settings.WEBHOOK_LOG_DAYS))
    ids = list(
        old.exclude(deliveries__state=Delivery.State.PENDING)
        .order_by("created_at")
        .values_list("pk", flat=True)[:AT_ONCE]
    )
    _lock(Delivery.objects.filter(event__in=ids))
    Event.objects.filter(pk__in=ids).exclude(deliveries__state=Delivery.State.PENDING).delete()
    return len(ids) == AT_ONCE


@transaction.atomic
def _forget_some_of(deleted: Endpoint) -> bool:
    its = Delivery.objects.filter(endpoint=deleted)
    ids = list(its.order_by("-pk").values_list("pk", flat=True)[:AT_ONCE])
    _lock(its.filter(pk__in=ids))
    its.filter(pk__in=ids).delete()
    if len(ids) == AT_ONCE:
        return True
    # Whoever records an event for it holds its row, and is waited for: its delivery goes, too.
    Endpoint.with_deleted.select_for_update().filter(pk=deleted.pk).first()
    Endpoint.with_deleted.filter(pk=deleted.pk).delete()
    return False


def _lock(deliveries: QuerySet[Delivery]) -> None:
    """Before their attempts, as whoever erases or settles them does."""
    list(deliveries.order_by("pk").select_for_update().values_list("pk"))
