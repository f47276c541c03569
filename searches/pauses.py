"""Why a lane stands still: the provider said wait, its breaker is open, or an operator paused it.

Each is a column of the lane's row, which every claim has in its hand, so that it costs a lane that moves nothing. Who writes
one locks the lane before any other row. Of a pause that ends by itself the limiter is told too: calls that were claimed already
wait for it there.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Greatest, Least

from accounts.models import Mode
from providers import limiter, policies
from searches import breaker, scheduler
from searches.models import Call, Lane

# Refusals in a row are counted this far; the column has an end.
MOST_BACKOFF = 1000
NO_FAILURES = {"failures": 0, "failing_key": "", "failing_tenant": None, "several": False}
CLOSED = NO_FAILURES | {"trips": 0, "broken_until": None, "probe": None}


def throttled(lane: str, *, seconds: float) -> None:
    """The provider said wait: nothing of the lane is claimed for so long."""
    _locked(lane)
    until = Value(scheduler.now() + timedelta(seconds=seconds))
    Lane.objects.filter(pk=lane).update(
        paused_until=Greatest("paused_until", until), backoff=Least(F("backoff") + 1, MOST_BACKOFF)
    )


def failed(call: Call, *, lane: str, key: str, tenant: UUID) -> float:
    """Counts a failure of the provider's, before the call is settled; for how many seconds the breaker opens, or 0."""
    row = _locked(lane)
    if row.mode != Mode.LIVE or not Call.objects.filter(pk=call.pk, state=Call.State.ARMED).exists():
        return 0.0
    before = breaker.Count(
        failures=row.failures, key=row.failing_key, tenant=row.failing_tenant, several=row.several, trips=row.trips
    )
    after, seconds = breaker.failed(before, key=key, tenant=tenant, is_probe=row.probe == call.pk)
    if after != before:
        row.failures, row.trips, row.several = after.failures, after.trips, after.several
        row.failing_key, row.failing_tenant = after.key, after.tenant
        row.broken_until = scheduler.now() + timedelta(seconds=seconds) if seconds else row.broken_until
        row.save(update_fields=[*NO_FAILURES, "trips", "broken_until"])
    return seconds


def answered(lane: Lane, *, backoff: int) -> None:
    """A call got its answer: all counts begin anew, and a breaker closes. `lane` is as it was when the call was settled;
    `backoff` as it was at its claim, for one that was under way when others were told to wait takes nothing back.

    After that settlement has been committed: within it, the lane would be locked after a place.
    """
    if not (backoff or lane.failures or lane.trips):
        return
    with transaction.atomic():
        # It may have opened since.
        was_open = _locked(lane.pk).trips > 0
        Lane.objects.filter(pk=lane.pk).update(backoff=0, **CLOSED)
    if was_open:
        with suppress(limiter.Unavailable):
            _reopen(lane)


def end(lane: Lane) -> None:
    """An operator knows that the provider is well: its pause is over and the breaker closed. Raises `limiter.Unavailable`."""
    limiter.reopen(lane.pk, _rate(lane))
    with transaction.atomic():
        _locked(lane.pk)
        Lane.objects.filter(pk=lane.pk).update(paused_until=None, backoff=0, **CLOSED)
    # Again, for somebody may have told it between what the row said until now.
    _reopen(lane)


def stop(lane: Lane, *, paused: bool) -> None:
    """An operator pauses the lane, or lets it go on."""
    with transaction.atomic():
        _locked(lane.pk)
        Lane.objects.filter(pk=lane.pk).update(paused=paused)


def tell(lane: Lane, *, seconds: float) -> None:
    """Holds what was claimed already. Without Redis no call leaves anyway, and the row keeps the rest."""
    with suppress(limiter.Unavailable):
        limiter.pause(lane.pk, _rate(lane), seconds=seconds)


def tell_row(lane: Lane) -> None:
    """The same, of what the lane's row says once it has been committed. Whoever changes the row tells the limiter thereafter,
    so whoever comes last has seen what all wrote: what the row does not say any more is taken back.
    """
    goes_on_at, seconds = _left(lane)
    if seconds:
        tell(lane, seconds=seconds)
        if _left(lane)[0] != goes_on_at:
            with suppress(limiter.Unavailable):
                _reopen(lane)


def carry(old: Lane, new: Lane) -> float:
    """The limit's scope changed: what stood still stands still in the lane that its lookups move to, and for how many seconds.

    One that operators paused pauses none that others share: they did not mean those.
    """
    moment = scheduler.now()
    goes_on_at = until(old, moment)
    shared = new.name == new.policy_id
    if goes_on_at is None and (shared or not old.paused):
        return 0.0
    _locked(new.pk)
    Lane.objects.filter(pk=new.pk).update(
        paused_until=Greatest("paused_until", Value(goes_on_at)),
        paused=Case(When(paused=True, then=True), default=old.paused and not shared),
    )
    return (goes_on_at - moment).total_seconds() if goes_on_at else 0.0


def reasons(lane: Lane, moment: datetime) -> list[str]:
    """Why it stands still, in sentences for operators; empty where it does not."""
    policy = policies.in_force(lane.policy, lane.mode)
    sentences = []
    if policy.paused:
        sentences.append(f"Operators have paused {policy.provider}, in its policy.")
    if lane.paused:
        sentences.append("Operators have paused this lane.")
    if lane.paused_until and lane.paused_until > moment:
        sentences.append(f"The provider asked to wait until {lane.paused_until:%H:%M:%S} UTC.")
    if lane.broken_until and lane.broken_until > moment:
        sentences.append(f"Its breaker is open until {lane.broken_until:%H:%M:%S} UTC: calls failed whatever the key.")
    elif lane.trips:
        sentences.append("Its breaker was open: one call goes first, and the others wait for what comes of it.")
    return sentences


def until(lane: Lane, moment: datetime) -> datetime | None:
    """When the lane goes on by itself; None where it is neither told to wait nor broken at this moment."""
    ends = [end for end in (lane.paused_until, lane.broken_until) if end is not None and end > moment]
    return max(ends, default=None)


def _reopen(lane: Lane) -> None:
    """The limiter knows one pause only: what the row still says is told anew, that too which it says since a moment ago."""
    limiter.reopen(lane.pk, _rate(lane))
    _, seconds = _left(lane)
    if seconds:
        tell(lane, seconds=seconds)


def _left(lane: Lane) -> tuple[datetime | None, float]:
    """When the lane goes on by itself, as its row says now, and how long that is."""
    moment = scheduler.now()
    goes_on_at = until(Lane.objects.get(pk=lane.pk), moment)
    return goes_on_at, (goes_on_at - moment).total_seconds() if goes_on_at else 0.0


def _rate(lane: Lane) -> limiter.Rate:
    return policies.rate(policies.in_force(lane.policy, lane.mode))


def _locked(lane: str) -> Lane:
    return Lane.objects.select_for_update(no_key=True).get(pk=lane)
