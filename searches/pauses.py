"""Why a lane stands still: the provider said wait, its breaker is open, or an operator paused it.

Each is a column of the lane's row, which every claim has in its hand, so that it costs a lane that moves nothing. Who writes
one locks the lane before any other row. Of a pause that ends by itself the limiter is told too: calls that were claimed already
wait for it there.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest, Least

from accounts.models import Mode
from providers import limiter, policies
from searches import breaker, scheduler
from searches.models import Call, Lane

# Refusals in a row are counted this far; the column has an end.
MOST_BACKOFF = 1000
CLOSED = {"failures": 0, "failing_key": "", "several_keys": False, "trips": 0, "broken_until": None, "probe": None}


def throttled(lane: str, *, seconds: float) -> None:
    """The provider said wait: nothing of the lane is claimed for so long."""
    _locked(lane)
    until = Value(scheduler.now() + timedelta(seconds=seconds))
    Lane.objects.filter(pk=lane).update(
        paused_until=Greatest("paused_until", until), backoff=Least(F("backoff") + 1, MOST_BACKOFF)
    )


def failed(call: Call, *, lane: str, key: str) -> float:
    """Counts a failure of the provider's, before the call is settled; for how many seconds the breaker opens, or 0."""
    row = _locked(lane)
    if row.mode != Mode.LIVE or not Call.objects.filter(pk=call.pk, state=Call.State.ARMED).exists():
        return 0.0
    before = breaker.Count(failures=row.failures, key=row.failing_key, several_keys=row.several_keys, trips=row.trips)
    after, seconds = breaker.failed(before, key=key, is_probe=row.probe == call.pk)
    if after != before:
        row.failures, row.failing_key = after.failures, after.key
        row.several_keys, row.trips = after.several_keys, after.trips
        row.broken_until = scheduler.now() + timedelta(seconds=seconds) if seconds else row.broken_until
        row.save(update_fields=["failures", "failing_key", "several_keys", "trips", "broken_until"])
    return seconds


def answered(lane: Lane, *, backoff: int) -> None:
    """A call got its answer: all counts begin anew, and a breaker closes. `lane` is as it was when the call was settled;
    `backoff` as it was at its claim, for one that was under way when others were told to wait takes nothing back.

    After that settlement has been committed: within it, the lane would be locked after a place.
    """
    if not (backoff or lane.failures or lane.trips):
        return
    Lane.objects.filter(pk=lane.pk).update(backoff=0, **CLOSED)
    if lane.trips:
        with suppress(limiter.Unavailable):
            _reopen(lane)


def end(lane: Lane) -> None:
    """An operator knows that the provider is well: its pause is over and the breaker closed. Raises `limiter.Unavailable`."""
    lane.paused_until = None
    _reopen(lane)
    with transaction.atomic():
        _locked(lane.pk)
        Lane.objects.filter(pk=lane.pk).update(paused_until=None, backoff=0, **CLOSED)


def stop(lane: Lane, *, paused: bool) -> None:
    """An operator pauses the lane, or lets it go on."""
    with transaction.atomic():
        _locked(lane.pk)
        Lane.objects.filter(pk=lane.pk).update(paused=paused)


def tell(lane: Lane, *, seconds: float) -> None:
    """Holds what was claimed already. Without Redis no call leaves anyway, and the row keeps the rest."""
    with suppress(limiter.Unavailable):
        limiter.pause(lane.pk, policies.rate(policies.in_force(lane.policy, lane.mode)), seconds=seconds)


def until(lane: Lane, moment: datetime) -> datetime | None:
    """When the lane goes on by itself; None where it is neither told to wait nor broken at this moment."""
    ends = [end for end in (lane.paused_until, lane.broken_until) if end is not None and end > moment]
    return max(ends, default=None)


def _reopen(lane: Lane) -> None:
    """The limiter knows one pause only: what is left of the provider's own is told anew."""
    limiter.reopen(lane.pk, policies.rate(policies.in_force(lane.policy, lane.mode)))
    left = lane.paused_until and (lane.paused_until - scheduler.now()).total_seconds()
    if left and left > 0:
        tell(lane, seconds=left)


def _locked(lane: str) -> Lane:
    return Lane.objects.select_for_update(no_key=True).get(pk=lane)
