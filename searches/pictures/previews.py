"""Reads pictures without storing them, for a quote.

A picture is judged as `storage` judges it: one that a submit would refuse is refused here, with the same words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

from accounts.models import Tenant
from providers.contract import PictureLimits
from searches.models import Image
from searches.pictures import isolation, usage
from searches.pictures.cropping import Crop


@dataclass(kw_only=True)
class Preview:
    """Holds a picture of which nothing is kept. `content`: the file of one that is not stored, until `wait` reads it."""

    tenant: Tenant
    image: Image
    crop: str
    fit: Mapping[str, PictureLimits]
    content: bytes = field(default=b"", repr=False)
    written_bytes: int = 0

    def wait(self) -> None:
        """Reads the picture. Then `image` has its pixels, and `crop` is in pixels. Raises `BadPicture` or `Busy`."""
        if self.content:
            crop = Crop.parse(self.crop)
            _, made = isolation.read(self.content, limits=self.fit, crop=crop, by=self.tenant.pk)
            contents = {
                id(each): len(each) for each in (made.original, *(each for _, each in made.renderings.values()))
            }
            self.image.pixels_sha256, self.crop = made.pixels_sha256, made.crop
            self.content, self.written_bytes = b"", sum(contents.values())

    def check_room(self) -> None:
        """Raises `TooManyImages` if the tenant may not store it.

        The renderings that a stored picture still lacks are not made here, so their bytes are not counted.
        """
        if self.written_bytes:
            usage.check(self.tenant, images=1, bytes=self.written_bytes)


def of_content(
    tenant: Tenant, content: bytes, *, fit: Mapping[str, PictureLimits], crop: str = ""
) -> nullcontext[Preview]:
    """Returns a preview of a picture that a tenant sent; one that is stored is not read again. Raises `BadPicture`."""
    isolation.check_size(content)
    sha256 = hashlib.sha256(content).hexdigest()
    image = Image.objects.for_tenant(tenant).filter(sha256=sha256).first()
    if image is not None:
        return of_image(image, fit=fit, crop=crop)
    image = Image(tenant=tenant, sha256=sha256, bytes=len(content))
    return nullcontext(Preview(tenant=tenant, image=image, crop=crop, fit=fit, content=content))


def of_image(image: Image, *, fit: Mapping[str, PictureLimits], crop: str = "") -> nullcontext[Preview]:
    """Returns a preview of a stored picture. Raises `BadCrop`."""
    in_pixels = str(Crop.parse(crop).in_pixels((image.width, image.height)))
    return nullcontext(Preview(tenant=image.tenant, image=image, crop=in_pixels, fit=fit))
