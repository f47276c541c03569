"""The periodic task of billing."""

from __future__ import annotations

from celery import shared_task

from billing import statements

# The other tasks of a worker wait while it runs. The next run goes on.
LONGEST_SECONDS = 20.0


@shared_task
def close_months() -> None:
    """Writes the statements of months that have ended. Running twice or late does no harm."""
    statements.close_due(seconds=LONGEST_SECONDS)
