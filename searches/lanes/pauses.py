"""Decides why and how long a lane is paused: the provider said wait, its breaker is open, or an operator paused it.

Each reason is a column of the lane's row, which every claim reads anyway. A writer of such a column locks the lane before any
other row. A pause that ends by itself is written to the limiter too: calls that were claimed already wait for it there.

A provider's 429 is first of all about the key that was called with: that key rests, and calls with other keys continue. The
whole lane pauses if keys of two tenants are told to wait within two windows. After such a pause it pauses again, for seconds
only, if any key is told to wait before a call is answered. A lane of one account, and a test key's lane, pauses at once,
because all its calls are made with one key or for one tenant.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Greatest, Least

from accounts import clock
from accounts.models import Mode
from providers import limiter
from providers.keyring import resting
from providers.models import Credential
from searches.lanes import breaker
from searches.lanes.backoff import backoff
from searches.lanes.queue import ClaimedLookup
from searches.models import Call, Lane, TenantQueue

log = logging.getLogger(__name__)

# Two calls next to each other in a full lane are one window apart, and their answers somewhat more or less.
NEARBY_WINDOWS = 2
# Refusals in a row are counted this far; the column is a small integer.
MOST_BACKOFF = 1000
NO_FAILURES = {"failures": 0, "failing_key": "", "failing_tenant": None, "several": False}
CLOSED = NO_FAILURES | {"trips": 0, "broken_until": None, "probe": None}


# Pauses after an answer


def pause_claimed(claimed: ClaimedLookup, *, seconds: float) -> None:
    """Pauses the key of a call that was told to wait, or its lane, in the limiter: calls that were claimed already wait there.

    Without Redis no call is made anyway, and the rows keep the pause.
    """
    with suppress(limiter.Unavailable):
        if not times_throttled(claimed):
            _record_refusal(claimed)
        if (key := _key_of_several(claimed)) is not None:
            claimed.lookup.lane.limiter.rest_key(resting_name(key), seconds=seconds)
        else:
            claimed.lookup.lane.limiter.pause(seconds=seconds)


def _record_refusal(claimed: ClaimedLookup) -> None:
    """Reports the first refusal in a row to the limiter, because jitter may have caused it. Repeated refusals of one key have
    other causes. So may refusals that alternate with answers: one of them by itself teaches little.
    """
    lookup, call, key = claimed.lookup, claimed.call, _key_of_several(claimed)
    if call.sent_at is None:
        return
    whose = {"key": resting_name(key), "tenant": str(lookup.tenant_id)} if key is not None else {}
    if (margin := lookup.lane.limiter.record_refusal(str(call.pk), **whose)) is not None:
        guard = lookup.lane.limiter.rate.guard_us / 1000
        log.warning(
            "lane %s: refused at its window's edge, so its guard is %.1f ms for now", lookup.lane, guard + margin
        )


def record_throttle(claimed: ClaimedLookup, *, seconds: float) -> None:
    """Lets a call's key rest, or pauses its lane, because the provider told the call to wait. Runs in the call's settlement,
    after the rows of its lookup and before a credit account is locked.
    """
    lane, key = claimed.lookup.lane, _key_of_several(claimed)
    if key is None:
        throttle_lane(lane.pk, seconds=seconds)
        return
    moment = clock.now()
    nearby = NEARBY_WINDOWS * timedelta(microseconds=lane.limiter.rate.full_window_us)
    others = resting.longest_told_others(key, since=moment - nearby)
    resting.rest(key, claimed_at=claimed.call.armed_at, moment=moment, seconds=seconds)
    times = Lane.objects.values_list("backoff", flat=True).get(pk=lane.pk)
    if others is not None:
        throttle_lane(lane.pk, seconds=min(seconds, others.total_seconds()))
    elif times:
        throttle_lane(lane.pk, seconds=min(seconds, backoff(times)))


def times_throttled(claimed: ClaimedLookup) -> int:
    """Returns how often in a row the call's key or its lane had been told to wait when the call was claimed."""
    key = _key_of_several(claimed)
    return max(claimed.lookup.lane.backoff, key.times_told_to_wait if key is not None else 0)


def throttle_lane(lane: str, *, seconds: float) -> None:
    """Pauses the lane for so long, because the provider told the whole lane to wait."""
    lock(lane)
    until = Value(clock.now() + timedelta(seconds=seconds))
    Lane.objects.filter(pk=lane).update(
        paused_until=Greatest("paused_until", until), backoff=Least(F("backoff") + 1, MOST_BACKOFF)
    )


def record_failure(call: Call, *, lane: str, key: str, tenant: UUID) -> float:
    """Counts a failure of the provider's, before the call is settled. Returns the seconds for which the breaker opens, or 0."""
    row = lock(lane)
    if row.mode != Mode.LIVE or not Call.objects.filter(pk=call.pk, state=Call.State.ARMED).exists():
        return 0.0
    before = breaker.Count(
        failures=row.failures, key=row.failing_key, tenant=row.failing_tenant, several=row.several, trips=row.trips
    )
    after, seconds = breaker.failed(before, key=key, tenant=tenant, is_probe=row.probe == call.pk)
    if after != before:
        row.failures, row.trips, row.several = after.failures, after.trips, after.several
        row.failing_key, row.failing_tenant = after.key, after.tenant
        row.broken_until = clock.now() + timedelta(seconds=seconds) if seconds else row.broken_until
        row.save(update_fields=[*NO_FAILURES, "trips", "broken_until"])
    return seconds


def record_answer(lane: Lane, *, backoff: int) -> None:
    """Begins all counts anew and closes a breaker, because a call was answered.

    `lane`: as it was when the call was settled. `backoff`: as it was when the call was claimed; a call that was in flight when
    others were told to wait ends no pause. Runs after that settlement was committed: within it, the lane would be locked
    after a tenant queue.
    """
    if not (backoff or lane.failures or lane.trips):
        return
    with transaction.atomic():
        # The breaker may have opened since.
        was_open = lock(lane.pk).trips > 0
        Lane.objects.filter(pk=lane.pk).update(backoff=0, **CLOSED)
    if was_open:
        with suppress(limiter.Unavailable):
            _resume_limiter(lane)


# Pauses by operators


def clear(lane: Lane) -> None:
    """Ends the pause, the rests of its keys and the breaker: an operator knows that the provider is well.

    Raises `limiter.Unavailable`.
    """
    lane.limiter.resume()
    # Before the rows, because a call that the limiter refuses writes its key's rest into them.
    lane.limiter.end_rests()
    with transaction.atomic():
        lock(lane.pk)
        Lane.objects.filter(pk=lane.pk).update(paused_until=None, backoff=0, **CLOSED)
        moment = clock.now()
        TenantQueue.objects.filter(lane=lane, rests_until__isnull=False).update(wake_at=moment)
        resting.end_rests(resting_keys(lane, moment))
    # Again, because another process may have written the row's former state to the limiter meanwhile.
    _resume_limiter(lane)
    lane.limiter.end_rests()


def pause(lane: Lane) -> None:
    """Pauses the lane for an operator, until it is resumed."""
    _set_paused(lane, True)


def resume(lane: Lane) -> None:
    """Ends an operator's pause."""
    _set_paused(lane, False)


def _set_paused(lane: Lane, paused: bool) -> None:
    with transaction.atomic():
        lock(lane.pk)
        Lane.objects.filter(pk=lane.pk).update(paused=paused)


# Pauses copied between lanes


def copy_to_lane(old: Lane, new: Lane) -> float:
    """Pauses a narrower lane as the old one is paused. Returns the seconds until the old one resumes by itself, or 0."""
    moment = clock.now()
    until = resumes_at(old, moment)
    if until is None and not old.paused:
        return 0.0
    lock(new.pk)
    paused = {"paused": True} if old.paused else {}
    Lane.objects.filter(pk=new.pk).update(paused_until=Greatest("paused_until", Value(until)), **paused)
    return (until - moment).total_seconds() if until else 0.0


def copy_to_key(old: Lane, new: Lane, credential: Credential) -> None:
    """Lets one account's key rest in the shared lane as long as its own lane would have paused. An operator's pause of its own
    lane is not copied, for it was not about the others. Runs after the lookups' rows are locked.
    """
    until = resumes_at(old, clock.now())
    if until is not None and _is_shared(new):
        resting.prolong(credential, until)


# Whether and why a lane is paused


def paused_at(moment: datetime) -> Q:
    """Returns the condition for lanes that are paused at this moment, as `claim.sql` has it.

    The probe of a half-open breaker is no part of it: a claim looks for that alone.
    """
    by_operators = Q(paused=True) | Q(mode=Mode.LIVE, policy__paused=True)
    return by_operators | Q(paused_until__gt=moment) | Q(broken_until__gt=moment)


def resumes_at(lane: Lane, moment: datetime) -> datetime | None:
    """Returns when the lane resumes by itself, or None if it neither waits for its provider nor for its breaker."""
    ends = [end for end in (lane.paused_until, lane.broken_until) if end is not None and end > moment]
    return max(ends, default=None)


def reasons(lane: Lane, moment: datetime) -> list[str]:
    """Returns why the lane is paused, in sentences for operators; none where it is not."""
    sentences = []
    if lane.policy_in_force.paused:
        sentences.append(f"Operators have paused {lane.policy_id}, in its policy.")
    if lane.paused:
        sentences.append("Operators have paused this lane.")
    if lane.paused_until and lane.paused_until > moment:
        sentences.append(f"The provider asked to wait until {lane.paused_until:%H:%M:%S} UTC.")
    if lane.broken_until and lane.broken_until > moment:
        sentences.append(f"Its breaker is open until {lane.broken_until:%H:%M:%S} UTC: calls failed whatever the key.")
    elif lane.trips:
        sentences.append("Its breaker is half-open: one call is made as a probe, and the others wait for its outcome.")
    return sentences


def resting_keys(lane: Lane, moment: datetime) -> QuerySet[Credential]:
    """Returns the resting keys among those that the lane's lookups may be called with."""
    if lane.mode != Mode.LIVE:
        return Credential.objects.none()
    keys = resting.resting_at(lane.policy_id, moment)
    return keys if _is_shared(lane) else keys.filter(fingerprint__startswith=lane.pk.rpartition(":")[2])


def resting_name(credential: Credential | None) -> str:
    """Returns the name by which the limiter knows the credential's key; empty without one."""
    return credential.fingerprint[:32] if credential else ""


def _key_of_several(claimed: ClaimedLookup) -> Credential | None:
    """Returns the call's credential where its lane has keys of several accounts, else None."""
    return claimed.lookup.credential if _is_shared(claimed.lookup.lane) else None


def _is_shared(lane: Lane) -> bool:
    """Returns whether keys of several accounts go through the lane."""
    return lane.pk == lane.policy_id


# Pauses in the limiter


def pause_limiter(lane: Lane, *, seconds: float) -> None:
    """Pauses the lane in the limiter. Without Redis no call is made anyway, and the row keeps the pause."""
    with suppress(limiter.Unavailable):
        lane.limiter.pause(seconds=seconds)


def sync_limiter(lane: Lane) -> None:
    """Pauses the lane in the limiter for as long as its row says.

    Every writer updates Redis after its commit. The last writer has therefore seen all changes, and clears a pause that the
    row no longer has.
    """
    until, seconds = _remaining(lane)
    if seconds:
        pause_limiter(lane, seconds=seconds)
        if _remaining(lane)[0] != until:
            with suppress(limiter.Unavailable):
                _resume_limiter(lane)


def _resume_limiter(lane: Lane) -> None:
    """Ends the limiter's one pause, and begins it anew for what the row still says, or says since a moment ago."""
    lane.limiter.resume()
    _, seconds = _remaining(lane)
    if seconds:
        pause_limiter(lane, seconds=seconds)


def _remaining(lane: Lane) -> tuple[datetime | None, float]:
    """Returns when the lane resumes by itself, as its row says now, and in how many seconds."""
    moment = clock.now()
    until = resumes_at(Lane.objects.get(pk=lane.pk), moment)
    return until, (until - moment).total_seconds() if until else 0.0


def lock(lane: str) -> Lane:
    """Locks the lane's row, before any other row of the transaction."""
    return Lane.objects.select_for_update(no_key=True).get(pk=lane)
