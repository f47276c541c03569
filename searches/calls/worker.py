"""A worker's visits to a lane: wait for a slot, claim the lookup whose turn it is, call its provider, settle the outcome.

No transaction is open during the call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from celery import current_app
from django.db import Error, InterfaceError, OperationalError, connection
from kombu.exceptions import OperationalError as KombuError

from accounts import log_context
from providers import http, limiter
from providers.failures import Failure
from providers.limiter import KeyRests, Rate, Token, TokenRefused, Unavailable, Waiter
from providers.models import Policy
from searches.calls import outcomes, recovery, request, settlement
from searches.lanes import pauses, queue, wakeups
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import live_updates
from searches.models import Lane

log = logging.getLogger(__name__)

# A lookup is claimed this long before its slot, for the time that reading it and preparing its request take. A slow lane can
# afford more, for a connection that is cold.
SHORTEST_LEAD_SECONDS, LONGEST_LEAD_SECONDS = 0.050, 0.150
# A worker does not wait for a slot that is further off than this.
FARTHEST_SLOT_SECONDS = 5.0
# A worker stays with one lane for this long, because sending and taking another message costs a third of a visit. After that,
# and after the visit that has begun, the next message of the broker's queue has its turn, usually for another lane.
STAY_SECONDS = 1.0
# A worker that has lost PostgreSQL or Redis tries again this often. It tries Redis for ten stays, because no other process
# frees its waiter, and without Redis no message comes for it anyway.
LOOK_SECONDS, LOOKS_FOR_STAYS = 0.1, 10


def run(lane_name: str, waiter_name: str, *, stay_seconds: float = 0.0) -> None:
    """Visits a lane, once at least, and again while there is more to do and the stay is not over."""
    lane = _lane(lane_name)
    policy = lane.policy_in_force
    waiter = wakeups.waiter(lane, policy, waiter_name)
    began = time.monotonic()
    stays_until, looks_until = began + stay_seconds, began + LOOKS_FOR_STAYS * stay_seconds
    while True:
        try:
            return _stay(lane, policy, waiter, stays_until)
        except Unavailable:
            if time.monotonic() >= looks_until:
                return log.warning("lane %s: Redis is unreachable, so no call is sent", lane.name)
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() >= stays_until:
                _give_up(waiter)
                raise
        except Exception:
            _give_up(waiter)
            raise
        time.sleep(LOOK_SECONDS)


def _stay(lane: Lane, policy: Policy, waiter: Waiter, stays_until: float) -> None:
    """Makes the visits, each under the policy that is in force by then, and calls other workers if more is left to do."""
    wait = waiter.acquire()
    while wait is not None:
        more = visit(lane, policy, waiter, wait)
        if more is None or time.monotonic() >= stays_until:
            return wakeups.release(lane, waiter, more=more is not None)
        policy, waiter = more, wakeups.waiter(lane, more, waiter.name)
        wait = waiter.reacquire()
    return None


def _give_up(waiter: Waiter) -> None:
    """Frees the waiter, which would otherwise count as a call in flight for as long as a call may take."""
    with suppress(Unavailable):
        waiter.release()


def _lane(name: str) -> Lane:
    """Reads the lane's row, with a second try: the database may have been restarted since the last task."""
    lanes = Lane.objects.select_related("policy")
    try:
        return lanes.get(pk=name)
    except (OperationalError, InterfaceError):
        connection.close()
        return lanes.get(pk=name)


def visit(lane: Lane, policy: Policy, waiter: Waiter, wait: float) -> Policy | None:
    """Waits for the slot and uses it. Returns the policy in force if the lane has more to do at once, else None."""
    if wait > FARTHEST_SLOT_SECONDS:
        return None
    slot_at = time.monotonic() + wait
    time.sleep(max(0.0, wait - lead_seconds(waiter.limiter.rate)))
    try:
        claimed = queue.claim(lane.name, policy, lease=timedelta(seconds=recovery.armed_seconds(policy)))
    except queue.Contended:
        return policy
    if claimed is None:
        return None
    with log_context.about(search=claimed.lookup.search_id, lookup=claimed.lookup.pk, call=claimed.call.pk):
        # The limit may have changed during the wait.
        policy = claimed.policy
        _call(lane, claimed, wakeups.waiter(lane, policy, waiter.name), slot_at)
    return policy if claimed.more or queue.has_ready(lane.name) else None


def _call(lane: Lane, claimed: ClaimedLookup, waiter: Waiter, slot_at: float) -> None:
    """Makes a claimed call, and settles its outcome."""
    policy = claimed.policy
    try:
        wakeups.start(lane, waiter, seconds=recovery.longest_seconds(policy), more=claimed.more)
        if claimed.begun:
            live_updates.announce(claimed.lookup.search_id)
        key = pauses.resting_name(claimed.lookup.credential)
        token = Token(waiter=waiter, call=str(claimed.call.pk), key=key, slot_at=slot_at)
        answer = request.send(claimed, policy, token)
    except Failure as failure:
        came = failure
        _settle_surely(lambda: outcomes.failed(claimed, policy, came))
    except (TokenRefused, Unavailable) as reason:
        log.info("lane %s: a slot passed unused (%s)", lane.name, type(reason).__name__)
        rests_for = reason.seconds if isinstance(reason, KeyRests) else 0.0
        _settle_surely(lambda: settlement.unsent(claimed.call, claimed.lookup, rests_for=rests_for))
    else:
        _settle_surely(lambda: outcomes.answered(claimed, answer))


def _settle_surely(settle: Callable[[], None]) -> None:
    """Settles, also if the database is away for seconds: this process alone has the outcome. To settle twice is harmless."""
    for pause in (0.1, 0.3, 1.0, 2.0, 4.0, 8.0):
        try:
            return settle()
        except (OperationalError, InterfaceError):
            log.warning("the database is away; the call is settled in %s s", pause)
            connection.close()
            time.sleep(pause)
    return settle()


def lead_seconds(rate: Rate) -> float:
    """Returns how long before its slot a lookup is claimed. A late claim takes newly submitted lookups into account."""
    return min(LONGEST_LEAD_SECONDS, max(SHORTEST_LEAD_SECONDS, rate.interval_seconds / 2))


def warm_up() -> None:
    """Opens the connections of a new process, which its first call would wait for. Failures are left to that call."""
    http.shared_connections()
    with suppress(Unavailable, Error, KombuError, OSError):
        # A claim in a lane that does not exist finds nothing, but plans the statement, which takes longer than a claim.
        queue.claim("", Policy(), lease=timedelta())
        limiter.connect()
        with current_app.producer_pool.acquire(block=True) as producer:
            producer.channel  # noqa: B018 - opened on first use
    connection.close()
