"""Keys that their provider told to wait. Each rests by itself, in every row that holds it, while others are called with.

A row of the key's own is locked after its lookups, as for any other news of a key.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Greatest, Least

from providers.models import Credential

# Rests in a row are counted this far; the column has an end.
MOST_TIMES = 1000


@transaction.atomic
def rest(credential: Credential, *, moment: datetime, seconds: float) -> None:
    """Notes that the provider told a key at `moment` to wait so long.

    Answers that come in a bunch are one rest: told again while it rests, it rests for the longest that it was told.
    """
    same_key = Credential.objects.filter(provider=credential.provider, fingerprint=credential.fingerprint)
    # Whoever changes a tenant's keys may hold several of these rows in another order: for the others' nobody waits.
    held = [*_locked(same_key.filter(pk=credential.pk)), *_locked(same_key.exclude(pk=credential.pk), skip=True)]
    resting = When(rests_until__gt=moment, then=F("times_told_to_wait"))
    Credential.objects.filter(pk__in=held).update(
        rests_until=Greatest("rests_until", Value(moment + timedelta(seconds=seconds))),
        told_to_wait_at=moment,
        times_told_to_wait=Case(resting, default=Least(F("times_told_to_wait") + 1, MOST_TIMES)),
    )


def _locked(credentials: QuerySet[Credential], *, skip: bool = False) -> list[UUID]:
    rows = credentials.select_for_update(no_key=True, skip_locked=skip).order_by("pk")
    return list(rows.values_list("pk", flat=True))


def answered(credential: Credential) -> None:
    """Notes that a call which was claimed after the key's rest got an answer: the next rest is a first one."""
    same_key = Credential.objects.filter(pk=credential.pk, fingerprint=credential.fingerprint)
    same_key.exclude(times_told_to_wait=0).update(times_told_to_wait=0)


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


def prolong(credential: Credential, until: datetime) -> None:
    """Lets a key rest until then at least, for what its provider told it elsewhere."""
    same_key = Credential.objects.filter(pk=credential.pk, fingerprint=credential.fingerprint)
    same_key.update(rests_until=Greatest("rests_until", Value(until)))


@transaction.atomic
def end(credentials: QuerySet[Credential]) -> None:
    """Ends their rests: an operator knows that the provider is well."""
    held = _locked(credentials)
    Credential.objects.filter(pk__in=held).update(rests_until=None, told_to_wait_at=None, times_told_to_wait=0)
