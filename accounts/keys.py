"""Makes, finds and revokes API keys: `sl_live_` or `sl_test_`, 32 random characters, and a checksum of 6.

The checksum lets us refuse a mistyped key without a query, and lets secret scanners find a leaked one. Only a SHA-256 digest is
stored. It is enough for 190 random bits, and one indexed query finds it; a password hash, which protects weak secrets, would
slow every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import ApiKey, FormerSecret, Tenant

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 32
CHECKSUM_CHARACTERS = 6
SHOWN_CHARACTERS = 14
FORM = re.compile(rf"sl_(?:live|test)_[0-9A-Za-z]{{{RANDOM_CHARACTERS + CHECKSUM_CHARACTERS}}}")
# `last_used_at` is for people. A minute is exact enough, and spares nearly every request a write.
USE_NOTED_EVERY = timedelta(minutes=1)
# Secrets of one key that may be in their overlap at once; older ones are void.
MOST_FORMER_SECRETS = 10


class TooManyApiKeys(Exception):
    """The tenant has as many valid keys as it may. The message says how many, and what to do."""


def issue(tenant: Tenant, mode: str, label: str = "", **rights: Any) -> tuple[ApiKey, str]:
    """Makes a key, and returns it with its secret, which cannot be shown again. `mode`: a `Mode`. `rights`: other columns of the
    key; without them it may do everything. Raises `TooManyApiKeys`.
    """
    secret = _new_secret(mode)
    with transaction.atomic():
        check_room(Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk))
        key = ApiKey.objects.create(
            tenant=tenant,
            mode=mode,
            label=label,
            prefix=secret[:SHOWN_CHARACTERS],
            digest=_digest(secret),
            **rights,
        )
    return key, secret


def rotate(key: ApiKey, overlap: timedelta) -> str:
    """Makes a new secret for a key, and returns it. It cannot be shown again. The former secrets are valid until the end of the
    overlap at most.
    """
    secret, until = _new_secret(key.mode), timezone.now() + overlap
    with transaction.atomic():
        replaced = ApiKey.objects.select_for_update(no_key=True).values_list("digest", flat=True).get(pk=key.pk)
        former = FormerSecret.objects.filter(api_key=key)
        former.filter(valid_until__gt=until).update(valid_until=until)
        FormerSecret.objects.create(api_key=key, digest=replaced, valid_until=until)
        newest = former.order_by("-pk").values("pk")[:MOST_FORMER_SECRETS]
        former.exclude(pk__in=list(newest.values_list("pk", flat=True))).delete()
        ApiKey.objects.filter(pk=key.pk).update(prefix=secret[:SHOWN_CHARACTERS], digest=_digest(secret))
    key.refresh_from_db(fields=["prefix", "digest"])
    return secret


def check_room(tenant: Tenant) -> None:
    """Raises `TooManyApiKeys` if no more keys may be valid. The result holds while the tenant is locked."""
    most = tenant.limit("most_api_keys")
    if ApiKey.objects.for_tenant(tenant).filter(ApiKey.is_valid_now()).count() >= most:
        raise TooManyApiKeys(f"{most:,} API keys are valid, as many as there may be; revoke one first.")


def well_formed(secret: str) -> bool:
    """Returns whether form and checksum are those of a key."""
    body, checksum = secret[:-CHECKSUM_CHARACTERS], secret[-CHECKSUM_CHARACTERS:]
    return FORM.fullmatch(secret) is not None and _checksum(body) == checksum


def identify(secret: str) -> ApiKey | None:
    """Returns the key of a secret with its tenant, by one query, whether the key is valid or not; None if there is none.

    A former secret takes a second query, and sets `former_until`.
    """
    if not well_formed(secret):
        return None
    digest, keys = _digest(secret), ApiKey.objects.select_related("tenant")
    if key := keys.filter(digest=digest).first():
        return key
    former = FormerSecret.objects.select_related("api_key__tenant").filter(digest=digest).first()
    if former is None:
        return None
    former.api_key.former_until = former.valid_until
    return former.api_key


def find(secret: str) -> ApiKey | None:
    """Returns the key of a secret; None where it is mistyped, unknown, replaced, revoked or expired."""
    key = identify(secret)
    is_over = key is not None and key.former_until is not None and key.former_until <= timezone.now()
    return key if key is not None and key.state == "valid" and not is_over else None


def note_use(key: ApiKey) -> None:
    """Updates `last_used_at`, at most once a minute, however many requests arrive at once."""
    stale = timezone.now() - USE_NOTED_EVERY
    if key.last_used_at is not None and key.last_used_at >= stale:
        return
    unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lt=stale)
    ApiKey.objects.filter(unnoted, pk=key.pk).update(last_used_at=Now())


def revoke(key: ApiKey) -> None:
    """Revokes a key from now on. A key that was revoked before keeps that time."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now())
    key.refresh_from_db(fields=["revoked_at"])


def _new_secret(mode: str) -> str:
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    body = f"sl_{mode}_{random}"
    return body + _checksum(body)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
