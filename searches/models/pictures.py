"""A tenant's pictures, and their copies that fit the providers."""

from __future__ import annotations

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import Tenant, TenantQuerySet


class Image(models.Model):
    """A tenant's picture, stored once by content: upright, and without metadata."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="images")
    sha256 = models.CharField(max_length=64, help_text="The digest of the file as it was sent.")
    pixels_sha256 = models.CharField(max_length=64, help_text="The digest of the decoded, upright pixels.")
    format = models.CharField(max_length=10)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    bytes = models.PositiveIntegerField(help_text="The size of the file as it was sent.")
    file = models.CharField(max_length=200, unique=True, help_text="The file's name in the storage.")
    file_bytes = models.PositiveIntegerField(default=0, help_text="The size of the file as it is stored.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    stored_at = models.DateTimeField(
        db_default=Now(), editable=False, help_text="When it was last uploaded by itself, not for a search."
    )

    objects = TenantQuerySet["Image"].as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=["tenant", "stored_at"], name="images_by_age"),
            # For operators, who know a picture by its hash and not whose it is.
            HashIndex(fields=["sha256"], name="images_by_hash"),
            HashIndex(fields=["pixels_sha256"], name="images_by_hash_of_pixels"),
        ]
        constraints = [models.UniqueConstraint(fields=["tenant", "sha256"], name="image_stored_once_per_tenant")]

    def __str__(self) -> str:
        return f"{self.format} {self.width}×{self.height}"


class PictureUsage(models.Model):
    """The number of a tenant's stored pictures, and the bytes of their files (`pictures.usage`)."""

    tenant = models.OneToOneField(Tenant, models.CASCADE, primary_key=True, related_name="picture_usage")
    images = models.PositiveIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.images} pictures, {self.bytes} bytes"


class Rendering(models.Model):
    """A picture fitted to one provider's limits, or made small for operators' lists (`pictures.thumbnails`). Its file may be the
    stored original.
    """

    image = models.ForeignKey(Image, models.CASCADE, related_name="renderings")
    provider = models.CharField(max_length=40)
    crop = models.CharField(
        max_length=40, blank=True, help_text="The crop of its searches; empty for the whole picture."
    )
    media_type = models.CharField(max_length=20)
    bytes = models.PositiveIntegerField()
    file = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image", "provider", "crop"], name="one_rendering_per_provider_and_crop")
        ]

    def __str__(self) -> str:
        return f"{self.media_type} for {self.provider}"
