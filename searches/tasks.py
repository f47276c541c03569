"""The waist: what is above writes rows and nudges, what is below does the work. A task decides nothing."""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings

from providers import policies
from providers.limiter import Unavailable
from searches import ending, execution, nudges, pictures, scheduler, settlement
from searches.models import Call

log = logging.getLogger(__name__)


@shared_task
def run(lane: str, seat: str) -> None:
    """Leave to look at a lane."""
    execution.run(lane, seat)


@shared_task
def sweep_lanes() -> None:
    """Finds what a lost nudge, a dead worker or a lapsed deadline left behind. Harmless when doubled or late."""
    for call in Call.objects.filter(state=Call.State.ARMED, leased_until__lte=scheduler.now()).select_related("lookup"):
        try:
            settlement.recover(call)
        except Unavailable:
            log.warning("call %s waits for Redis to say whether it was sent", call.pk)
            break
    ending.expire()
    scheduler.unpark()
    for lane in scheduler.lanes_to_look_at():
        policy = policies.of(lane.provider)
        if not policy.paused:
            nudges.fill(lane, policy)


@shared_task
def sweep_pictures() -> None:
    """Removes files that no row came to name."""
    pictures.sweep_orphans(settings.ORPHANED_PICTURE_SECONDS)
