"""Bounds the log of deliveries: fails those that came due for a disabled endpoint, and deletes those that are old or whose
endpoint was deleted. A run takes some batches; the next run takes the rest.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts import batches
from accounts.models import Delivery, Endpoint, Event

# Batches of each kind in one run.
BATCHES = 20
# One statement: where Django writes a thousand rows one by one, parsing the statement takes a second.
END = """
    WITH due AS (
        SELECT delivery.id FROM accounts_delivery delivery
        JOIN accounts_endpoint endpoint ON endpoint.id = delivery.endpoint_id
        WHERE NOT endpoint.enabled AND endpoint.deleted_at IS NULL
            AND delivery.state = 'pending' AND delivery.next_attempt_at <= statement_timestamp()
        LIMIT %(size)s
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
    """Fails what is due for disabled endpoints. A delivery that is not due yet is sent if its endpoint is enabled by then."""
    batches.repeat(_end_batch, most=BATCHES)


def forget_old() -> None:
    """Deletes events older than the log is kept, with their deliveries, except those that are still to be sent."""
    batches.repeat(_forget_old_batch, most=BATCHES)


def forget_deleted() -> None:
    """Deletes the deliveries of deleted endpoints, and then the endpoints themselves."""
    for endpoint in Endpoint.with_deleted.filter(deleted_at__isnull=False)[:BATCHES]:
        batches.repeat(partial(_forget_batch_of, endpoint), most=BATCHES)


def _end_batch() -> int:
    with connection.cursor() as cursor:
        cursor.execute(END, {"size": batches.SIZE, "detail": DISABLED})
        ended: int = cursor.rowcount
        return ended


@transaction.atomic
def _forget_old_batch() -> int:
    old = Event.objects.filter(created_at__lt=Now() - timedelta(days=settings.WEBHOOK_LOG_DAYS))
    ids = list(
        old.exclude(deliveries__state=Delivery.State.PENDING)
        .order_by("created_at")
        .values_list("pk", flat=True)[: batches.SIZE]
    )
    _lock(Delivery.objects.filter(event__in=ids))
    Event.objects.filter(pk__in=ids).exclude(deliveries__state=Delivery.State.PENDING).delete()
    return len(ids)


@transaction.atomic
def _forget_batch_of(deleted: Endpoint) -> int:
    its = Delivery.objects.filter(endpoint=deleted)
    ids = list(its.order_by("-pk").values_list("pk", flat=True)[: batches.SIZE])
    _lock(its.filter(pk__in=ids))
    its.filter(pk__in=ids).delete()
    if len(ids) < batches.SIZE:
        # Recording an event for the endpoint holds its row. This waits for it, and deletes that delivery, too.
        Endpoint.with_deleted.select_for_update().filter(pk=deleted.pk).first()
        Endpoint.with_deleted.filter(pk=deleted.pk).delete()
    return len(ids)


def _lock(deliveries: QuerySet[Delivery]) -> None:
    """Locks deliveries before their attempts, in the order in which erasing and settling lock them."""
    list(deliveries.order_by("pk").select_for_update().values_list("pk"))
