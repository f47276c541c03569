"""Keeps the rests of keys that their provider told to wait. A key rests by itself, while calls are made with others.

A rest belongs to a provider and a fingerprint, so every row with both has it. A row that gets a key inherits the key's rest
from other rows (`inherited`). If the limiter knows a rest that a row lacks, the call that it refuses a token writes the rest
(`prolong`). Rows are locked in the order that `searches.lanes.queue` documents.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Max, QuerySet, Value, When
from django.db.models.functions import Greatest, Least

from providers.models import Credential

# Consecutive rests are counted up to this number, which the column can hold.
MOST_TIMES = 1000


def inherited(provider: str, fingerprint: str) -> dict[str, Any]:
    """Returns the columns of a rest for a row that gets this key: the key rests as it does in other rows."""
    columns = {name: Max(name) for name in ("rests_until", "told_to_wait_at", "times_told_to_wait")}
    known = Credential.objects.filter(provider=provider, fingerprint=fingerprint).aggregate(**columns)
    return known | {"times_told_to_wait": known["times_told_to_wait"] or 0}


@transaction.atomic
def rest(credential: Credential, *, claimed_at: datetime, moment: datetime, seconds: float) -> None:
    """Notes that the provider told a key at `moment` to wait for `seconds`, in answer to a call claimed at `claimed_at`.

    Answers to calls that were claimed before the key was last told to wait belong to the same rest, which is as long as the
    longest of them asks.
    """
    resting = When(rests_until__gt=moment, told_to_wait_at__gte=claimed_at, then=F("times_told_to_wait"))
    _lock_rows_of(credential).update(
        rests_until=Greatest("rests_until", Value(moment + timedelta(seconds=seconds))),
        told_to_wait_at=moment,
        times_told_to_wait=Case(resting, default=Least(F("times_told_to_wait") + 1, MOST_TIMES)),
    )


def _lock_rows_of(credential: Credential) -> QuerySet[Credential]:
    """Locks and returns the rows that have this key.

    Another transaction that changes a tenant's keys may lock several of these rows in another order. Rows beside the given
    one are therefore skipped while they are locked, and `prolong` writes them later.
    """
    same_key = Credential.objects.filter(provider=credential.provider, fingerprint=credential.fingerprint)
    held = [*_locked(same_key.filter(pk=credential.pk)), *_locked(same_key.exclude(pk=credential.pk), skip=True)]
    return Credential.objects.filter(pk__in=held)


def _locked(credentials: QuerySet[Credential], *, skip: bool = False) -> list[UUID]:
    rows = credentials.select_for_update(no_key=True, skip_locked=skip).order_by("pk")
    return list(rows.values_list("pk", flat=True))


@transaction.atomic
def note_answer(credential: Credential) -> None:
    """Notes an answer to a call that was claimed after the key's rest. The next rest counts as the first."""
    _lock_rows_of(credential).exclude(times_told_to_wait=0).update(times_told_to_wait=0)


def longest_told_others(credential: Credential, *, since: datetime) -> timedelta | None:
    """Returns the longest rest that a key of another tenant was told since then; None if there was none.

    Two tenants with the same key are one account of the provider. A rest of the one therefore does not count for the other.
    """
    told = Credential.objects.filter(provider=credential.provider, told_to_wait_at__gte=since)
    others = told.exclude(tenant=credential.tenant_id).exclude(fingerprint=credential.fingerprint)
    rests = [each.rests_until - each.told_to_wait_at for each in others if each.rests_until and each.told_to_wait_at]
    return max(rests, default=None)


def resting_at(provider: str, moment: datetime) -> QuerySet[Credential]:
    """Returns the credentials that rest at this moment."""
    return Credential.objects.filter(provider=provider, rests_until__gt=moment)


@transaction.atomic
def prolong(credential: Credential, until: datetime) -> None:
    """Extends a key's rest to this instant, which the limiter or another lane of the provider knows."""
    _lock_rows_of(credential).update(rests_until=Greatest("rests_until", Value(until)))


@transaction.atomic
def end_rests(credentials: QuerySet[Credential]) -> None:
    """Ends the rests of these credentials, because an operator knows that the provider is well."""
    held = _locked(credentials)
    Credential.objects.filter(pk__in=held).update(rests_until=None, told_to_wait_at=None, times_told_to_wait=0)
