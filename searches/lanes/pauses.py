"""Why a lane stands still: the provider said wait, its breaker is open, or an operator paused it.

Each is a column of the lane's row, which every claim has in its hand, so that it costs a lane that moves nothing. Who writes
one locks the lane before any other row. Of a pause that ends by itself the limiter is told too: calls that were claimed already
wait for it there.

A provider's 429 is first of all about the key that it was told: that key rests, and the lane goes on with the others. The lane
rests as a whole where keys of two tenants are told within two windows, for two calls of a full lane are a window apart; and
for seconds only, where it has so rested and any key is told again before a call was answered. A lane of one account, and one of
a test key's tenant, are one key's anyway.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Greatest, Least

from accounts.models import Mode
from providers import limiter, policies
from providers.keyring import resting
from providers.models import Credential, Policy
from searches.lanes import breaker, queue
from searches.lanes.backoff import backoff
from searches.lanes.queue import Errand
from searches.models import Call, Lane, TenantQueue

log = logging.getLogger(__name__)

# Two calls next to each other in a full lane are one window apart, and their answers somewhat more or less.
NEARBY_WINDOWS = 2
# Refusals in a row are counted this far; the column has an end.
MOST_BACKOFF = 1000
NO_FAILURES = {"failures": 0, "failing_key": "", "failing_tenant": None, "several": False}
CLOSED = NO_FAILURES | {"trips": 0, "broken_until": None, "probe": None}


def hold(errand: Errand, policy: Policy, *, seconds: float) -> None:
    """Tells the limiter at once of a call that was told to wait: whatever was claimed with its key must not leave.

    Without Redis no call leaves anyway, and the rows keep the rest.
    """
    lane, rate = errand.lookup.lane, policies.rate(policy)
    credential = errand.lookup.credential
    with suppress(limiter.Unavailable):
        if not times_throttled(errand):
            _learn(errand, rate)
        if credential is not None and _is_shared(lane):
            limiter.rest_key(lane.pk, rate, resting_name(credential), seconds=seconds)
        else:
            limiter.pause(lane.pk, rate, seconds=seconds)


def _learn(errand: Errand, rate: limiter.Rate) -> None:
    """Tells the limiter of the first refusal in a row, which may be for the jitter on the way. A key that is refused again and
    again has other reasons; so may one that is refused and answered in turn, and by itself it teaches little.
    """
    lane, call, credential = errand.lookup.lane, errand.call, errand.lookup.credential
    if call.sent_at is None:
        return
    is_one_of_several = credential is not None and _is_shared(lane)
    key = resting_name(credential) if credential is not None and is_one_of_several else ""
    tenant = str(errand.lookup.tenant_id) if is_one_of_several else ""
    if (margin := limiter.refuse(lane.pk, rate, str(call.pk), key=key, tenant=tenant)) is not None:
        guard = rate.guard_us / 1000
        log.warning("lane %s: refused at its window's edge, so its guard is %.1f ms for now", lane.pk, guard + margin)


def lock(lane: str) -> None:
    """For `told_to_wait`, before the settlement locks anything else."""
    _locked(lane)


def told_to_wait(errand: Errand, policy: Policy, *, seconds: float) -> None:
    """Lets the key rest that a call was told to wait with, or the lane. In the call's settlement, after its lookup's rows and
    before a credit account is locked.
    """
    lane, credential = errand.lookup.lane, errand.lookup.credential
    if credential is None or not _is_shared(lane):
        return throttled(lane.pk, seconds=seconds)
    moment = queue.now()
    nearby = NEARBY_WINDOWS * timedelta(microseconds=policies.rate(policy).full_window_us)
    others = resting.longest_told_others(credential, since=moment - nearby)
    resting.rest(credential, claimed_at=errand.call.armed_at, moment=moment, seconds=seconds)
    again = Lane.objects.values_list("backoff", flat=True).get(pk=lane.pk)
    if others is not None:
        throttled(lane.pk, seconds=min(seconds, others.total_seconds()))
    elif again:
        throttled(lane.pk, seconds=min(seconds, backoff(again)))
    return None


def times_throttled(errand: Errand) -> int:
    """How often in a row its key or its lane had been told to wait when the call was claimed."""
    lane, credential = errand.lookup.lane, errand.lookup.credential
    by_key = credential.times_told_to_wait if credential is not None and _is_shared(lane) else 0
    return max(lane.backoff, by_key)


def resting_name(credential: Credential) -> str:
    """Returns the name by which the limiter knows its key."""
    return credential.fingerprint[:32]


def resting_keys(lane: Lane, moment: datetime) -> QuerySet[Credential]:
    """The keys that rest of those which the lane's lookups may go with."""
    if lane.mode != Mode.LIVE:
        return Credential.objects.none()
    keys = resting.at(lane.policy_id, moment)
    return keys if _is_shared(lane) else keys.filter(fingerprint__startswith=lane.pk.rpartition(":")[2])


def _is_shared(lane: Lane) -> bool:
    """Whether keys of several accounts go through it."""
    return lane.pk == lane.policy_id


def throttled(lane: str, *, seconds: float) -> None:
    """The provider said wait to the whole lane: nothing of it is claimed for so long."""
    _locked(lane)
    until = Value(queue.now() + timedelta(seconds=seconds))
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
        row.broken_until = queue.now() + timedelta(seconds=seconds) if seconds else row.broken_until
        row.save(update_fields=[*NO_FAILURES, "trips", "broken_until"])
    return seconds


def answered(lane: Lane, *, backoff: int) -> None:
    """A call got its answer: all counts begin anew, and a breaker closes. `lane` is as it was when the call was settled;
    `backoff` as it was at its claim, for one that was under way when others were told to wait takes nothing back.

    After that settlement has been committed: within it, the lane would be locked after a tenant queue.
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
    """An operator knows that the provider is well: its pause is over, its keys rest no more, and the breaker is closed.

    Raises `limiter.Unavailable`.
    """
    limiter.reopen(lane.pk, _rate(lane))
    # Before the rows, for a call that the limiter withholds writes its key's rest into them.
    limiter.end_rests(lane.pk, _rate(lane))
    with transaction.atomic():
        _locked(lane.pk)
        Lane.objects.filter(pk=lane.pk).update(paused_until=None, backoff=0, **CLOSED)
        moment = queue.now()
        TenantQueue.objects.filter(lane=lane, rests_until__isnull=False).update(wake_at=moment)
        resting.end(resting_keys(lane, moment))
    # Again, for somebody may have told it between what the row said until now.
    _reopen(lane)
    limiter.end_rests(lane.pk, _rate(lane))


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
    """The limit's scope became narrower: what stood still stands still in the lane that its lookups move to, and for how many
    seconds.
    """
    moment = queue.now()
    goes_on_at = until(old, moment)
    if goes_on_at is None and not old.paused:
        return 0.0
    _locked(new.pk)
    Lane.objects.filter(pk=new.pk).update(
        paused_until=Greatest("paused_until", Value(goes_on_at)),
        paused=Case(When(paused=True, then=True), default=old.paused),
    )
    return (goes_on_at - moment).total_seconds() if goes_on_at else 0.0


def carry_to_key(old: Lane, new: Lane, credential: Credential) -> None:
    """The limit's scope became wider: what one account's lane was told holds for its key alone in the lane of all. What
    operators paused does not: they did not mean the others. After the lookups' rows.
    """
    moment = queue.now()
    goes_on_at = until(old, moment)
    if goes_on_at is not None and _is_shared(new):
        resting.prolong(credential, goes_on_at)


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
    moment = queue.now()
    goes_on_at = until(Lane.objects.get(pk=lane.pk), moment)
    return goes_on_at, (goes_on_at - moment).total_seconds() if goes_on_at else 0.0


def _rate(lane: Lane) -> limiter.Rate:
    return policies.rate(policies.in_force(lane.policy, lane.mode))


def _locked(lane: str) -> Lane:
    return Lane.objects.select_for_update(no_key=True).get(pk=lane)
