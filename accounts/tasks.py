"""The tasks of webhooks, of idempotency keys, of bulk acts and of operators' sessions. The code that calls them writes rows and
sends wake-ups; the code that they call does the work.
"""

from __future__ import annotations

from uuid import UUID

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore

from accounts import idempotency_keys
from accounts.bulk_acts import runs
from accounts.webhooks import delivery_hours, dispatcher, retention

# The other tasks of a worker wait while it runs. The next run goes on.
ROLL_UP_SECONDS = 20.0


@shared_task
def deliver() -> None:
    """Wakes up the dispatcher of this worker."""
    dispatcher.of_this_process().look()


@shared_task
def sweep_deliveries() -> None:
    """Bounds the log of deliveries. Harmless when doubled or late."""
    retention.end_disabled()
    retention.forget_deleted()
    retention.forget_old()


@shared_task
def sweep_idempotency_keys() -> None:
    """Deletes the idempotency keys whose time is over."""
    idempotency_keys.sweep()


@shared_task
def roll_up_deliveries() -> None:
    """Counts deliveries by what became of them. Running twice, late or at once does no harm."""
    delivery_hours.roll_up(seconds=ROLL_UP_SECONDS)


@shared_task
def sweep_sessions() -> None:
    """Deletes operators' sessions that have ended."""
    SessionStore.clear_expired()


@shared_task
def act_in_bulk(bulk_act: str) -> None:
    """Does a slice of a bulk act, and asks for the next one behind the other tasks."""
    if runs.run(UUID(bulk_act)):
        runs.wake_up(UUID(bulk_act))


@shared_task
def sweep_bulk_acts() -> None:
    """Wakes up the bulk acts whose wake-up was lost, or whose worker is gone. Harmless when doubled or late."""
    runs.sweep()
