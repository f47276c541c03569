"""The fields by which a request brings a picture: base64 text, a URL, the id of a stored picture, or a file."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from accounts.net import public_addresses
from accounts.net.failures import BadAddress
from accounts.web.exceptions import PayloadTooLarge
from accounts.web.strict_fields import StrictSerializer, StrictText, StrictUUID
from searches.api.strict_json import Encoded

FORMATS = "JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF of at most 20 MB and 50 megapixels"


@dataclass(frozen=True, kw_only=True)
class GivenPicture:
    """The picture of a request: its bytes, or its URL, or the id of a stored one."""

    content: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    id: UUID | None = None


@extend_schema_field(
    {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        "minLength": 4,
        "maxLength": -(-settings.PICTURE_MAX_BYTES // 3) * 4,
    }
)
class Base64(serializers.CharField):
    """Decodes base64 text. Text that was left in its body (`Encoded`) is not copied; only the picture is."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str | Encoded):
            raise ValidationError("Must be a text in quotes.", code="invalid")
        if not data:
            self.fail("blank")
        text = data.encode("ascii", "replace") if isinstance(data, str) else data.text()
        if bytes(text[:5]) == b"data:":
            detail = "Send the base64 text alone, without the `data:…;base64,` before it."
            raise ValidationError(detail, code="data_uri")
        if len(text) // 4 * 3 > settings.PICTURE_MAX_BYTES + 2:
            most = f"{settings.PICTURE_MAX_BYTES:,}"
            raise PayloadTooLarge(f"The picture has more than {most} bytes; send at most so many.")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            detail = "Not base64; send the standard alphabet (+ and /) with padding and without line breaks."
            raise ValidationError(detail, code="broken_base64") from None

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """Skips the checks of a text field (blank, validators), which do not fit bytes."""
        is_empty, value = self.validate_empty_values(data)
        return value if is_empty else self.to_internal_value(value)


@extend_schema_field({"type": "string", "format": "uri", "maxLength": public_addresses.LONGEST_URL})
class PictureURL(StrictText):
    def to_internal_value(self, data: Any) -> str:
        url: str = super().to_internal_value(data)
        try:
            public_addresses.parse(url)
        except BadAddress as error:
            raise ValidationError(error.detail, code=error.code) from None
        return url


class PictureGiven(StrictSerializer):
    """The picture: its file as base64 text, its URL, or the id of a stored picture. Give exactly one of them."""

    number_of_fields: ClassVar[Mapping[str, int]] = {"minProperties": 1, "maxProperties": 1}

    base64 = Base64(required=False, help_text=f"{FORMATS}, in standard base64.")
    url = PictureURL(
        required=False,
        help_text="The http or https URL of a picture on the public internet. It is fetched once, while this request is "
        "handled. Redirects are not followed.",
    )
    id = StrictUUID(required=False, help_text="The id of a picture that was stored before, here or by a search.")

    default_error_messages = {
        "required": "Send a picture: the file `image` of a form, or "
        '{{"base64": "…"}}, {{"url": "https://…"}} or {{"id": "…"}}.',
    }

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, UploadedFile):
            return GivenPicture(content=data.read())
        given = super().to_internal_value(data)
        if len(given) != 1:
            raise ValidationError(f"Give exactly one of {', '.join(self.fields)}.", code="exactly_one")
        return GivenPicture(content=given.get("base64"), url=given.get("url"), id=given.get("id"))


@extend_schema_field({"type": "string", "format": "binary"})
class PictureFile(serializers.FileField):
    """A file of a form, for the OpenAPI document only. `parsers` reads it."""
