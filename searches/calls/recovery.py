"""Settles the calls that no worker will settle: their lease is over, or their search was canceled before they were sent.

The limiter's log decides. A call that it does not name was never sent, and never will be. Of every other call nobody knows
whether it was billed.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from accounts import clock
from providers import limiter
from providers.failures import Lost
from providers.limiter import SendOutcome
from providers.models import Policy
from searches.calls import settlement
from searches.models import Call

log = logging.getLogger(__name__)

# Allowed beyond every time limit before a worker counts as gone.
MARGIN_SECONDS = 5.0


def armed_seconds(policy: Policy) -> float:
    """Returns the lease of a claimed call: after it the call was sent, or came to nothing, or its worker is gone."""
    return policy.connect_timeout_ms / 1000 + limiter.PATIENCE_SECONDS + MARGIN_SECONDS


def longest_seconds(policy: Policy) -> float:
    """Returns the longest time from a claim to its settlement, unless the worker is gone."""
    return armed_seconds(policy) + policy.total_timeout_ms / 1000


def recover_all() -> None:
    """Settles every call whose lease is over. A call that cannot be settled does not stop the others. Raises `Unavailable`."""
    over = Call.objects.filter(state=Call.State.ARMED, leased_until__lte=clock.now())
    for call in over.select_related("lookup__lane__policy"):
        try:
            recover(call)
        except limiter.Unavailable:
            raise
        except Exception:
            log.exception("call %s cannot be settled", call.pk)


def recover(call: Call) -> None:
    """Settles a call whose lease is over: its worker is gone or hangs. Raises `Unavailable` if the log cannot be read."""
    if settle_if_unsent(call):
        return
    lookup = call.lookup
    policy = lookup.lane.policy_in_force
    longest = longest_seconds(policy)
    if _age_seconds(call) < longest:
        # The call was sent, or may have been: its worker may still wait for the answer.
        until = call.armed_at + timedelta(seconds=longest)
        Call.objects.filter(pk=call.pk, state=Call.State.ARMED).update(leased_until=until)
        return
    settlement.lost(call, lookup, policy, Lost("outcome_unknown", "The call was sent, and its answer was lost."))


def settle_if_unsent(call: Call) -> bool:
    """Settles a call that was never sent, and keeps it from being sent. Returns whether it was one. Raises `Unavailable`."""
    if call.lookup.lane.limiter.revoke(str(call.pk), age_seconds=_age_seconds(call)) is not SendOutcome.NEVER_SENT:
        return False
    settlement.unsent(call, call.lookup)
    return True


def _age_seconds(call: Call) -> float:
    return (clock.now() - call.armed_at).total_seconds()
