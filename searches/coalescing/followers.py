"""Resolves the followers of a lookup that has ended: they take its answer or its failure, or get another leader.

Nobody pays for another's end. A leader that was canceled, expired or erased is replaced by an equal lookup in progress, or by
the first of its followers, which enters the queue with a hold of its own; the other followers are attached to that one.

Each follower is resolved in a transaction of its own, in batches and on a Celery queue of their own, so that the thousands of
one tenant delay nobody else. Lookups have a flag `has_followers`: the end of one without any costs no query, and the sweep
finds followers whose wake-up was lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Q, QuerySet

from accounts import clock
from accounts.models import Mode
from billing.caps import LimitReached
from billing.serializers import credits_text
from providers import policies
from providers.failures import Failure, Faulty, Refused
from providers.models import Policy
from searches.coalescing import keys, matching
from searches.coalescing.matching import Match
from searches.lanes import credential_gate, directory, queue, wakeups
from searches.lifecycle import completion, holds
from searches.models import Lane, Lookup, QueueState, Repeat, Status, TenantQueue

log = logging.getLogger(__name__)

# Followers that one message resolves; then those of other leaders have their turn.
BATCH = 100
NOTHING_TO_TAKE = "The equal lookup that this one waited for got no answer; nothing was billed for this one."


def resolve_all() -> None:
    """Resolves one batch of each leader that has ended, and of the followers whose leader's row was deleted."""
    leaders = Lookup.objects.filter(has_followers=True, status__in=Lookup.ENDED)
    for leader_id in leaders.order_by().values_list("pk", flat=True):
        resolve(leader_id)
    _resolve_each(_batch(_followers_of(None)), lambda follower: _replace_leader(follower, None))


def resolve(leader_id: UUID) -> None:
    """Resolves one batch of the followers of a lookup if it has ended, and sends a wake-up for the rest. May be repeated."""
    leader = Lookup.objects.filter(pk=leader_id, status__in=Lookup.ENDED).first()
    if leader is None:
        return
    followers = _batch(_followers_of(leader_id))
    is_erased = not leader.repeat_key
    if leader.status in (Status.SUCCEEDED, Status.FAILED) and not is_erased:
        found = list(leader.results.all()) if leader.status == Status.SUCCEEDED else []
        resolved = _resolve_each(followers, lambda one: _end_as(Match(lookup=one, original=leader, found=found)))
    else:
        resolved = _resolve_each(followers, lambda one: _replace_leader(one, leader))
    _note_the_last(leader_id)
    if resolved and len(followers) == BATCH:
        wakeups.resolve_followers(leader_id)


def _followers_of(leader_id: UUID | None) -> QuerySet[Lookup]:
    return Lookup.objects.filter(repeat_of=leader_id, queue_state=QueueState.FOLLOWING)


def _batch(followers: QuerySet[Lookup]) -> list[Lookup]:
    return list(followers.select_related("lane", "credential", "tenant", "search").order_by("sort_key", "pk")[:BATCH])


def _resolve_each(followers: Iterable[Lookup], resolve_one: Callable[[Lookup], None]) -> int:
    """Returns how many were resolved. A follower that fails is logged and skipped."""
    resolved = 0
    for follower in followers:
        try:
            resolve_one(follower)
            resolved += 1
        except Exception:
            log.exception("lookup %s cannot be resolved", follower.pk)
    return resolved


@transaction.atomic
def _note_the_last(leader_id: UUID) -> None:
    """Clears the leader's flag when no follower is left. `matching.attach` locks the same row, so one sees the other."""
    Lookup.objects.select_for_update(no_key=True).get(pk=leader_id)
    if not _followers_of(leader_id).exists():
        Lookup.objects.filter(pk=leader_id).update(has_followers=False)


# With the leader's end


@transaction.atomic
def _end_as(matched: Match) -> None:
    """Ends a follower with its leader's answer or failure."""
    follower, leader = matched.lookup, matched.original
    # No join: of two updates at once the second would be decided by the joined rows as they were.
    unerased = Exists(Lookup.objects.filter(pk=leader.pk, repeat_key=follower.repeat_key))
    if not _followers_of(leader.pk).filter(unerased, pk=follower.pk).update(queue_state=QueueState.NONE):
        # Resolved by another worker, or the leader was erased since it was read.
        return
    if leader.status == Status.SUCCEEDED:
        matching.answer(matched)
    else:
        completion.finish(follower, completion.lock(follower.search_id), Status.FAILED, _failure_of(leader))


def _failure_of(leader: Lookup) -> Failure:
    """Returns how a follower fails. An unknown outcome leaves no answer to take, and to take none costs nothing."""
    if leader.error_code == completion.OUTCOME_UNKNOWN:
        return Faulty(completion.NO_ANSWER, NOTHING_TO_TAKE)
    kind = Faulty if leader.error_retryable else Refused
    return kind(leader.error_code, leader.error_detail)


# Without the leader


def _replace_leader(follower: Lookup, leader: Lookup | None) -> None:
    """Gives the follower, and all that are like it, another leader: an equal lookup in progress, or else the follower itself."""
    if not _followers_of(follower.repeat_of_id).filter(pk=follower.pk).exists():
        # Attached elsewhere with one before it.
        return
    policy, lane = _present_lane(follower)
    with transaction.atomic():
        keys.lock([follower.repeat_key])
        question = follower.repeat_key, follower.credential_id
        other = matching.in_progress([follower.repeat_key]).get(question)
        if other is not None:
            _attach_all(follower, other)
        elif _promote(follower, lane, leader):
            transaction.on_commit(lambda: wakeups.send(lane, policy))


def _attach_all(follower: Lookup, leader: Lookup) -> None:
    """Attaches to another leader all followers that are like this one, by what they have in common: one statement holds at
    most 65,535 ids. All are locked, and none joins them now.
    """
    queue.lock_tenant_queues([follower.pk, leader.pk])
    alike = Q(repeat_of=follower.repeat_of_id, repeat_key=follower.repeat_key, credential=follower.credential_id)
    following = alike & Q(queue_state=QueueState.FOLLOWING)
    locked = Lookup.objects.select_for_update(no_key=True).filter(following | Q(pk=leader.pk)).order_by("pk")
    sort_keys = dict(locked.values_list("pk", "sort_key"))
    del sort_keys[leader.pk]
    if sort_keys:
        Lookup.objects.filter(following).exclude(pk=leader.pk).update(repeat_of=leader)
        matching.inherit_priority({leader.pk: min(sort_keys.values())})


def _promote(follower: Lookup, lane: Lane, leader: Lookup | None) -> bool:
    """Puts a follower into the queue at its leader's position, with a hold as at a submit. False where it ended instead."""
    # In both lanes, because the promotion may change the lane.
    lanes = sorted({follower.lane_id, lane.name})
    tenant_queues = {name: queue.lock_tenant_queue(name, follower.tenant_id) for name in lanes}
    if not _followers_of(follower.repeat_of_id).select_for_update(no_key=True).filter(pk=follower.pk):
        return False
    if follower.expires_at <= clock.now():
        return _end(follower, Status.EXPIRED)
    if follower.credential_id is None and follower.lane.mode == Mode.LIVE:
        return _end(follower, Status.FAILED, completion.credential_deleted())
    try:
        with transaction.atomic():
            _enqueue(follower, tenant_queues[lane.name], leader)
            completion.recount(completion.lock(follower.search_id))
            holds.hold(follower.search, [follower])
    except LimitReached as error:
        return _end(follower, Status.FAILED, _unaffordable(error))
    return True


def _present_lane(follower: Lookup) -> tuple[Policy, Lane]:
    """Returns the policy and the lane that are in force now for the follower's credential."""
    lane, credential = follower.lane, follower.credential
    policy = policies.in_force(policies.of(follower.provider), lane.mode)
    if credential is not None:
        tenant_id, fingerprint = follower.tenant_id, credential.fingerprint
        lane = directory.lane_of(policy, mode=lane.mode, tenant_id=tenant_id, fingerprint=fingerprint)
    return policy, lane


def _end(follower: Lookup, status: Status, failure: Failure | None = None) -> bool:
    Lookup.objects.filter(pk=follower.pk).update(queue_state=QueueState.NONE)
    completion.finish(follower, completion.lock(follower.search_id), status, failure)
    return False


def _enqueue(follower: Lookup, tenant_queue: TenantQueue, leader: Lookup | None) -> None:
    waits = credential_gate.must_wait(follower.credential, follower.lane.mode)
    Lookup.objects.filter(pk=follower.pk).update(
        repeat=Repeat.MISS,
        repeat_of=None,
        lane=tenant_queue.lane_id,
        sort_key=min(one.sort_key for one in (follower, leader) if one),
        queue_state=QueueState.BLOCKED if waits else QueueState.READY,
    )
    if not waits:
        queue.add_ready(tenant_queue, 1, pending_calls=follower.calls_left)


def _unaffordable(error: LimitReached) -> Failure:
    """Returns the failure of a promotion whose hold has no room, in the words of a submit."""
    limit = error.limit
    return Refused(
        error.code,
        f"The equal lookup that this one waited for is gone, and by itself it can cost up to {credits_text(limit.asked)} "
        f"{limit.provider} credits, and {error.what_is_left()}",
    )
