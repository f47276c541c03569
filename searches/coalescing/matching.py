"""Answers a new lookup from an equal one (`keys`) instead of the provider, for no call and no credits.

An equal lookup that succeeded within `max_age` gives its results at once: a hit. An equal lookup in progress becomes the leader
of the new one, which is coalesced: a follower, in no queue and with nothing held, until `followers` resolves it. With a
`max_age` of 0 the provider is asked in any case; that answer may still serve later lookups.

Equal submits wait for each other: each locks its keys before any row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from searches import results
from searches.coalescing import keys
from searches.lanes import wakeups
from searches.lifecycle import completion
from searches.models import Lookup, QueueState, Repeat, Result, Status

# Results that one submit copies. A hit above that follows the lookup that answers it, and is resolved after the submit.
MOST_COPIED = 5_000


@dataclass(frozen=True, kw_only=True)
class Match:
    """A lookup, the equal one that answers it, and that one's results, which may be erased before they are copied."""

    lookup: Lookup
    original: Lookup
    found: Sequence[Result]


def match(lookups: Sequence[Lookup], *, max_age: int, locking: bool = True) -> list[Match]:
    """Marks the new lookups that need not ask the provider, and returns those of them that are answered.

    `locking`: locks their keys until the end of the caller's transaction, which has locked no row before.
    """
    if not max_age:
        return []
    asked = {lookup.repeat_key for lookup in lookups}
    if locking:
        keys.lock(asked)
    answers: dict[str, tuple[Lookup, list[Result]]] = {}
    leaders: dict[tuple[str, UUID | None], Lookup] = {}
    # Most submits have no equal, which one query tells.
    if _equal(asked).exists():
        since = min(lookup.created_at for lookup in lookups) - timedelta(seconds=max_age)
        # In this order: a lookup that ends between the two queries is found by both, and the other way round by neither.
        leaders = in_progress(asked)
        answers = _answers(asked, since)
    matches, copied = [], 0
    for lookup in lookups:
        same = lookup.repeat_key, lookup.credential_id
        if answer := answers.get(lookup.repeat_key):
            original, found = answer
            copied += len(found)
            fits = copied <= MOST_COPIED
            lookup.repeat, lookup.repeat_of = Repeat.HIT, original
            lookup.queue_state = QueueState.NONE if fits else QueueState.FOLLOWING
            if fits:
                matches.append(Match(lookup=lookup, original=original, found=found))
        elif same in leaders:
            lookup.repeat, lookup.repeat_of, lookup.queue_state = Repeat.COALESCED, leaders[same], QueueState.FOLLOWING
        else:
            leaders[same] = lookup
    return matches


def answer(matched: Match) -> None:
    """Ends a lookup with the results of an equal one. The caller has locked its row."""
    lookup, original = matched.lookup, matched.original
    search = completion.lock(lookup.search_id)
    results.copy(matched.found, lookup, search)
    lookup.duplicates, lookup.unreadable, lookup.total = original.duplicates, original.unreadable, original.total
    completion.finish(lookup, search, Status.SUCCEEDED)


def attach(followers: Iterable[Lookup]) -> None:
    """Marks the leaders of these followers, and lets each inherit the lowest sort key among its own: an urgent lookup is not
    delayed by following.

    The caller has locked the tenant queues of both: a claim passes over a locked queue, but would wait for a locked lookup.
    """
    sort_keys: dict[UUID, int] = {}
    for follower in followers:
        if (leader_id := follower.repeat_of_id) is not None:
            sort_keys[leader_id] = min(follower.sort_key, sort_keys.get(leader_id, follower.sort_key))
    if sort_keys:
        inherit_priority(sort_keys)


def inherit_priority(sort_keys: Mapping[UUID, int]) -> None:
    """Marks these leaders, and gives each the lower of its own sort key and the one here, for good."""
    for leader in Lookup.objects.select_for_update(no_key=True).filter(pk__in=sort_keys).order_by("pk"):
        sort_key = min(leader.sort_key, sort_keys[leader.pk])
        Lookup.objects.filter(pk=leader.pk).update(has_followers=True, sort_key=sort_key)
        if leader.status in Lookup.ENDED:
            # Its end sent no wake-up, because it had no followers then.
            transaction.on_commit(partial(wakeups.resolve_followers, leader.pk))


def in_progress(asked: Iterable[str]) -> dict[tuple[str, UUID | None], Lookup]:
    """Returns the open lookup that will be answered first, by key and credential: a follower may have to replace its leader,
    so both use one credential.
    """
    asking = _equal(asked).filter(status__in=Lookup.OPEN, cancel_requested=False)
    first = asking.order_by("repeat_key", "credential_id", "sort_key", "pk").distinct("repeat_key", "credential_id")
    return {(leader.repeat_key, leader.credential_id): leader for leader in first}


def _equal(asked: Iterable[str]) -> QuerySet[Lookup]:
    return Lookup.objects.filter(repeat_key__in=asked, repeat=Repeat.MISS, status__in=(*Lookup.OPEN, Status.SUCCEEDED))


def _answers(asked: Iterable[str], since: datetime) -> dict[str, tuple[Lookup, list[Result]]]:
    """Returns the youngest answer to each key, but for those that were erased while they were read: these lost their key."""
    succeeded = _equal(asked).filter(status=Status.SUCCEEDED, finished_at__gt=since)
    youngest = succeeded.order_by("repeat_key", "-finished_at").distinct("repeat_key")
    found = [(original, list(original.results.all())) for original in youngest]
    kept = set(succeeded.filter(pk__in=[original.pk for original, _ in found]).values_list("pk", flat=True))
    return {original.repeat_key: (original, results) for original, results in found if original.pk in kept}
