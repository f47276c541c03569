"""Runs the ledger's audit once a UTC day, and keeps its outcome. `manage.py audit_ledger` runs it at any time."""

from __future__ import annotations

import logging
from datetime import UTC, timedelta

from accounts import clock
from billing import audit
from billing.models import Entry, LedgerAudit

log = logging.getLogger(__name__)

# An audit that has not ended after so long ended with its worker, and is begun anew.
LONGEST = timedelta(hours=2)
# The differences that are kept as sentences. One wrong account may cause many.
MOST_SENTENCES = 100


def run_if_due() -> None:
    """Audits the ledger unless today's audit has ended or is under way."""
    mine = _begin()
    if mine is None:
        return
    with audit.snapshot():
        found = audit.differences()
        entries = Entry.objects.count()
    mine.entries, mine.differences, mine.sentences = entries, len(found), found[:MOST_SENTENCES]
    mine.finished_at = clock.now()
    mine.save(update_fields=["entries", "differences", "sentences", "finished_at"])
    if found:
        log.error("the ledger's audit found %d differences; the admin's page of audits names them", len(found))


def _begin() -> LedgerAudit | None:
    """Returns today's audit for this worker to run; None if it has ended, or another worker runs it."""
    moment = clock.now()
    mine = LedgerAudit(day=moment.astimezone(UTC).date(), started_at=moment)
    LedgerAudit.objects.bulk_create([mine], ignore_conflicts=True)
    if LedgerAudit.objects.filter(pk=mine.pk).exists():
        return mine
    lost = LedgerAudit.objects.filter(day=mine.day, finished_at=None, started_at__lt=moment - LONGEST)
    return LedgerAudit.objects.get(day=mine.day) if lost.update(started_at=moment) else None
