"""What was asked already is not asked again: a lookup that is equal to one that succeeded takes its answer (a hit), and one
that is equal to one in progress rides on it (coalesced), for no call and no credits.

Equal are a tenant's lookups of one mode that ask a source for the same of the same pixels. Whose key asks is part of the
question where the key decides the answer: in the sandbox, and in a library of the account's own. A `max_age` of 0 makes a
lookup ask in any case; it may answer later ones all the same.

One advisory lock a key makes equal submits queue up, taken before any row. Who rides stands in no line and holds nothing. The
one that carries says so in its row: so its end costs nobody a query who carries no one, and whom its wake-up does not reach
the sweep finds. Riders follow each in a transaction of their own, a hundred at a time and in a queue of their own, so that
one tenant's thousands keep nobody waiting but those who ride; where the lookup is gone that they ride on, the first of them
takes its position in line with a hold of its own, and the others ride on that.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, Q, QuerySet

from accounts.models import Mode
from billing import ledger
from billing.ledger import InsufficientCredits
from billing.serializers import credits_text
from providers import policies, registry
from providers.failures import Failure, Faulty, Refused
from providers.models import Policy
from searches import results
from searches.lanes import credential_gate, queue, wakeups
from searches.lifecycle import completion
from searches.models import Lane, Lookup, Repeat, Result, Standing, Status, TenantQueue

log = logging.getLogger(__name__)

IN_PROGRESS = (Status.QUEUED, Status.RUNNING)
# So many riders land at a time; then those of others have their turn.
AT_ONCE = 100
# So many results are copied in a submit. Who takes more of them rides on the answer, and lands after it.
MOST_COPIED = 5_000
NOTHING_TO_TAKE = "The equal lookup that this one rode on got no answer; nothing was billed for this one."


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A lookup that another answers, with its results: they may be erased before they are copied."""

    lookup: Lookup
    original: Lookup
    found: Sequence[Result]


def key(lookup: Lookup, *, pixels: str, crop: str) -> str:
    """Equal for lookups that ask for the same. SHA-256, in hexadecimal. `crop`: in whole pixels."""
    question = {
        "tenant": str(lookup.tenant_id),
        "mode": lookup.lane.mode,
        "asked_with": lookup.credential.fingerprint if lookup.credential and _key_decides(lookup) else "",
        "source": lookup.source,
        "pixels": pixels,
        "crop": crop,
        "parameters": registry.adapter(lookup.source).deciding(lookup.effective_parameters),
        "limit": lookup.limit,
        "offset": lookup.first_page * lookup.page_size,
    }
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def was_asked_otherwise(lookup: Lookup) -> bool:
    """Whether the tenant's key was another at the call than at the submit, where the key decides the answer: then it answers
    another question than the one that others ask.
    """
    search = lookup.search
    if not lookup.repeat_key or not _key_decides(lookup) or search.image is None:
        return False
    return lookup.repeat_key != key(lookup, pixels=search.image.pixels_sha256, crop=search.crop)


def _key_decides(lookup: Lookup) -> bool:
    return lookup.lane.mode == Mode.TEST or registry.adapter(lookup.source).own_library


def recognize(lookups: Sequence[Lookup], *, max_age: int) -> list[Hit]:
    """Marks those of the new lookups that need not ask, and returns the ones that are answered. Equal ones of other submits
    wait for the end of the caller's transaction, which locks no row before.
    """
    keys = {lookup.repeat_key for lookup in lookups}
    _lock(keys)
    answered: dict[str, tuple[Lookup, list[Result]]] = {}
    asked: dict[tuple[str, UUID | None], Lookup] = {}
    # As a rule nobody asked before, and it takes one look to know.
    if _asked(keys).exists():
        since = min(lookup.created_at for lookup in lookups) - timedelta(seconds=max_age)
        answered, asked = _answered(keys, since), _in_progress(keys)
    hits, copied = [], 0
    for lookup in lookups:
        same = lookup.repeat_key, lookup.credential_id
        if answer := answered.get(lookup.repeat_key):
            original, found = answer
            copied += len(found)
            fits = copied <= MOST_COPIED
            lookup.repeat, lookup.repeat_of = Repeat.HIT, original
            lookup.standing = Standing.OUT if fits else Standing.RIDING
            if fits:
                hits.append(Hit(lookup=lookup, original=original, found=found))
        elif same in asked:
            lookup.repeat, lookup.repeat_of, lookup.standing = Repeat.COALESCED, asked[same], Standing.RIDING
        else:
            asked[same] = lookup
    return hits


def take(hit: Hit) -> None:
    """Ends a lookup with another's answer. Its row is locked by the caller."""
    lookup, original = hit.lookup, hit.original
    search = completion.lock(lookup.search_id)
    results.copy(hit.found, lookup, search)
    lookup.duplicates, lookup.unreadable, lookup.total = original.duplicates, original.unreadable, original.total
    completion.finish(lookup, search, Status.SUCCEEDED)


def board(riders: Iterable[Lookup]) -> None:
    """Notes on the lookups that are ridden on that they carry somebody, and lends them the first of their sort keys: who is in
    a hurry is not held up by joining. A sort key that was lent stays, also when who lent it leaves.

    Their tenant queues are locked by the caller: a claim passes over those, where it would wait for one of their lookups.
    """
    sort_keys: dict[UUID, int] = {}
    for rider in riders:
        if rider.repeat_of_id is not None:
            sort_keys[rider.repeat_of_id] = min(rider.sort_key, sort_keys.get(rider.repeat_of_id, rider.sort_key))
    if sort_keys:
        _lend(sort_keys)


def _lend(sort_keys: Mapping[UUID, int]) -> None:
    for original in Lookup.objects.select_for_update(no_key=True).filter(pk__in=sort_keys).order_by("pk"):
        sort_key = min(original.sort_key, sort_keys[original.pk])
        Lookup.objects.filter(pk=original.pk).update(has_followers=True, sort_key=sort_key)
        if original.status in Lookup.ENDED:
            # It had when they joined it, or has since.
            _land_on_commit(original.pk)


def land_all() -> None:
    """Lands whom a lost wake-up left behind, a few of each original's: the others next time."""
    for original in (
        Lookup.objects.filter(has_followers=True, status__in=Lookup.ENDED).order_by().values_list("pk", flat=True)
    ):
        land(original)
    _each(_some(_riding_on(None)), lambda rider: _go_on(rider, None))


def land(original_id: UUID) -> None:
    """Ends or promotes who rides on a lookup that has ended, or some of them, and calls for the rest to be landed. Harmless
    when doubled, and where it has not ended.
    """
    original = Lookup.objects.filter(pk=original_id, status__in=Lookup.ENDED).first()
    if original is None:
        return
    is_erased = not original.repeat_key
    riders = _some(_riding_on(original_id))
    if original.status in (Status.SUCCEEDED, Status.FAILED) and not is_erased:
        found = list(original.results.all()) if original.status == Status.SUCCEEDED else []
        landed = _each(riders, lambda rider: _follow(Hit(lookup=rider, original=original, found=found)))
    else:
        landed = _each(riders, lambda rider: _go_on(rider, original))
    _discharge(original_id)
    if landed and len(riders) == AT_ONCE:
        wakeups.land(original_id)


def _some(riders: QuerySet[Lookup]) -> list[Lookup]:
    return list(riders.select_related("lane", "credential", "tenant").order_by("sort_key", "pk")[:AT_ONCE])


def _each(riders: Iterable[Lookup], land_one: Callable[[Lookup], None]) -> int:
    """How many went well: one that cannot be landed keeps no other from it."""
    landed = 0
    for rider in riders:
        try:
            land_one(rider)
            landed += 1
        except Exception:
            log.exception("lookup %s cannot be landed", rider.pk)
    return landed


def _lock(keys: Iterable[str]) -> None:
    """Until the end of the transaction, in order."""
    numbers = sorted(int.from_bytes(bytes.fromhex(key[:16]), signed=True) for key in keys)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS number", [numbers])


def _asked(keys: Iterable[str]) -> QuerySet[Lookup]:
    return Lookup.objects.filter(repeat_key__in=keys, repeat=Repeat.MISS, status__in=(*IN_PROGRESS, Status.SUCCEEDED))


def _answered(keys: Iterable[str], since: datetime) -> dict[str, tuple[Lookup, list[Result]]]:
    """The youngest answer to each. What was erased while it was read has lost its key."""
    succeeded = _asked(keys).filter(status=Status.SUCCEEDED, finished_at__gt=since)
    youngest = succeeded.order_by("repeat_key", "-finished_at").distinct("repeat_key")
    found = [(original, list(original.results.all())) for original in youngest]
    kept = set(succeeded.filter(pk__in=[original.pk for original, _ in found]).values_list("pk", flat=True))
    return {original.repeat_key: (original, results) for original, results in found if original.pk in kept}


def _in_progress(keys: Iterable[str]) -> dict[tuple[str, UUID | None], Lookup]:
    """The next of each to be answered, by the credential that it is asked with: riders may have to replace it."""
    asking = _asked(keys).filter(status__in=IN_PROGRESS, cancel_requested=False)
    first = asking.order_by("repeat_key", "credential_id", "sort_key", "pk").distinct("repeat_key", "credential_id")
    return {(original.repeat_key, original.credential_id): original for original in first}


def _riding_on(original_id: UUID | None) -> QuerySet[Lookup]:
    return Lookup.objects.filter(repeat_of=original_id, standing=Standing.RIDING)


@transaction.atomic
def _follow(hit: Hit) -> None:
    """Ends as the one did that it rides on."""
    rider, original = hit.lookup, hit.original
    # No join: where two landed it at once, the second would be taken by what the joined rows were.
    present = Exists(Lookup.objects.filter(pk=original.pk, repeat_key=rider.repeat_key))
    if not _riding_on(original.pk).filter(present, pk=rider.pk).update(standing=Standing.OUT):
        # Another has landed it, or the original was erased since it was read.
        return
    if original.status == Status.SUCCEEDED:
        take(hit)
    else:
        completion.finish(rider, completion.lock(rider.search_id), Status.FAILED, _failure_of(original))


def _failure_of(original: Lookup) -> Failure:
    """Returns how a follower fails. An unknown outcome leaves no answer to take, and to take none costs nothing."""
    if original.error_code == completion.OUTCOME_UNKNOWN:
        return Faulty(completion.NO_ANSWER, NOTHING_TO_TAKE)
    kind = Faulty if original.error_retryable else Refused
    return kind(original.error_code, original.error_detail)


def _go_on(rider: Lookup, original: Lookup | None) -> None:
    """Goes on without the one that is gone: where an equal one is in progress, on that, with all that ride as it does; else
    by itself.
    """
    if not _riding_on(rider.repeat_of_id).filter(pk=rider.pk).exists():
        # It went with another.
        return
    policy, lane = _lane_of(rider)
    with transaction.atomic():
        _lock([rider.repeat_key])
        other = _in_progress([rider.repeat_key]).get((rider.repeat_key, rider.credential_id))
        if other is not None:
            _hand_over(rider, other)
        elif _promote(rider, lane, original):
            transaction.on_commit(lambda: wakeups.send(lane, policy))


def _hand_over(rider: Lookup, other: Lookup) -> None:
    """All that ride as it does ride on this one from now on."""
    queue.lock_tenant_queues([rider.pk, other.pk])
    alike = Q(repeat_of=rider.repeat_of_id, repeat_key=rider.repeat_key, credential=rider.credential_id)
    riding = alike & Q(standing=Standing.RIDING)
    locked = Lookup.objects.select_for_update(no_key=True).filter(riding | Q(pk=other.pk)).order_by("pk")
    sort_keys = dict(locked.values_list("pk", "sort_key"))
    del sort_keys[other.pk]
    if sort_keys:
        # By what they are and not by their ids, of which one statement holds 65,535. All that are alike are locked, and none
        # joins them now.
        Lookup.objects.filter(riding).exclude(pk=other.pk).update(repeat_of=other)
        _lend({other.pk: min(sort_keys.values())})


def _promote(rider: Lookup, lane: Lane, original: Lookup | None) -> bool:
    """Puts it in line in the stead of the one that is gone, with a hold of its own as at any submit; False where it ends,
    for it cannot go.
    """
    # Also where it came from: whoever changes a lookup's lane holds both.
    tenant_queues = {
        name: queue.lock_tenant_queue(name, rider.tenant_id) for name in sorted({rider.lane_id, lane.name})
    }
    if not _riding_on(rider.repeat_of_id).select_for_update(no_key=True).filter(pk=rider.pk):
        return False
    if end := _end_of(rider):
        _finish(rider, *end)
        return False
    try:
        with transaction.atomic():
            _line_up(
                rider,
                tenant_queues[lane.name],
                rider.sort_key if original is None else min(rider.sort_key, original.sort_key),
            )
            completion.recount(completion.lock(rider.search_id))
            ledger.hold(_demands(rider))
    except InsufficientCredits as error:
        _finish(rider, Status.FAILED, _unaffordable(error))
        return False
    return True


def _lane_of(rider: Lookup) -> tuple[Policy, Lane]:
    """The one in force now."""
    lane, credential = rider.lane, rider.credential
    policy = policies.in_force(policies.of(rider.provider), lane.mode)
    if credential is not None:
        tenant_id, fingerprint = rider.tenant_id, credential.fingerprint
        lane = queue.lane_of(policy, mode=lane.mode, tenant_id=tenant_id, fingerprint=fingerprint)
    return policy, lane


def _end_of(rider: Lookup) -> tuple[Status, Failure | None] | None:
    """What keeps it from standing in line."""
    if rider.expires_at <= queue.now():
        return Status.EXPIRED, None
    if rider.credential_id is None and rider.lane.mode == Mode.LIVE:
        return Status.FAILED, completion.credential_deleted()
    return None


def _finish(rider: Lookup, status: Status, failure: Failure | None) -> None:
    Lookup.objects.filter(pk=rider.pk).update(standing=Standing.OUT)
    completion.finish(rider, completion.lock(rider.search_id), status, failure)


def _line_up(rider: Lookup, tenant_queue: TenantQueue, sort_key: int) -> None:
    waits = credential_gate.must_wait(rider.credential, rider.lane.mode)
    Lookup.objects.filter(pk=rider.pk).update(
        repeat=Repeat.MISS,
        repeat_of=None,
        lane=tenant_queue.lane_id,
        sort_key=sort_key,
        standing=Standing.PARKED if waits else Standing.READY,
    )
    if not waits:
        queue.add_ready(tenant_queue, 1, pending_calls=rider.calls_left)


def _demands(rider: Lookup) -> list[ledger.Demand]:
    if rider.lane.mode == Mode.TEST:
        return []
    return [
        ledger.Demand(
            reference=rider.reference, tenant_id=rider.tenant_id, provider=rider.provider, amount=rider.most_credits
        )
    ]


def _unaffordable(error: InsufficientCredits) -> Failure:
    """As a submit would be answered."""
    needed, available = credits_text(error.needed), credits_text(error.available)
    return Refused(
        "insufficient_credits",
        f"The equal lookup that this one rode on is gone, and by itself it can cost up to {needed} {error.provider} "
        f"credits, where {available} are available; have credits granted, and search again.",
    )


@transaction.atomic
def _discharge(original_id: UUID) -> None:
    """Notes that nobody rides on it any more. Whoever boards locks its row, as this does: one of them sees the other."""
    Lookup.objects.select_for_update(no_key=True).get(pk=original_id)
    if not _riding_on(original_id).exists():
        Lookup.objects.filter(pk=original_id).update(has_followers=False)


def _land_on_commit(original_id: UUID) -> None:
    transaction.on_commit(lambda: wakeups.land(original_id))
