"""The waist: what is above writes rows and wake-ups, what is below does the work. A task decides nothing."""

from __future__ import annotations

from celery import shared_task

from accounts.webhooks import dispatcher, retention


@shared_task
def deliver() -> None:
    """Leave to look at what is due."""
    dispatcher.of_this_process().look()


@shared_task
def sweep_deliveries() -> None:
    """Ends what waits for disabled endpoints, and forgets what is old or deleted. Harmless when doubled or late."""
    retention.end_disabled()
    retention.forget_deleted()
    retention.forget_old()
