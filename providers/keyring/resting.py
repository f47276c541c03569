"""Keys that their provider told to wait. Each rests by itself, while others are called with.

A rest belongs to a provider and a fingerprint: every row with both has it, whoever stored it and when. A row that takes a
key in inherits the rest from the rows that have it (`inherited`). Where the limiter knows of a rest that a row lacks, the
call that it withholds writes it (`prolong`). The rows are locked in the order that `searches.lanes.queue` documents.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Max, QuerySet, Value, When
from django.db.models.functions import Greatest, Least

from providers.models import Credential

# Rests in a row are counted this far; the column has an end.
MOST_TIMES = 1000


def inherited(provider: str, fingerprint: str) -> dict[str, Any]:
    """Returns what a row that takes this key in begins with, by column: the key rests as in the rows that have it."""
    columns = {name: Max(name) for name in ("rests_until", "told_to_wait_at", "times_told_to_wait")}
    known = Credential.objects.filter(provider=provider, fingerprint=fingerprint).aggregate(**columns)
    return known | {"times_told_to_wait": known["times_told_to_wait"] or 0}


@transaction.atomic
def rest(credential: Credential, *, claimed_at: datetime, moment: datetime, seconds: float) -> None:
    """Notes that the provider told a key at `moment` to wait so long, in answer to a call claimed at `claimed_at`.

    Answers that come in a bunch are one rest, of the longest length told. Those of calls that were claimed before the key was
    last told to wait are such a bunch.
    """
    resting = When(rests_until__gt=moment, told_to_wait_at__gte=claimed_at, then=F("times_told_to_wait"))
    _of_key(credential).update(
        rests_until=Greatest("rests_until", Value(moment + timedelta(seconds=seconds))),
        told_to_wait_at=moment,
        times_told_to_wait=Case(resting, default=Least(F("times_told_to_wait") + 1, MOST_TIMES)),
    )


def _of_key(credential: Credential) -> QuerySet[Credential]:
    """Returns the rows that hold this key, locked.

    Another transaction that changes a tenant's keys may hold several of these rows in another order. Rows beside the given
    one are therefore passed over while they are locked; `prolong` writes them later.
    """
    same_key = Credential.objects.filter(provider=credential.provider, fingerprint=credential.fingerprint)
    held = [*_locked(same_key.filter(pk=credential.pk)), *_locked(same_key.exclude(pk=credential.pk), skip=True)]
    return Credential.objects.filter(pk__in=held)


def _locked(credentials: QuerySet[Credential], *, skip: bool = False) -> list[UUID]:
    rows = credentials.select_for_update(no_key=True, skip_locked=skip).order_by("pk")
    return list(rows.values_list("pk", flat=True))


@transaction.atomic
def answered(credential: Credential) -> None:
    """Notes that a call which was claimed after the key's rest got an answer: the next rest is a first one."""
    _of_key(credential).exclude(times_told_to_wait=0).update(times_told_to_wait=0)


def longest_told_others(credential: Credential, *, since: datetime) -> timedelta | None:
    """Returns the longest that a key of another tenant was told to wait since then; None where none was.

    Two tenants who store one key are one account to its provider, and say nothing of others.
    """
    told = Credential.objects.filter(provider=credential.provider, told_to_wait_at__gte=since)
    others = told.exclude(tenant=credential.tenant_id).exclude(fingerprint=credential.fingerprint)
    rests = [each.rests_until - each.told_to_wait_at for each in others if each.rests_until and each.told_to_wait_at]
    return max(rests, default=None)


def at(provider: str, moment: datetime) -> QuerySet[Credential]:
    """The keys that rest at this moment."""
    return Credential.objects.filter(provider=provider, rests_until__gt=moment)


@transaction.atomic
def prolong(credential: Credential, until: datetime) -> None:
    """Lets a key rest until then at least, for what its provider told it elsewhere or the limiter knows of it."""
    _of_key(credential).update(rests_until=Greatest("rests_until", Value(until)))


@transaction.atomic
def end(credentials: QuerySet[Credential]) -> None:
    """Ends their rests: an operator knows that the provider is well."""
    held = _locked(credentials)
    Credential.objects.filter(pk__in=held).update(rests_until=None, told_to_wait_at=None, times_told_to_wait=0)
