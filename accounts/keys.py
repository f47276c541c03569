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

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import ApiKey, Tenant

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 32
CHECKSUM_CHARACTERS = 6
SHOWN_CHARACTERS = 14
FORM = re.compile(rf"sl_(?:live|test)_[0-9A-Za-z]{{{RANDOM_CHARACTERS + CHECKSUM_CHARACTERS}}}")
# `last_used_at` is for people. A minute is exact enough, and spares nearly every request a write.
USE_NOTED_EVERY = timedelta(minutes=1)


class TooManyApiKeys(Exception):
    """The tenant has as many valid keys as it may. The message says how many, and what to do."""


def issue(tenant: Tenant, mode: str, label: str = "") -> tuple[ApiKey, str]:
    """Makes a key, and returns it with its secret, which cannot be shown again. `mode`: a `Mode`. Raises `TooManyApiKeys`."""
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    body = f"sl_{mode}_{random}"
    secret = body + _checksum(body)
    with transaction.atomic():
        check_room(Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk))
        key = ApiKey.objects.create(
            tenant=tenant, mode=mode, label=label, prefix=secret[:SHOWN_CHARACTERS], digest=_digest(secret)
        )
    return key, secret


def check_room(tenant: Tenant) -> None:
    """Raises `TooManyApiKeys` if no more keys may be valid. The result holds while the tenant is locked."""
    most = tenant.limit("most_api_keys")
    if ApiKey.objects.for_tenant(tenant).filter(revoked_at=None).count() >= most:
        raise TooManyApiKeys(f"{most:,} API keys are valid, as many as there may be; revoke one first.")


def well_formed(secret: str) -> bool:
    """Returns whether form and checksum are those of a key."""
    body, checksum = secret[:-CHECKSUM_CHARACTERS], secret[-CHECKSUM_CHARACTERS:]
    return FORM.fullmatch(secret) is not None and _checksum(body) == checksum


def find(secret: str) -> ApiKey | None:
    """Returns the key with its tenant, by one query; None where it is mistyped, unknown or revoked."""
    if not well_formed(secret):
        return None
    keys = ApiKey.objects.select_related("tenant")
    return keys.filter(digest=_digest(secret), revoked_at__isnull=True).first()


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


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
