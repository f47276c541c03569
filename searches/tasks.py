"""The Celery tasks. They decide nothing: callers above write rows and send wake-ups, and the modules below do the work."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import shared_task
from django.conf import settings

from providers.limiter import Unavailable
from searches import pictures
from searches.calls import recovery, worker
from searches.coalescing import followers
from searches.lanes import credential_gate, directory, wakeups
from searches.lifecycle import deadlines, retention
from searches.reconciliation import sweep
from searches.rollups import lane_calls, lane_samples, search_hours

log = logging.getLogger(__name__)

# The other tasks of a worker wait while it runs. The next run goes on.
RECONCILING_SECONDS = ROLL_UP_SECONDS = 20.0


@shared_task
def run(lane: str, waiter: str) -> None:
    """Makes visits to a lane (`worker`)."""
    worker.run(lane, waiter, stay_seconds=worker.STAY_SECONDS)


# The names of the next two are older than their functions, so that a clock of an older deployment finds them.
@shared_task(name="searches.tasks.land")
def resolve_followers(lookup: str) -> None:
    followers.resolve(UUID(lookup))


@shared_task(name="searches.tasks.sweep_riders")
def sweep_followers() -> None:
    """Resolves followers whose wake-up was lost. A sweep of its own, so that the lanes' sweep never waits for it."""
    followers.resolve_all()


@shared_task
def sweep_lanes() -> None:
    """Finds what a lost wake-up, a dead worker or a lapsed deadline left behind. Running twice or late does no harm.

    A step that fails does not stop the others, since all lanes depend on them.
    """
    steps = (
        *(deadlines.expire, deadlines.fail_without_credential),
        *(directory.move_lookups, credential_gate.block_dead, credential_gate.unblock, credential_gate.wake_rested),
        *(recovery.recover_all, wakeups.fill_all),
    )
    for step in steps:
        try:
            step()
        except Unavailable:
            log.warning("%s waits for Redis", step.__qualname__)
        except Exception:
            log.exception("%s failed", step.__qualname__)


@shared_task
def sweep_retention() -> None:
    """Erases some of what was kept for longer than its tenant's retention. Running twice or late does no harm."""
    retention.enforce()


@shared_task
def sweep_pictures() -> None:
    """Removes the files that no search needs: renderings of crops, and files that no row names."""
    pictures.sweep_crops(settings.CROP_SECONDS)
    pictures.sweep_orphans(settings.ORPHANED_PICTURE_SECONDS)


@shared_task
def reconcile_credentials() -> None:
    """Compares what providers counted with the calls, for keys that are due. Running twice or late does no harm."""
    sweep.run(seconds=RECONCILING_SECONDS)


@shared_task
def roll_up_lanes() -> None:
    """Samples the lanes' queues and counts their calls. Running twice, late or at once does no harm."""
    lane_samples.take()
    lane_calls.roll_up(seconds=ROLL_UP_SECONDS)


@shared_task
def roll_up_searches() -> None:
    """Counts searches by what became of them. Running twice, late or at once does no harm."""
    search_hours.roll_up(seconds=ROLL_UP_SECONDS)
