"""Settles what came of a call, in one transaction: the call, its results, the charge, the lookup's next standing, and the
release at its end.

A call is settled once: whoever moves its row out of `armed` does it, the worker that made it or, when its lease is over, the
sweep.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Model
from django.db.models.functions import Now

from accounts.models import Mode
from billing import ledger
from providers import limiter
from providers.contract import Answer
from providers.failures import Failure, Garbled, Lost
from providers.keyring import resting, states
from providers.limiter import SendOutcome
from providers.models import Credential, Policy
from searches import composite_rows, results
from searches.calls import retry_policy
from searches.coalescing import keys
from searches.lanes import breaker, pauses, queue
from searches.lanes.queue import Errand
from searches.lifecycle import completion, erasure
from searches.models import Call, Lane, Lookup, Search, Status, TenantQueue

log = logging.getLogger(__name__)

# What may pass beyond every time limit before a worker is taken to be gone.
MARGIN_SECONDS = 5.0
LOCKED: Mapping[str, type[Model]] = {"lookup": Lookup, "search": Search, "lane": Lane}
LOCK = f"SELECT {composite_rows.columns(LOCKED)} FROM searches_lock(%s)"


def armed_seconds(policy: Policy) -> float:
    """The lease of a call that has not left yet: after this long it has, or came to nothing, or its worker is gone."""
    return policy.connect_timeout_ms / 1000 + limiter.PATIENCE_SECONDS + MARGIN_SECONDS


def longest_seconds(policy: Policy) -> float:
    """After this long a claimed call has been settled, or its worker is gone."""
    return armed_seconds(policy) + policy.total_timeout_ms / 1000


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The rows that a settlement moves, locked in order, and what the provider bills for the call. Of the lookup and of its
    search it is noted here what becomes of them: who says where the lookup goes next saves it (`ending`, `scheduler`).
    """

    call: Call
    lookup: Lookup
    locked_tenant_queue: TenantQueue | None
    cost: Decimal

    @property
    def search(self) -> Search:
        return self.lookup.search

    @property
    def erased(self) -> bool:
        """Of what came nothing may be kept but what it cost."""
        return self.search.erased_at is not None

    @property
    def tenant_queue(self) -> TenantQueue:
        """Where the lookup goes back in line."""
        assert self.locked_tenant_queue is not None, "it was not to go back"
        return self.locked_tenant_queue


def _lock(
    call: Call,
    lookup: Lookup,
    *,
    became: Call.State,
    may_go_back: bool = True,
    cost: Decimal = ledger.ZERO,
    **values: Any,
) -> Ours | None:
    """Locks what a settlement needs and moves the call out of `armed`; None where somebody else did.

    Not the queue of what has ended: claims pass over a tenant queue that is locked, which would cost a busy tenant its share.
    """
    tenant_queue = queue.lock_tenant_queue(lookup.lane_id, lookup.tenant_id) if may_go_back else None
    ours = Ours(call=call, lookup=_locked(lookup.pk), locked_tenant_queue=tenant_queue, cost=cost)
    if ours.erased:
        values |= erasure.NOTHING_OF_A_CALL
    moved = Call.objects.filter(pk=call.pk, state=Call.State.ARMED).update(
        state=became,
        sent_at=call.sent_at,
        finished_at=call.finished_at or Now(),
        # As it is charged in the end, but for what is billed above what was held (`_check_charged`).
        credits=min(cost, lookup.most_credits),
        **values,
    )
    if moved and became != Call.State.UNKNOWN and keys.is_outdated(lookup):
        Lookup.objects.filter(pk=lookup.pk).update(repeat_key="")
    return ours if moved else None


def _locked(lookup_id: UUID) -> Lookup:
    """With its search, locked too, and its lane (`lock.sql`)."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, (lookup_id,))
        lookup, search, lane = composite_rows.instances(LOCKED, cursor.fetchone())
    if lookup is None:
        raise Lookup.DoesNotExist
    lookup.search, lookup.lane = search, lane
    return lookup  # type: ignore[no-any-return]


def answered(errand: Errand, answer: Answer) -> None:
    """Keeps what came, charges it, and either ends the lookup or puts it back in line for its next page."""
    if answer.unreadable:
        # What we cannot read, operators should: an excerpt is on the call's page.
        log.error("lookup %s: %d items cannot be identified", errand.lookup.pk, answer.unreadable)
    lane = _answered(errand, answer)
    pauses.record_answer(lane, backoff=errand.lookup.lane.backoff)


@transaction.atomic
def _answered(errand: Errand, answer: Answer) -> Lane:
    """The lane as it is now."""
    cost = _price_of(errand.lookup, results=answer.billed_results)
    is_last = answer.last or errand.lookup.pages_done + 1 >= errand.lookup.pages
    ours = _lock(
        errand.call,
        errand.lookup,
        became=Call.State.ANSWERED,
        may_go_back=not is_last,
        cost=cost,
        status=answer.status,
        returned=len(answer.hits),
        unreadable=answer.unreadable,
        excerpt=answer.excerpt,
        provider_request_id=answer.request_id[:100],
    )
    if ours is None:
        _settle_late(errand, cost)
        return errand.lookup.lane
    _note_success(errand)
    lookup = ours.lookup
    if not ours.erased:
        results.keep(lookup, ours.search, answer, came_at=ours.call.finished_at or queue.now())
    lookup.pages_done += 1
    lookup.attempts = 0
    if lookup.cancel_requested:
        _finish(ours, Status.CANCELED)
    elif is_last:
        _finish(ours, Status.SUCCEEDED)
    else:
        _charge(ours)
        queue.put_back(lookup, ours.tenant_queue)
        completion.recount(ours.search)
    return lookup.lane


def _note_success(errand: Errand) -> None:
    """Of a live search: the sandbox takes any key."""
    credential = errand.lookup.credential
    if errand.lookup.search.mode != Mode.LIVE or credential is None:
        return
    if credential.is_unproven:
        states.worked(credential, asked_at=errand.asked_at)
    if credential.times_told_to_wait:
        resting.answered(credential)


def failed(errand: Errand, policy: Policy, failure: Failure) -> None:
    """Does what follows from a failure (`retries.decide`), and to its lane (`breaker`)."""
    lane, seconds = errand.lookup.lane, 0.0
    verdict = retry_policy.decide(
        failure,
        attempts=errand.lookup.attempts,
        allowed=policy.attempts,
        throttled=pauses.times_throttled(errand),
        throttled_seconds=policy.throttled_seconds,
    )
    # What we cannot read, operators should: the excerpt is on the call's page.
    level = logging.ERROR if isinstance(failure, Garbled) else logging.INFO
    log.log(level, "lookup %s: %s, so %s", errand.lookup.pk, failure.code, type(verdict).__name__)
    if isinstance(verdict, retry_policy.Pause):
        pauses.pause_claimed(errand, seconds=verdict.seconds)
    with transaction.atomic():
        if isinstance(verdict, retry_policy.Pause):
            pauses.lock(lane.name)
        if breaker.is_theirs(failure) and errand.lookup.credential is not None:
            key, tenant = errand.lookup.credential.fingerprint, errand.lookup.tenant_id
            seconds = pauses.record_failure(errand.call, lane=lane.name, key=key, tenant=tenant)
        if isinstance(verdict, retry_policy.Unknown):
            lost(errand.call, errand.lookup, policy, failure)
        else:
            _apply(errand, policy, failure, verdict)
    if seconds:
        log.error("lane %s: its calls fail with every key, so it pauses for %s s", lane.name, seconds)
    if seconds or isinstance(verdict, retry_policy.Pause):
        pauses.sync_limiter(lane)


def _apply(errand: Errand, policy: Policy, failure: Failure, verdict: retry_policy.Verdict) -> None:
    billed = verdict.billed_results if isinstance(verdict, retry_policy.Stop) and verdict.answered else None
    ours = _lock(
        errand.call,
        errand.lookup,
        became=Call.State.FAILED,
        may_go_back=not isinstance(verdict, retry_policy.Stop),
        cost=ledger.ZERO if billed is None else _price_of(errand.lookup, results=billed),
        status=failure.status,
        returned=0,
        error_code=failure.code,
        error_detail=failure.detail[:500],
        provider_request_id=failure.request_id[:100],
        excerpt=failure.excerpt if isinstance(failure, Garbled) else "",
    )
    # A credential is locked before the credit account that an end locks. The key was told to wait whoever settled the call.
    if isinstance(verdict, retry_policy.Pause):
        pauses.record_throttle(errand, seconds=verdict.seconds)
    if ours is None:
        return None
    lookup = ours.lookup
    # Of a canceled lookup too: its key is dead all the same.
    parked = isinstance(verdict, retry_policy.Park) and _park(errand, ours, verdict, failure)
    if lookup.cancel_requested and not isinstance(verdict, retry_policy.Stop):
        return _finish(ours, Status.CANCELED)
    match verdict:
        case retry_policy.Again(after=seconds):
            lookup.attempts += 1
            queue.put_back(lookup, ours.tenant_queue, after=timedelta(seconds=seconds))
        case retry_policy.Pause():
            queue.put_back(lookup, ours.tenant_queue)
        case retry_policy.Park() if parked:
            pass
        case retry_policy.Stop(answered=True, billed_results=None):
            lookup.unknown_calls += 1
            _set_unknown(lookup)
            return _fail(ours, failure)
        case _:
            return _fail(ours, failure)
    completion.recount(ours.search)
    return None


def _fail(ours: Ours, failure: Failure) -> None:
    """Of an erased search it is not kept why."""
    if ours.erased:
        _finish(ours, Status.CANCELED)
    else:
        _finish(ours, Status.FAILED, failure)


def _finish(ours: Ours, status: Status, failure: Failure | None = None) -> None:
    charged = completion.finish(ours.lookup, ours.search, status, failure, cost=ours.cost, key=str(ours.call.pk))
    _check_charged(ours, charged)


def _park(errand: Errand, ours: Ours, verdict: retry_policy.Park, failure: Failure) -> bool:
    """Notes that the key is dead; False where there is no credential to wait for, or the sandbox said so: that is not the
    provider's word. A key that was verified since the call left is not dead: then the sweep brings the lookup back at once.
    """
    # As it was asked with: the row may hold another key by now.
    asked_with = errand.lookup.credential
    if asked_with is None or ours.lookup.credential_id is None or errand.lookup.lane.mode != Mode.LIVE:
        return False
    state = Credential.State(verdict.state)
    states.mark(asked_with, state, problem=failure.detail, asked_at=errand.asked_at)
    if ours.lookup.cancel_requested:
        queue.park_waiting(ours.tenant_queue, ours.lookup.credential_id)
    else:
        queue.park(ours.lookup, ours.tenant_queue)
    return True


@transaction.atomic
def lost(call: Call, lookup: Lookup, policy: Policy, failure: Failure) -> None:
    """Nobody knows whether the provider billed it: that part stays held, and the policy says whether to ask once more."""
    ours = _lock(call, lookup, became=Call.State.UNKNOWN, error_code=failure.code, error_detail=failure.detail[:500])
    if ours is None:
        return
    _set_unknown(ours.lookup)
    ours.lookup.unknown_calls += 1
    if ours.lookup.cancel_requested:
        _finish(ours, Status.CANCELED)
    elif _may_ask_again(ours.lookup, policy, call):
        queue.put_back(ours.lookup, ours.tenant_queue)
        completion.recount(ours.search)
    else:
        _finish(ours, Status.FAILED, failure)


@transaction.atomic
def unsent(call: Call, lookup: Lookup, *, rests_for: float = 0.0) -> None:
    """Settles a call that never left: it leaves no row, costs nothing, and the lookup has its turn again.

    `rests_for`: the seconds that its key rests for still, where the limiter withheld it for that. Its credential says so from
    now on, so that the lane goes on with others; and the turn counts, so that no tenant is claimed for such a key time after
    time, whatever becomes of the credential.
    """
    tenant_queue = queue.lock_tenant_queue(lookup.lane_id, lookup.tenant_id)
    locked = Lookup.objects.select_for_update(no_key=True).get(pk=lookup.pk)
    search = completion.lock(locked.search_id) if locked.cancel_requested else None
    if rests_for and lookup.credential is not None:
        resting.prolong(lookup.credential, queue.now() + timedelta(seconds=rests_for))
    if not Call.objects.filter(pk=call.pk, state=Call.State.ARMED).delete()[0]:
        return
    if search is not None:
        completion.finish(locked, search, Status.CANCELED)
    else:
        queue.put_back(locked, tenant_queue, void=not rests_for)


def recover_all() -> None:
    """Settles every call whose lease is over; one that cannot be settled keeps no other from it. Raises `Unavailable`."""
    over = Call.objects.filter(state=Call.State.ARMED, leased_until__lte=queue.now())
    for call in over.select_related("lookup__lane__policy"):
        try:
            recover(call)
        except limiter.Unavailable:
            raise
        except Exception:
            log.exception("call %s cannot be settled", call.pk)


def recover(call: Call) -> None:
    """Settles a call whose lease is over: its worker is gone, or hangs. Raises `Unavailable` where the log can't be read."""
    lookup = call.lookup
    policy = lookup.lane.policy_in_force
    age = (queue.now() - call.armed_at).total_seconds()
    outcome = lookup.lane.limiter.revoke(str(call.pk), age_seconds=age)
    if outcome is SendOutcome.NEVER_SENT:
        unsent(call, lookup)
        return
    longest = longest_seconds(policy)
    if age < longest:
        # It left, or may have: its worker may still be waiting for the answer.
        until = call.armed_at + timedelta(seconds=longest)
        Call.objects.filter(pk=call.pk, state=Call.State.ARMED).update(leased_until=until)
        return
    gone = Lost("outcome_unknown", "The call was sent, and its answer was lost.")
    lost(call, lookup, policy, gone)


def _price_of(lookup: Lookup, *, results: int) -> Decimal:
    """What a call with so many results costs, under the prices of the submit; nothing in the sandbox."""
    cost: Decimal = lookup.price_per_call + results * lookup.price_per_result
    return cost


def _charge(ours: Ours) -> None:
    if ours.cost:
        charged = ledger.charge(ours.lookup.reference, ours.cost, key=str(ours.call.pk))
        _check_charged(ours, charged)


def _check_charged(ours: Ours, charged: Decimal) -> None:
    if charged != ours.cost:
        log.error("lookup %s: the provider billed %s where %s was held", ours.lookup.pk, ours.cost, charged)
        Call.objects.filter(pk=ours.call.pk).update(credits=charged)


def _set_unknown(lookup: Lookup) -> None:
    most = _price_of(lookup, results=lookup.page_size)
    if most:
        ledger.set_unknown(lookup.reference, most)


def _may_ask_again(lookup: Lookup, policy: Policy, call: Call) -> bool:
    """Once, under a second hold: no money is spent above what was held."""
    if policy.on_unknown != Policy.OnUnknown.RETRY or lookup.unknown_calls > 1:
        return False
    most = _price_of(lookup, results=lookup.page_size)
    return not most or ledger.hold_more(lookup.reference, most, key=str(call.pk))


def _settle_late(errand: Errand, cost: Decimal) -> None:
    """The sweep gave the call up as unknown before its answer came: now it is known what it cost."""
    late = Call.objects.filter(pk=errand.call.pk, state=Call.State.UNKNOWN)
    reference = errand.lookup.reference
    part = min(
        _price_of(errand.lookup, results=errand.lookup.page_size), ledger.tallies([reference])[reference].unknown
    )
    if part and late.update(state=Call.State.ANSWERED, credits=min(cost, part)):
        ledger.settle(reference, amount=part, charged=min(cost, part), key=str(errand.call.pk))
