"""Sends word that a lane should be looked at. A wake-up names no lookup and says nothing that the rows don't: one that is
lost, late or doubled costs a moment. A lane gets no more of them than it has room for waiters, so that a backlog of a
million is a million rows and a handful of messages.
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

from accounts import redis_client
from accounts.models import Mode
from providers import limiter, policies
from providers.limiter import Waiter
from searches.lanes import pauses, queue
from searches.models import Lane, TenantQueue

if TYPE_CHECKING:
    from providers.models import Policy

log = logging.getLogger(__name__)

# With no worker to take them, wake-ups are not kept for longer. Celery compares two machines' clocks here, so it is more than
# any clock should be wrong by.
STALE_SECONDS = 900
# Of the lists in Redis that are Celery's queues.
KEY_PREFIX = redis_client.keys(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]))
# The broker begins its channels as it does its keys.
redis_client.channels(KEY_PREFIX)
_unanswered = redis_client.Cooldown()
_broker_failed = redis_client.Cooldown()


def waiter(lane: Lane, policy: Policy, name: str) -> Waiter:
    limits = policies.lane_limiter(lane.name, policy)
    return limits.waiter(name, broker_queue=f"{KEY_PREFIX}{_queue(lane)}")


def send(lane: Lane, policy: Policy) -> bool:
    """Asks one worker to look at the lane; False where enough look already, or Redis is down or was a moment ago.

    Never raises and never takes long: the sweep finds what this could not announce.
    """
    if _unanswered.active:
        return False
    try:
        return _reserve(lane, policy)
    except limiter.Unavailable as error:
        # An answer, even a refusal, takes no time.
        if not isinstance(error.__cause__, ResponseError):
            _unanswered.start()
        log.warning("lane %s was not woken up: Redis is unreachable; the sweep will see to it", lane.name)
        return False


def fill_all() -> None:
    """Wakes up every lane with work that has room for waiters; who takes its message up calls the others.

    Raises `Unavailable` at the first: a Redis that is silent would take its time for each.
    """
    for lane in lanes_with_work():
        for _ in range(lane.limiter.rate.most_waiting):
            if not _reserve(lane, lane.policy_in_force):
                break


def lanes_with_work() -> list[Lane]:
    """Returns the lanes in which a lookup is ready or due to wake, and that stand still for two seconds more at most."""
    moment = queue.now()
    ready = TenantQueue.objects.filter(queue.CLAIMABLE, lane=OuterRef("pk"))
    due = TenantQueue.objects.filter(lane=OuterRef("pk"), wake_at__lte=moment)
    lanes = Lane.objects.select_related("policy").filter(Exists(ready) | Exists(due))
    return list(lanes.exclude(pauses.stands_still_at(moment + timedelta(seconds=2))))


def start(lane: Lane, waiter: Waiter, *, seconds: float, more: bool) -> None:
    """Counts a waiter as in flight, and calls others to wait instead where there is `more` to do."""
    for successor in waiter.start(seconds=seconds, successor=new_name() if more else ""):
        _send(lane, successor)


def release(lane: Lane, waiter: Waiter, *, more: bool) -> None:
    """Releases a waiter, and calls others where there is `more` to do and room for them."""
    for successor in waiter.release(successor=new_name() if more else ""):
        _send(lane, successor)


def _reserve(lane: Lane, policy: Policy) -> bool:
    reserved = waiter(lane, policy, new_name())
    return reserved.reserve() and _send(lane, reserved.name)


def resolve_followers(leader_id: UUID) -> None:
    """Asks for the followers of a lookup that has ended to be resolved. Never raises: the sweep finds them too."""
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
