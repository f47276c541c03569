"""Counts the pictures that a tenant has stored and the bytes of their files, and bounds both.

A picture's files are the picture as it is stored and its renderings for providers, whole or cropped. They may be many times as
large as the file that was sent.

A transaction locks the tenant's row last, and until its end. So the bound is exact however many pictures come at once, and
there is no deadlock.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.functions import Greatest

from accounts.models import Tenant
from searches.models import PictureUsage

ADD = """
INSERT INTO searches_pictureusage AS usage (tenant_id, images, bytes)
SELECT %(tenant)s, %(images)s, %(bytes)s WHERE %(images)s <= %(most)s AND %(bytes)s <= %(most_bytes)s
ON CONFLICT (tenant_id) DO UPDATE SET images = usage.images + excluded.images, bytes = usage.bytes + excluded.bytes
    WHERE (excluded.images = 0 OR usage.images + excluded.images <= %(most)s)
    AND usage.bytes + excluded.bytes <= %(most_bytes)s
"""
MEND = "delete some that no search names, or wait until some expire."


class TooManyImages(Exception):
    """The tenant may store no more pictures, or no more bytes. The message names the bound."""


def add(tenant: Tenant, *, images: int, bytes: int) -> None:
    """Counts pictures whose rows are new in this transaction, and the bytes of files that are. Raises `TooManyImages`."""
    most, most_bytes = tenant.limit("most_images"), tenant.limit("most_image_bytes")
    counts = {"images": images, "bytes": bytes, "most": most, "most_bytes": most_bytes}
    with connection.cursor() as cursor:
        cursor.execute(ADD, {"tenant": tenant.pk, **counts})
        if cursor.rowcount:
            return
    stored = PictureUsage.objects.filter(tenant=tenant).values_list("images", flat=True).first() or 0
    if images and stored + images > most:
        raise TooManyImages(f"You may store {most:,} pictures; {MEND}")
    raise TooManyImages(
        f"All pictures that you store, and what is made of them for providers, may have {most_bytes:,} bytes together; {MEND}"
    )


def remove(tenant_id: UUID, *, images: int, bytes: int) -> None:
    """Subtracts pictures and bytes that were erased."""
    PictureUsage.objects.filter(tenant=tenant_id).update(
        images=Greatest(F("images") - images, 0), bytes=Greatest(F("bytes") - bytes, 0)
    )
