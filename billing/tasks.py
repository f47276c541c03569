"""The periodic tasks of billing."""

from __future__ import annotations

from celery import shared_task

from billing import credit_days, daily_audit, grants, statements

# The other tasks of a worker wait while it runs. The next run goes on.
LONGEST_SECONDS = 20.0


@shared_task
def close_months() -> None:
    """Writes the statements of months that have ended. Running twice or late does no harm."""
    statements.close_due(seconds=LONGEST_SECONDS)


@shared_task
def expire_grants() -> None:
    """Enters the expiry of grants of accounts that have not moved since. Running twice or late does no harm."""
    grants.expire_due(seconds=LONGEST_SECONDS)


@shared_task
def audit_ledger() -> None:
    """Audits the ledger once a day. Running twice, late or at once does no harm."""
    daily_audit.run_if_due()


@shared_task
def roll_up_credits() -> None:
    """Adds up charges by provider and day. Running twice, late or at once does no harm."""
    credit_days.roll_up(seconds=LONGEST_SECONDS)
