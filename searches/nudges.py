"""Sends word that a lane should be looked at. A nudge names no lookup and says nothing that the rows don't: one that is
lost, late or doubled costs a moment. A lane gets no more of them than it has room for waiters, so that a backlog of a
million is a million rows and a handful of messages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from celery import current_app
from kombu.exceptions import OperationalError
from uuid_utils.compat import uuid7

from accounts.models import Mode
from providers import limiter, policies
from providers.limiter import Seat

if TYPE_CHECKING:
    from providers.models import Policy
    from searches.models import Lane

log = logging.getLogger(__name__)


def seat(lane: str, policy: Policy, name: str) -> Seat:
    return Seat(lane=lane, name=name, rate=policies.rate(policy), most_under_way=policy.max_in_flight)


def nudge(lane: Lane, policy: Policy, *, delay: float = 0) -> bool:
    """Asks one worker to look at the lane, now or in `delay` seconds; False where enough look already, or Redis is down.

    Never raises and never takes long: the sweep finds what this could not announce.
    """
    taken = seat(lane.name, policy, str(uuid7()))
    try:
        if not delay and not taken.hire():
            return False
        current_app.send_task(
            "searches.tasks.run",
            (lane.name, taken.name),
            queue="searches" if lane.mode == Mode.LIVE else "sandbox",
            countdown=delay or None,
            retry=False,
        )
    except (limiter.Unavailable, OperationalError, OSError):
        log.warning("lane %s was not nudged: Redis is unreachable; the sweep will see to it", lane.name)
        return False
    return True


def fill(lane: Lane, policy: Policy) -> None:
    """Nudges until the lane has all the waiters it has room for."""
    for _ in range(policies.rate(policy).most_waiting):
        if not nudge(lane, policy):
            return
