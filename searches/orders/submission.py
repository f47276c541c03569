"""Submits an order: one transaction writes the search, its lookups, their entries in the queues and the credits held, or none.

Everything that can be rejected is rejected before a credit is held (`planning`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from uuid_utils.compat import uuid7

from accounts import log_context
from accounts.models import ApiKey
from billing.serializers import credits_text
from searches.coalescing import matching
from searches.lanes import backlog, directory, queue, wakeups
from searches.lifecycle import holds, stored_searches
from searches.lifecycle.holds import Held
from searches.models import Lookup, QueueState, Search
from searches.orders import planning
from searches.orders.order import LookupOrder, Order, Rejected
from searches.pictures import Draft


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The rows that a submit wrote, and what it held for them. `ended`: an earlier answer ended some lookups."""

    search: Search
    lookups: Sequence[Lookup]
    held: Held
    ended: bool


def submit(
    api_key: ApiKey, order: Order, picture: Draft, *, written: Callable[[Search], object] = lambda search: None
) -> Submission:
    """Writes a search, and wakes its lanes up once that is committed. `written` is called last in the transaction.

    Raises `WrongOrder`, `CredentialMissing`, what the picture raises, `PriceMissing`, `LimitReached`,
    `backlog.TooManyWaitingLookups` or `stored_searches.TooManySearches`, and then writes nothing but lanes without lookups.
    """
    plan = planning.plan(api_key, order)
    # Takes 1 ms, while the picture is being read.
    directory.create_missing(lookup.lane for lookup in plan.lookups)
    picture.wait()
    if (missing := plan.price_missing) is not None:
        raise missing
    plan.identify(pixels=picture.image.pixels_sha256, crop=picture.crop)
    with transaction.atomic():
        matches = matching.match(plan.lookups, max_age=plan.max_age)
        search = _write(api_key, order, picture, plan.lookups)
        for matched in matches:
            matching.answer(matched)
        _enqueue(plan.lookups)
        held = holds.hold(search, plan.misses)
        if any(lookup.queue_state != QueueState.NONE for lookup in plan.lookups):
            backlog.check(api_key.tenant)
        stored_searches.add(api_key.tenant)
        picture.hold()
        written(search)
        transaction.on_commit(lambda: _wake_lanes(plan.lookups))
    return Submission(search=search, lookups=plan.lookups, held=held, ended=bool(matches))


def rejections(api_key: ApiKey, lookups: Sequence[LookupOrder]) -> list[Rejected]:
    """Returns what `WrongOrder` would name of these lookups, whatever else is wrong with the order."""
    return list(planning.rejections(api_key, lookups, planning.quotes_for(api_key, lookups)))


def _write(api_key: ApiKey, order: Order, picture: Draft, lookups: Sequence[Lookup]) -> Search:
    created_at = lookups[0].created_at
    search = Search.objects.create(
        id=uuid7(),
        tenant=api_key.tenant,
        api_key=api_key,
        mode=api_key.mode,
        image=picture.save(),
        crop=picture.crop,
        priority=order.priority,
        metadata=order.metadata,
        max_credits={provider: credits_text(most) for provider, most in order.max_credits.items()},
        max_age=order.max_age,
        retry_of_id=order.retry_of,
        request_id=log_context.request_id(),
        created_at=created_at,
        expires_at=created_at + timedelta(seconds=order.expires_in),
    )
    for lookup in lookups:
        lookup.search = search
    Lookup.objects.bulk_create(lookups)
    return search


def _enqueue(lookups: Sequence[Lookup]) -> None:
    """Counts the ready lookups into their queues, lane by lane in the order of names, and attaches the followers."""
    ready, followers = _in_state(lookups, QueueState.READY), _in_state(lookups, QueueState.FOLLOWING)
    if followers:
        # Leaders and new lookups, in one order.
        leaders = [lookup.repeat_of_id for lookup in followers if lookup.repeat_of_id]
        queue.lock_tenant_queues([*leaders, *(lookup.pk for lookup in ready)])
    for lane_id in sorted({lookup.lane_id for lookup in ready}):
        own = [lookup for lookup in ready if lookup.lane_id == lane_id]
        pending_calls = sum(lookup.calls_left for lookup in own)
        queue.enqueue(own[0].lane, own[0].tenant_id, lookups=len(own), pending_calls=pending_calls)
    matching.attach(followers)


def _wake_lanes(lookups: Sequence[Lookup]) -> None:
    """Sends one wake-up per ready lookup, but none to a lane after a failure: with Redis down each takes its time limit."""
    failed = set()
    for lookup in _in_state(lookups, QueueState.READY):
        lane = lookup.lane
        if lane.name not in failed and not wakeups.send(lane, lane.policy):
            failed.add(lane.name)


def _in_state(lookups: Sequence[Lookup], queue_state: QueueState) -> list[Lookup]:
    return [lookup for lookup in lookups if lookup.queue_state == queue_state]
