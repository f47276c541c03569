"""Removes what is no longer needed: files that no row names, and renderings of crops that no open lookup needs.

A crash between a write and its commit leaves such files. The number of crops has no other bound than this sweep.
"""

from __future__ import annotations

import random
from collections import Counter
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from searches.models import Image, Lookup, Rendering
from searches.pictures import files, usage

# A sweep examines at most this many files, picked at random, so that each orphan is found by some sweep.
SWEPT_AT_ONCE = 20_000
NAMES_A_QUERY = 1000


def sweep_orphans(older_than_seconds: float) -> int:
    """Removes files that no row names, if they are older than any upload can last. Returns how many."""
    names = [name for name in files.listed() if files.age_seconds(name) > older_than_seconds]
    chosen = random.sample(names, min(len(names), SWEPT_AT_ONCE))
    removed = 0
    for start in range(0, len(chosen), NAMES_A_QUERY):
        batch = set(chosen[start : start + NAMES_A_QUERY])
        orphans = batch - files.in_rows(batch)
        files.remove(orphans)
        removed += len(orphans)
    return removed


def sweep_crops(older_than_seconds: float) -> int:
    """Erases the renderings of crops that no open lookup needs, if they are older than that. Returns how many.

    A later search with the same crop has it made anew.
    """
    unneeded = Rendering.objects.exclude(crop="").filter(~Exists(_open_lookups()))
    old = [pk for pk, file in unneeded.values_list("pk", "file") if files.age_seconds(file) > older_than_seconds]
    return sum(_erase_crops(old[start : start + NAMES_A_QUERY]) for start in range(0, len(old), NAMES_A_QUERY))


def _open_lookups() -> QuerySet[Lookup]:
    """Selects the open lookups that need a rendering, for a query of renderings."""
    return Lookup.objects.filter(
        search__image=OuterRef("image"),
        search__crop=OuterRef("crop"),
        provider=OuterRef("provider"),
        status__in=Lookup.OPEN,
    )


def _erase_crops(keys: list[int]) -> int:
    with transaction.atomic():
        count, unnamed = _erase_rows(keys)
    files.remove(unnamed)
    return count


def _erase_rows(keys: list[int]) -> tuple[int, set[str]]:
    """Erases these renderings, except those that a draft holds or a lookup needs by now.

    Returns how many, and the files that no row names any more.
    """
    own = Rendering.objects.filter(pk__in=keys)
    # Locks the pictures: of two sweeps of one picture, each would leave a shared file, and its bytes, to the other. `erase` locks
    # the picture first, too.
    images = Image.objects.filter(pk__in=own.values("image")).order_by("pk")
    tenants = dict(images.select_for_update(no_key=True, skip_locked=True).values_list("pk", "tenant"))
    locked = list(own.filter(image__in=tenants).select_for_update(skip_locked=True).values_list("pk", flat=True))
    erased = list(own.filter(~Exists(_open_lookups()), pk__in=locked).values_list("pk", "image", "file", "bytes"))
    own.filter(pk__in=[pk for pk, *_ in erased]).delete()
    named = files.in_rows({file for _, _, file, _ in erased})
    unnamed = {file: (tenants[image], size) for _, image, file, size in erased if file not in named}
    freed: Counter[UUID] = Counter()
    for tenant_id, size in unnamed.values():
        freed[tenant_id] += size
    for tenant_id in sorted(freed):
        usage.remove(tenant_id, images=0, bytes=freed[tenant_id])
    return len(erased), set(unnamed)
