"""Remembers requests by their idempotency keys: claims a key, completes or releases the claim, and forgets it after its time.

A claim is a lease. The request that has it completes it in the transaction that writes what the request does, by the claim's
id. If another request took the key over after the lease, the completion finds no row, and that transaction is rolled back.
Nothing is therefore done twice, however long a request takes and wherever its process dies.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts import batches, resealing, vault
from accounts.models import IdempotencyKey, Tenant
from accounts.resealing import Resealed

# Batches of one sweep, a minute apart: 1,600 keys a second.
BATCHES = 100
# A row that is read between a claim that failed and its release is gone; then the key is claimed again.
TRIES = 5
# Takes the key if it is new, or past its time, or claimed by a request that has not ended within its lease.
CLAIM = """
    INSERT INTO accounts_idempotencykey AS present (id, tenant_id, mode, key, fingerprint, leased_until, expires_at)
    VALUES (
        %(id)s, %(tenant)s, %(mode)s, %(key)s, %(fingerprint)s,
        statement_timestamp() + %(lease)s, statement_timestamp() + %(lease)s + %(kept)s
    )
    ON CONFLICT (tenant_id, mode, key) DO UPDATE
    SET id = excluded.id, fingerprint = excluded.fingerprint, leased_until = excluded.leased_until, status = NULL,
        made = NULL, sealed = NULL, created_at = statement_timestamp(), expires_at = excluded.expires_at
    WHERE present.expires_at <= statement_timestamp() OR present.leased_until <= statement_timestamp()
"""


class KeyReused(Exception):
    """The key was used for another request."""


class KeyInUse(Exception):
    """The first request with the key is still being handled, or its process died and its lease is not over."""


class ClaimLost(Exception):
    """Another request took the key over, because this one has lasted longer than its lease."""


@dataclass
class Claim:
    """A key that this request alone may complete. `is_complete`: it did, in a transaction that may still be rolled back."""

    id: UUID
    tenant_id: UUID
    is_complete: bool = False


def kept() -> timedelta:
    """Returns for how long a key is kept after its request."""
    return timedelta(hours=settings.IDEMPOTENCY_KEY_HOURS)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def claim(tenant: Tenant, mode: str, key: str, fingerprint: str) -> Claim | IdempotencyKey:
    """Claims the key for a request, by one statement; returns the row of the request that is done, by one more.

    Call it outside a transaction, so that others see the claim at once. Raises `KeyReused` or `KeyInUse`.
    """
    for _ in range(TRIES):
        mine = uuid7()
        if _is_claimed(mine, tenant, mode, key, fingerprint):
            return Claim(mine, tenant.pk)
        present = IdempotencyKey.objects.for_tenant(tenant).filter(mode=mode, key=digest(key)).first()
        if present is None:
            continue
        if present.fingerprint != fingerprint:
            raise KeyReused
        if present.status is None:
            break
        return present
    raise KeyInUse


def _is_claimed(mine: UUID, tenant: Tenant, mode: str, key: str, fingerprint: str) -> bool:
    lease = timedelta(seconds=settings.IDEMPOTENCY_LEASE_SECONDS)
    values: dict[str, Any] = {"id": mine, "tenant": tenant.pk, "mode": mode, "key": digest(key)}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, values | {"fingerprint": fingerprint, "lease": lease, "kept": kept()})
        is_mine: bool = cursor.rowcount == 1
        return is_mine


def complete(claim: Claim, status: int, *, made: UUID | None = None, answer: str | None = None) -> None:
    """Remembers the request as done, in the caller's transaction. Raises `ClaimLost`, which must roll that back.

    Give the id of what was `made`, or the `answer`, which is sealed.
    """
    sealed = None if answer is None else vault.seal(answer, associated=_owner_of(claim.tenant_id, claim.id))
    done: dict[str, Any] = {"status": status, "made": made, "sealed": sealed}
    mine = IdempotencyKey.objects.filter(pk=claim.id, status=None)
    if not mine.update(**done, leased_until=None, expires_at=Now() + kept()):
        raise ClaimLost
    claim.is_complete = True


def release(claim: Claim) -> None:
    """Forgets a request that did nothing. If its commit is still under way, this waits for it, and keeps what is done."""
    IdempotencyKey.objects.filter(pk=claim.id, status=None).delete()


def answer_of(done: IdempotencyKey) -> str:
    """Returns the answer that is kept. Raises `vault.Unopenable`."""
    assert done.sealed is not None
    return vault.open(bytes(done.sealed), associated=_owner(done))


def sweep() -> None:
    """Deletes the keys whose time is over, some batches of them. The next sweep takes the rest."""
    batches.repeat(_forget_batch, most=BATCHES)


def _forget_batch() -> int:
    old = IdempotencyKey.objects.filter(expires_at__lte=Now()).order_by("expires_at")
    ids = list(old.values_list("pk", flat=True)[: batches.SIZE])
    # A key may have been claimed anew since, with another id.
    IdempotencyKey.objects.filter(pk__in=ids).delete()
    return len(ids)


def reseal() -> Resealed[IdempotencyKey]:
    """Moves every kept answer to the first of our keys."""
    return resealing.reseal(IdempotencyKey.objects.filter(sealed__isnull=False), ("sealed",), _owner)


def _owner(row: IdempotencyKey) -> str:
    return _owner_of(row.tenant_id, row.pk)


def _owner_of(tenant_id: UUID, id: UUID) -> str:
    """Returns the owner of a kept answer. It opens as no other answer, and as no secret of another kind."""
    return f"{tenant_id}:idempotency:{id}"
