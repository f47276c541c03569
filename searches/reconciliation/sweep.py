"""Reconciles every key once a day, each at its own time of the day.

A key is due a day after its last reading, so that the readings of many keys stay as far apart as the keys were stored. A run
makes one call after the other and ends after some seconds, because people wait for the lane of free calls too. The next run goes
on.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from accounts import clock
from billing.models import Reading
from billing.reconciliation import CannotReconcile
from providers import policies, registry
from providers.failures import Failure
from providers.models import Credential
from searches.reconciliation import readings

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
# A key whose provider could not be asked, or named no credits that can be compared, is asked again after this time.
RETRY_AFTER = timedelta(hours=1)
# The last check succeeded, and named credits of at most eleven digits (`billing.reconciliation.MOST`).
TOLD_ITS_CREDITS = Q(
    check_problem="", account_read_at__gte=F("checked_at"), account__credits__regex=r"^-?[0-9]{1,11}([.]|$)"
)
# Keys that a run takes at most: more than fit into its time at one call a second.
AT_ONCE = 30


def due(*, limit: int = AT_ONCE) -> QuerySet[Credential]:
    """Returns keys that were not read for a day.

    A provider whose calls are paused is not asked. A check that was answered, such as its owner's, delays no reading.
    """
    now = clock.now()
    asked = [provider for provider in registry.FREE_CALLS if not policies.of(provider).paused]
    read = Reading.objects.filter(credential=OuterRef("pk"), answered_at__gt=now - EVERY)
    rested = Q(checked_at=None) | Q(checked_at__lte=now - RETRY_AFTER) | TOLD_ITS_CREDITS
    due = readings.reconcilable().filter(rested, provider__in=asked).exclude(Exists(read))
    # At random, so that two runs at once seldom take the same.
    return due.order_by("?")[:limit]


def run(*, seconds: float) -> None:
    """Reconciles some of the keys that are due. A key that cannot be asked now stops no other."""
    deadline = time.monotonic() + seconds
    for credential in due():
        if time.monotonic() > deadline:
            return
        _reconcile(credential)


def _reconcile(credential: Credential) -> None:
    try:
        readings.reconcile(credential)
    except (CannotReconcile, Failure) as error:
        # Neither quotes the key. The credential's `check_problem` says it too, where the provider was asked.
        log.info("credential %s was not reconciled: %s", credential.pk, error)
    except Exception:
        log.exception("credential %s cannot be reconciled", credential.pk)
