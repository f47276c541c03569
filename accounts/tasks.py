"""The tasks of webhooks, of idempotency keys and of operators' sessions. The code that calls them writes rows and sends wake-ups;
the code that they call does the work.
"""

from __future__ import annotations

from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore

from accounts import idempotency_keys
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
