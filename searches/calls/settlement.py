"""Settles a call in one transaction: its row, its results, its charge, and the lookup's end or next queue state.

Every call is settled once. The settlement that moves the row out of `armed` is the one that counts: the worker's, or the sweep's
after the call's lease (`recovery`). A later one changes nothing.
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

from accounts import clock
from accounts.models import Mode
from billing import ledger
from providers.contract import Answer
from providers.failures import Failure, Garbled
from providers.keyring import resting, states
from providers.models import Policy
from searches import composite_rows, results
from searches.calls.retry_policy import BackOff, Block, Fail, Retry, Unknown, Verdict
from searches.coalescing import keys
from searches.lanes import breaker, pauses, queue
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import completion, erasure
from searches.models import Call, Lane, Lookup, Search, Status, TenantQueue

log = logging.getLogger(__name__)

LOCKED: Mapping[str, type[Model]] = {"lookup": Lookup, "search": Search, "lane": Lane}
LOCK = f"SELECT {composite_rows.columns(LOCKED)} FROM searches_lock(%s)"


@dataclass(frozen=True, kw_only=True)
class LockedCall:
    """The locked rows of a settlement, and what the provider bills for the call.

    Changes of the lookup and its search are made on these instances. They are saved with the lookup's next queue state (`queue`)
    or its end (`completion`).
    """

    call: Call
    lookup: Lookup
    locked_tenant_queue: TenantQueue | None
    cost: Decimal

    @property
    def search(self) -> Search:
        return self.lookup.search

    @property
    def is_erased(self) -> bool:
        """True for an erased search, of which only the cost of the call may be kept."""
        return self.search.erased_at is not None

    @property
    def tenant_queue(self) -> TenantQueue:
        """The queue to which the lookup returns."""
        assert self.locked_tenant_queue is not None, "a lookup that ends was locked without its queue"
        return self.locked_tenant_queue


@transaction.atomic
def answered(claimed: ClaimedLookup, answer: Answer) -> Lane | None:
    """Keeps the results, charges the call, and ends the lookup or returns it to its queue for the next page.

    Returns the lane as it is now, or None if the call was settled already.
    """
    lookup = claimed.lookup
    is_last = answer.last or lookup.pages_done + 1 >= lookup.pages
    locked = _begin(
        claimed.call,
        lookup,
        state=Call.State.ANSWERED,
        may_return=not is_last,
        cost=lookup.cost_of_call(results=answer.billed_results),
        status=answer.status,
        returned=len(answer.hits),
        unreadable=answer.unreadable,
        excerpt=answer.excerpt,
        provider_request_id=answer.request_id[:100],
    )
    if locked is None:
        return None
    lookup = locked.lookup
    if not locked.is_erased:
        results.keep(lookup, locked.search, answer, came_at=locked.call.finished_at or clock.now())
    lookup.pages_done += 1
    lookup.attempts = 0
    if lookup.cancel_requested:
        _end(locked, Status.CANCELED)
    elif is_last:
        _end(locked, Status.SUCCEEDED)
    else:
        if locked.cost:
            _check_charged(locked, ledger.charge(lookup.reference, locked.cost, key=str(locked.call.pk)))
        queue.put_back(lookup, locked.tenant_queue)
        completion.recount(locked.search)
    return lookup.lane


@transaction.atomic
def answered_late(claimed: ClaimedLookup, answer: Answer) -> None:
    """Charges an answer that came after the sweep had settled its call as unknown."""
    lookup = _lock_rows(claimed.lookup.pk)
    late = Call.objects.filter(pk=claimed.call.pk, state=Call.State.UNKNOWN)
    part = min(lookup.most_credits_per_call, ledger.lock_unknown(lookup.reference))
    cost = lookup.cost_of_call(results=answer.billed_results)
    charged = min(cost, part)
    known = {"credits": charged, "overbilled": cost - charged, "unknown": ledger.ZERO}
    if part and late.update(state=Call.State.ANSWERED, **known):
        ledger.settle(lookup.reference, amount=part, charged=charged, key=str(claimed.call.pk))


@transaction.atomic
def failed(claimed: ClaimedLookup, policy: Policy, failure: Failure, verdict: Verdict) -> float:
    """Settles a failed call as the verdict says. Returns the seconds for which it opened its lane's breaker; 0: it did not."""
    lookup, seconds = claimed.lookup, 0.0
    if isinstance(verdict, BackOff):
        pauses.lock(lookup.lane_id)
    if breaker.is_theirs(failure) and lookup.credential is not None:
        key, tenant = lookup.credential.fingerprint, lookup.tenant_id
        seconds = pauses.record_failure(claimed.call, lane=lookup.lane_id, key=key, tenant=tenant)
    if isinstance(verdict, Unknown):
        lost(claimed.call, lookup, policy, failure)
    else:
        _apply(claimed, failure, verdict)
    return seconds


def _apply(claimed: ClaimedLookup, failure: Failure, verdict: Retry | BackOff | Block | Fail) -> None:
    billed = verdict.billed_results if isinstance(verdict, Fail) and verdict.answered else None
    locked = _begin(
        claimed.call,
        claimed.lookup,
        state=Call.State.FAILED,
        may_return=not isinstance(verdict, Fail),
        cost=ledger.ZERO if billed is None else claimed.lookup.cost_of_call(results=billed),
        status=failure.status,
        returned=0,
        error_code=failure.code,
        error_detail=failure.detail[:500],
        provider_request_id=failure.request_id[:100],
        excerpt=failure.excerpt if isinstance(failure, Garbled) else "",
    )
    # The key rests even if the call was settled already. Its credential is locked before the credit account.
    if isinstance(verdict, BackOff):
        pauses.record_throttle(claimed, seconds=verdict.seconds)
    if locked is None:
        return None
    lookup = locked.lookup
    # The key of a canceled lookup is dead all the same.
    is_blocked = isinstance(verdict, Block) and _block(claimed, locked, failure)
    if lookup.cancel_requested and not isinstance(verdict, Fail):
        return _end(locked, Status.CANCELED)
    match verdict:
        case Retry(after=seconds):
            lookup.attempts += 1
            queue.put_back(lookup, locked.tenant_queue, after=timedelta(seconds=seconds))
        case BackOff():
            queue.put_back(lookup, locked.tenant_queue)
        case Block() if is_blocked:
            pass
        case Fail(answered=True, billed_results=None):
            _add_unknown_call(locked)
            return _end(locked, Status.FAILED, failure)
        case _:
            return _end(locked, Status.FAILED, failure)
    completion.recount(locked.search)
    return None


def _block(claimed: ClaimedLookup, locked: LockedCall, failure: Failure) -> bool:
    """Marks the credential dead and blocks the lookups that wait for it. Returns False where there is nothing to wait for.

    The sandbox's word is not the provider's, and marks nothing. A key that was verified since the call was sent is not dead;
    then the sweep unblocks the lookup at once.
    """
    # The credential as it was when it was asked with: its row may hold another key by now.
    asked_with = claimed.lookup.credential
    if asked_with is None or locked.lookup.credential_id is None or claimed.lookup.lane.mode != Mode.LIVE:
        return False
    states.note_failure(asked_with, failure, asked_at=claimed.asked_at)
    if locked.lookup.cancel_requested:
        queue.block_waiting(locked.tenant_queue, locked.lookup.credential_id)
    else:
        queue.block(locked.lookup, locked.tenant_queue)
    return True


@transaction.atomic
def lost(call: Call, lookup: Lookup, policy: Policy, failure: Failure) -> None:
    """Settles a call that may have been billed: its part of the hold stays held, and the policy says whether to ask again."""
    locked = _begin(call, lookup, state=Call.State.UNKNOWN, error_code=failure.code, error_detail=failure.detail[:500])
    if locked is None:
        return
    lookup = locked.lookup
    _add_unknown_call(locked)
    if lookup.cancel_requested:
        _end(locked, Status.CANCELED)
    elif _may_ask_again(lookup, policy, call):
        queue.put_back(lookup, locked.tenant_queue)
        completion.recount(locked.search)
    else:
        _end(locked, Status.FAILED, failure)


def _may_ask_again(lookup: Lookup, policy: Policy, call: Call) -> bool:
    """Returns whether a second call may be made, once. It takes a hold of its own: nothing is spent above what is held."""
    if policy.on_unknown != Policy.OnUnknown.RETRY or lookup.unknown_calls > 1:
        return False
    most = lookup.most_credits_per_call
    return not most or ledger.hold_more(lookup.reference, most, key=str(call.pk))


@transaction.atomic
def unsent(call: Call, lookup: Lookup, *, rests_for: float = 0.0) -> None:
    """Settles a call that was never sent: its row is deleted, it costs nothing, and the lookup has its turn again.

    `rests_for`: seconds for which its key rests, if the limiter refused the call for that. The credential notes the rest, so that
    the lane goes on with other keys. The turn counts then, so that no tenant is claimed again and again for such a key.
    """
    tenant_queue = queue.lock_tenant_queue(lookup.lane_id, lookup.tenant_id)
    locked = Lookup.objects.select_for_update(no_key=True).get(pk=lookup.pk)
    search = completion.lock(locked.search_id) if locked.cancel_requested else None
    if rests_for and lookup.credential is not None:
        resting.prolong(lookup.credential, clock.now() + timedelta(seconds=rests_for))
    if not Call.objects.filter(pk=call.pk, state=Call.State.ARMED).delete()[0]:
        return
    if search is not None:
        completion.finish(locked, search, Status.CANCELED)
    else:
        queue.put_back(locked, tenant_queue, void=not rests_for)


def _begin(
    call: Call,
    lookup: Lookup,
    *,
    state: Call.State,
    may_return: bool = True,
    cost: Decimal = ledger.ZERO,
    **values: Any,
) -> LockedCall | None:
    """Locks the rows of a settlement and moves the call out of `armed`. Returns None if the call was settled already.

    The tenant's queue is not locked for a lookup that ends. Claims pass over a locked queue, which would cost a busy tenant its
    share.
    """
    tenant_queue = queue.lock_tenant_queue(lookup.lane_id, lookup.tenant_id) if may_return else None
    locked = LockedCall(call=call, lookup=_lock_rows(lookup.pk), locked_tenant_queue=tenant_queue, cost=cost)
    if locked.is_erased:
        values |= erasure.NOTHING_OF_A_CALL
    moved = Call.objects.filter(pk=call.pk, state=Call.State.ARMED).update(
        state=state,
        sent_at=call.sent_at,
        finished_at=call.finished_at or Now(),
        # The charge, unless the provider bills more than was held (`_check_charged`).
        credits=min(cost, lookup.most_credits),
        **values,
    )
    if moved and state != Call.State.UNKNOWN and keys.is_outdated(lookup):
        Lookup.objects.filter(pk=lookup.pk).update(repeat_key="")
    return locked if moved else None


def _lock_rows(lookup_id: UUID) -> Lookup:
    """Returns the locked lookup with its locked search and its lane (`lock_rows.sql`)."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, (lookup_id,))
        lookup, search, lane = composite_rows.instances(LOCKED, cursor.fetchone())
    if lookup is None:
        raise Lookup.DoesNotExist
    locked: Lookup = lookup
    locked.search, locked.lane = search, lane
    return locked


def _end(locked: LockedCall, status: Status, failure: Failure | None = None) -> None:
    """Ends the lookup. An erased search keeps no failure, so its lookups end as canceled."""
    if failure and locked.is_erased:
        status, failure = Status.CANCELED, None
    charged = completion.finish(
        locked.lookup, locked.search, status, failure, cost=locked.cost, key=str(locked.call.pk)
    )
    _check_charged(locked, charged)


def _check_charged(locked: LockedCall, charged: Decimal) -> None:
    """Keeps on the call what the provider billed above the hold. The tenant agreed to the hold only, and is charged no more."""
    if charged != locked.cost:
        log.error("lookup %s: the provider billed %s where %s was held", locked.lookup.pk, locked.cost, charged)
        Call.objects.filter(pk=locked.call.pk).update(credits=charged, overbilled=locked.cost - charged)


def _add_unknown_call(locked: LockedCall) -> None:
    lookup = locked.lookup
    lookup.unknown_calls += 1
    if most := lookup.most_credits_per_call:
        ledger.set_unknown(lookup.reference, most, key=str(locked.call.pk))
        Call.objects.filter(pk=locked.call.pk).update(unknown=most)
