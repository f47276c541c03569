"""Wakes up workers for lanes with work. A wake-up is a Celery message that names a lane and no lookup, and adds nothing to the
rows. A lost, late or doubled one costs seconds. A lane gets no more wake-ups than its limiter has waiters: a backlog of a million
lookups is a million rows and a handful of messages.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from celery import current_app
from django.conf import settings
from django.db.models import Exists, OuterRef
from kombu.exceptions import OperationalError
from redis.exceptions import ResponseError
from uuid_utils.compat import uuid7

from accounts import clock, redis_client
from accounts.models import Mode
from providers import limiter, policies
from providers.limiter import Waiter
from searches.lanes import pauses, queue
from searches.models import Lane, TenantQueue

if TYPE_CHECKING:
    from providers.models import Policy

log = logging.getLogger(__name__)

# A wake-up that no worker takes expires after 15 minutes. Celery compares the clocks of two machines here, so this is more than
# any clock should be wrong by.
STALE_SECONDS = 900
# The prefix of Celery's queues, which are lists in Redis.
KEY_PREFIX = redis_client.keys(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]))
# The broker uses the same prefix for its channels.
redis_client.channels(KEY_PREFIX)
_unanswered = redis_client.Cooldown()
_broker_failed = redis_client.Cooldown()


def waiter(lane: Lane, policy: Policy, name: str) -> Waiter:
    limits = policies.lane_limiter(lane.name, policy)
    return limits.waiter(name, broker_queue=f"{KEY_PREFIX}{_queue(lane)}")


def send(lane: Lane, policy: Policy) -> bool:
    """Wakes up one worker for the lane. Returns False if the lane has enough waiters, or if Redis is or was just unreachable.

    Never raises and never takes long. The sweep wakes up the lanes that this could not.
    """
    if _unanswered.active:
        return False
    try:
        return _reserve(lane, policy)
    except limiter.Unavailable as error:
        # A refusal was answered at once, so that others may ask on.
        if not isinstance(error.__cause__, ResponseError):
            _unanswered.start()
        log.warning("lane %s was not woken up: Redis is unreachable; the sweep will see to it", lane.name)
        return False


def fill_all() -> None:
    """Fills every lane with work up to its number of waiters.

    Raises `Unavailable` at the first failure, for each attempt at a silent Redis costs a timeout.
    """
    for lane in lanes_with_work():
        for _ in range(lane.limiter.rate.most_waiting):
            if not _reserve(lane, lane.policy_in_force):
                break


def lanes_with_work() -> list[Lane]:
    """Returns the lanes in which a lookup is ready or due, without those that stay paused for more than two seconds."""
    moment = clock.now()
    ready = TenantQueue.objects.filter(queue.CLAIMABLE, lane=OuterRef("pk"))
    due = TenantQueue.objects.filter(lane=OuterRef("pk"), wake_at__lte=moment)
    lanes = Lane.objects.select_related("policy").filter(Exists(ready) | Exists(due))
    return list(lanes.exclude(pauses.paused_at(moment + timedelta(seconds=2))))


def start(lane: Lane, waiter: Waiter, *, seconds: float, more: bool) -> None:
    """Counts a waiter as in flight, and wakes up others to wait in its stead if there is `more` to do."""
    for successor in waiter.start(seconds=seconds, successor=new_name() if more else ""):
        _send(lane, successor)


def release(lane: Lane, waiter: Waiter, *, more: bool) -> None:
    """Releases a waiter, and wakes up others if there is `more` to do and room for them."""
    for successor in waiter.release(successor=new_name() if more else ""):
        _send(lane, successor)


def _reserve(lane: Lane, policy: Policy) -> bool:
    reserved = waiter(lane, policy, new_name())
    return reserved.reserve() and _send(lane, reserved.name)


def resolve_followers(leader_id: UUID) -> None:
    """Asks a worker to resolve the followers of a lookup that has ended. Never raises: the sweep resolves them too."""
    if _broker_failed.active:
        return
    try:
        current_app.send_task(
            "searches.tasks.land", (str(leader_id),), queue="followers", expires=STALE_SECONDS, retry=False
        )
    except (OperationalError, OSError):
        _broker_failed.start()
        log.warning(
            "followers wait for the sweep: the broker is unreachable, and is left alone for %s s",
            _broker_failed.seconds,
        )


def new_name() -> str:
    return str(uuid7())


def _send(lane: Lane, waiter_name: str) -> bool:
    arguments = (lane.name, waiter_name)
    try:
        current_app.send_task("searches.tasks.run", arguments, queue=_queue(lane), expires=STALE_SECONDS, retry=False)
    except (OperationalError, OSError):
        log.warning("lane %s was not woken up: the broker is unreachable; the sweep will see to it", lane.name)
        return False
    return True


def _queue(lane: Lane) -> str:
    return "searches" if lane.mode == Mode.LIVE else "sandbox"
