"""Keeps the log of deliveries in bounds: what came due for a disabled endpoint ends, and what is old is forgotten."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Attempt, Delivery, Event

AT_ONCE = 1000


def end_disabled() -> None:
    """What is not due yet stays: it is sent if the endpoint has been enabled by then."""
    while _end_some():
        pass


def forget_old() -> None:
    """Events older than the log is kept, with their deliveries, but for those that are still to be sent."""
    while _forget_some():
        pass


@transaction.atomic
def _end_some() -> bool:
    due = Delivery.objects.filter(endpoint__enabled=False, state=Delivery.State.PENDING, next_attempt_at__lte=Now())
    ended = list(due.select_for_update(of=("self",), no_key=True, skip_locked=True)[:AT_ONCE])
    Attempt.objects.bulk_create(
        Attempt(
            delivery=delivery,
            number=delivery.attempt_count + 1,
            started_at=Now(),
            duration_ms=0,
            cause="endpoint_disabled",
            detail="The endpoint was disabled when it was due; enable it and send it again.",
        )
        for delivery in ended
    )
    for delivery in ended:
        delivery.state, delivery.attempt_count = Delivery.State.FAILED, delivery.attempt_count + 1
        delivery.next_attempt_at = delivery.leased_until = None
        delivery.finished_at = Now()
    Delivery.objects.bulk_update(
        ended, ["state", "attempt_count", "next_attempt_at", "leased_until", "finished_at"], batch_size=AT_ONCE
    )
    return len(ended) == AT_ONCE


def _forget_some() -> bool:
    old = Event.objects.filter(created_at__lt=Now() - timedelta(days=settings.WEBHOOK_LOG_DAYS))
    ids = list(
        old.exclude(deliveries__state=Delivery.State.PENDING)
        .order_by("created_at")
        .values_list("pk", flat=True)[:AT_ONCE]
    )
    Event.objects.filter(pk__in=ids).exclude(deliveries__state=Delivery.State.PENDING).delete()
    return len(ids) == AT_ONCE
