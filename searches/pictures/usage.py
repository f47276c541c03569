"""Counts the pictures that a tenant has stored and their bytes, as they were sent, and bounds both.

The row of a tenant is the last one that a transaction locks, and is locked until its end: however many pictures come at once, the
bound is exact, and nobody waits in a circle.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.functions import Greatest

from accounts.models import Tenant
from searches.models import Image, PictureUsage

ADD = """
INSERT INTO searches_pictureusage AS usage (tenant_id, images, bytes)
SELECT %(tenant)s, 1, %(bytes)s WHERE 1 <= %(most)s AND %(bytes)s <= %(most_bytes)s
ON CONFLICT (tenant_id) DO UPDATE SET images = usage.images + 1, bytes = usage.bytes + excluded.bytes
    WHERE usage.images < %(most)s AND usage.bytes + excluded.bytes <= %(most_bytes)s
"""
MEND = "delete some that no search names, or wait until some expire."


class TooMany(Exception):
    """The tenant may store no picture beside those that it has, or not one of this size. The message says the bound."""


def add(tenant: Tenant, image: Image) -> None:
    """Counts a picture whose row is new in this transaction. Raises `TooMany`."""
    most, most_bytes = tenant.limit("most_images"), tenant.limit("most_image_bytes")
    values: dict[str, Any] = {"tenant": tenant.pk, "bytes": image.bytes, "most": most, "most_bytes": most_bytes}
    with connection.cursor() as cursor:
        cursor.execute(ADD, values)
        if cursor.rowcount:
            return
    stored = PictureUsage.objects.filter(tenant=tenant).values_list("images", flat=True).first() or 0
    if stored >= most:
        raise TooMany(f"You may store {most:,} pictures; {MEND}")
    raise TooMany(f"All pictures that you store may have {most_bytes:,} bytes together; {MEND}")


def remove(tenant_id: UUID, image_bytes: int) -> None:
    PictureUsage.objects.filter(tenant=tenant_id).update(
        images=Greatest(F("images") - 1, 0), bytes=Greatest(F("bytes") - image_bytes, 0)
    )
