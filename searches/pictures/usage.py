"""Counts the pictures that a tenant has stored and the bytes of their files, and bounds both.

A picture's files are the picture as it is stored and its renderings for providers, whole or cropped. They may be many times as
large as the file that was sent.

A transaction locks the tenant's row last, and until its end. So the bound is exact however many pictures come at once, and
there is no deadlock.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.functions import Greatest

from accounts.models import Tenant
from searches.models import PictureUsage

FITS = """
(%(images)s = 0 OR usage.images + %(images)s <= %(most)s) AND usage.bytes + %(bytes)s <= %(most_bytes)s
"""
ADD = f"""
INSERT INTO searches_pictureusage AS usage (tenant_id, images, bytes)
SELECT %(tenant)s, %(images)s, %(bytes)s FROM (VALUES (0, 0)) AS usage (images, bytes) WHERE {FITS}
ON CONFLICT (tenant_id) DO UPDATE SET images = usage.images + excluded.images, bytes = usage.bytes + excluded.bytes
    WHERE {FITS}
"""
LOOK = f"""
SELECT {FITS} FROM (
    SELECT coalesce(max(images), 0) AS images, coalesce(max(bytes), 0) AS bytes FROM searches_pictureusage
    WHERE tenant_id = %(tenant)s
) AS usage
"""
MEND = "delete some that no search names, or wait until some expire."


class TooManyImages(Exception):
    """The tenant may store no more pictures, or no more bytes. The message names the bound."""


def add(tenant: Tenant, *, images: int, bytes: int) -> None:
    """Counts pictures whose rows are new in this transaction, and the bytes of files that are. Raises `TooManyImages`."""
    with connection.cursor() as cursor:
        cursor.execute(ADD, _counts(tenant, images=images, bytes=bytes))
        if not cursor.rowcount:
            raise _too_many(tenant, images=images)


def check(tenant: Tenant, *, images: int, bytes: int) -> None:
    """Checks whether so much more may be stored, without a lock, and counts nothing. Raises `TooManyImages`."""
    with connection.cursor() as cursor:
        cursor.execute(LOOK, _counts(tenant, images=images, bytes=bytes))
        [fits] = cursor.fetchone()
    if not fits:
        raise _too_many(tenant, images=images)


def _counts(tenant: Tenant, *, images: int, bytes: int) -> dict[str, Any]:
    most, most_bytes = tenant.limit("most_images"), tenant.limit("most_image_bytes")
    return {"tenant": tenant.pk, "images": images, "bytes": bytes, "most": most, "most_bytes": most_bytes}


def _too_many(tenant: Tenant, *, images: int) -> TooManyImages:
    most, most_bytes = tenant.limit("most_images"), tenant.limit("most_image_bytes")
    stored = PictureUsage.objects.filter(tenant=tenant).values_list("images", flat=True).first() or 0
    if images and stored + images > most:
        return TooManyImages(f"You may store {most:,} pictures; {MEND}")
    return TooManyImages(
        f"All pictures that you store, and what is made of them for providers, may have {most_bytes:,} bytes together; {MEND}"
    )


def remove(tenant_id: UUID, *, images: int, bytes: int) -> None:
    """Subtracts pictures and bytes that were erased."""
    PictureUsage.objects.filter(tenant=tenant_id).update(
        images=Greatest(F("images") - images, 0), bytes=Greatest(F("bytes") - bytes, 0)
    )
