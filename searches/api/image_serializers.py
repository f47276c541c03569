"""Pictures that are stored by themselves: how one is sent, and how a tenant reads it."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, Max, OuterRef, QuerySet, Subquery
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.web.strict_fields import StrictSerializer, Wrong
from searches.api.picture_fields import FORMATS, GivenPicture, PictureFile, PictureGiven
from searches.models import Image, Search
from searches.representations import ImageSerializer


class StoredImageSerializer(ImageSerializer):
    """A stored picture, and the time of its erasure."""

    expires_at = serializers.SerializerMethodField()

    class Meta(ImageSerializer.Meta):
        fields = (*ImageSerializer.Meta.fields, "created_at", "expires_at")
        read_only_fields = fields

    @extend_schema_field(
        serializers.DateTimeField(
            allow_null=True,
            help_text="The time at which the picture is erased, unless it is used or stored again before. Null while an open "
            "search needs it.",
        )
    )
    def get_expires_at(self, image: Any) -> str | None:
        """Returns when the picture will be erased, from what `with_use` has annotated."""
        if image.needed:
            return None
        last = max(filter(None, (image.stored_at, image.last_needed_at)))
        expires_at = last + self.context["retention"]
        return serializers.DateTimeField().to_representation(expires_at)


def with_use(images: QuerySet[Image]) -> QuerySet[Image]:
    """Annotates `needed`: whether an open search names the picture, and `last_needed_at`: when the last search that did ended."""
    naming = Search.objects.filter(image=OuterRef("pk")).order_by()
    ended = naming.values("image").annotate(last=Max("finished_at")).values("last")
    return images.annotate(needed=Exists(naming.filter(finished_at=None)), last_needed_at=Subquery(ended))


class PictureSent(PictureGiven):
    """The picture: its file, its base64 text, or its URL."""

    id: Any = None  # how DRF takes a field back


class ImageRequest(StrictSerializer):
    """A picture to store."""

    image = PictureSent()


class ImageForm(StrictSerializer):
    """The picture as a file."""

    image = PictureFile(help_text=f"{FORMATS}.")


IMAGE = ImageRequest()


def parsed_image(data: Any) -> tuple[GivenPicture | None, Wrong]:
    """Returns the picture to store, if it can be read, and the errors. Raises `ValidationError` for what is no object."""
    if not isinstance(data, dict):
        IMAGE.read(data)
    values, wrong = IMAGE.sound(data)
    return values.get("image"), wrong
