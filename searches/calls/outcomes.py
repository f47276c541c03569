"""Handles the outcome of a call: settles it, and then records what it says of the key and the lane.

The settlement is one transaction (`settlement`). Keys, lanes and the limiter follow outside of it, because their rows are
locked in another order and Redis takes no part in transactions. A note that is lost with its worker is made again by the next
call.
"""

from __future__ import annotations

import logging

from accounts.models import Mode
from providers.contract import Answer
from providers.failures import Failure, Garbled
from providers.keyring import resting, states
from providers.models import Policy
from searches.calls import retry_policy, settlement
from searches.calls.retry_policy import BackOff
from searches.lanes import pauses
from searches.lanes.queue import ClaimedLookup

log = logging.getLogger(__name__)


def answered(claimed: ClaimedLookup, answer: Answer) -> None:
    """Settles an answered call, and records that its key and its lane work."""
    lookup = claimed.lookup
    if answer.unreadable:
        # Operators find an excerpt on the call's page.
        log.error("lookup %s: %d items cannot be identified", lookup.pk, answer.unreadable)
    lane = settlement.answered(claimed, answer)
    if lane is None:
        settlement.answered_late(claimed, answer)
    # Also when the call was settled before: the database may have been lost between the two.
    _record_working_key(claimed)
    pauses.record_answer(lane or lookup.lane, backoff=lookup.lane.backoff)


def _record_working_key(claimed: ClaimedLookup) -> None:
    """Records that the provider takes the key. The sandbox takes any key, so that says nothing."""
    credential = claimed.lookup.credential
    if claimed.lookup.search.mode != Mode.LIVE or credential is None:
        return
    if credential.is_unproven:
        states.worked(credential, asked_at=claimed.asked_at)
    if credential.times_told_to_wait:
        resting.note_answer(credential)


def failed(claimed: ClaimedLookup, policy: Policy, failure: Failure) -> None:
    """Decides what follows from a failure (`retry_policy`), settles the call, and pauses its key or its lane."""
    lookup = claimed.lookup
    verdict = retry_policy.decide(
        failure,
        attempts=lookup.attempts,
        allowed=policy.attempts,
        throttled=pauses.times_throttled(claimed),
        throttled_seconds=policy.throttled_seconds,
    )
    # Operators find an excerpt of a garbled answer on the call's page.
    level = logging.ERROR if isinstance(failure, Garbled) else logging.INFO
    log.log(level, "lookup %s: %s, so %s", lookup.pk, failure.code, type(verdict).__name__)
    if isinstance(verdict, BackOff):
        pauses.pause_claimed(claimed, seconds=verdict.seconds)
    seconds = settlement.failed(claimed, policy, failure, verdict)
    if seconds:
        log.error("lane %s: its calls fail with every key, so it pauses for %s s", lookup.lane_id, seconds)
    if seconds or isinstance(verdict, BackOff):
        pauses.sync_limiter(lookup.lane)
