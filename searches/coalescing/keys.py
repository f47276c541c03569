"""Decides when two lookups ask the same question.

Equal lookups belong to one tenant and mode, and ask one source for the same of the same pixels. The credential is part of the
question where the answer depends on it: in the sandbox, and in a library of the account's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from django.db import connection

from accounts.models import Mode
from providers import registry
from searches.models import Lookup


def key_of(lookup: Lookup, *, pixels: str, crop: str) -> str:
    """Returns a SHA-256 in hexadecimal that equal lookups share. `crop` is in whole pixels."""
    question = {
        "tenant": str(lookup.tenant_id),
        "mode": lookup.lane.mode,
        "asked_with": lookup.credential.fingerprint if lookup.credential and _depends_on_credential(lookup) else "",
        "source": lookup.source,
        "pixels": pixels,
        "crop": crop,
        "parameters": registry.adapter(lookup.source).deciding(lookup.effective_parameters),
        "limit": lookup.limit,
        "offset": lookup.first_page * lookup.page_size,
    }
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


def is_outdated(lookup: Lookup) -> bool:
    """Returns whether the lookup was asked with another secret than the one that its key was made of.

    A tenant may replace a credential's secret between submit and call. The answer then belongs to another question than the
    one of the key.
    """
    search = lookup.search
    if not lookup.repeat_key or not _depends_on_credential(lookup) or search.image is None:
        return False
    return lookup.repeat_key != key_of(lookup, pixels=search.image.pixels_sha256, crop=search.crop)


def _depends_on_credential(lookup: Lookup) -> bool:
    return lookup.lane.mode == Mode.TEST or registry.adapter(lookup.source).own_library


def lock(keys: Iterable[str]) -> None:
    """Takes one advisory lock a key, in ascending order, until the end of the transaction. Locks no row."""
    numbers = sorted(int.from_bytes(bytes.fromhex(key[:16]), signed=True) for key in keys)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(number) FROM unnest(%s::bigint[]) AS number", [numbers])
