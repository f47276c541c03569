"""What a caller sends, checked for its shape: every wrong field at once, each with its mend. Whether it makes sense
(a credential that exists, credits that suffice) is for `intake`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from accounts.models import MOST_MAX_AGE
from accounts.net import outbound
from accounts.web.exceptions import PayloadTooLarge
from accounts.web.pagination import PageQuery
from accounts.web.query_params import Instant
from accounts.web.strict_fields import (
    MOST_ERRORS,
    StrictChoice,
    StrictDict,
    StrictInteger,
    StrictList,
    StrictNumber,
    StrictSerializer,
    StrictText,
    StrictUUID,
    Wrong,
    merged,
)
from providers import registry
from providers.contract import Adapter
from searches.api.json_text import Encoded
from searches.models import Status
from searches.orders.submission import LookupOrder, Order
from searches.pictures import Crop

SOURCES = tuple(sorted(registry.ADAPTERS))
METADATA_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}")
METADATA_KEY_FORM = "1 to 40 letters, digits, dots, dashes and underscores"
MOST_METADATA = 20
FORMATS = "JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF of at most 20 MB and 50 megapixels"


def wrong(detail: str, code: str) -> list[ErrorDetail]:
    return [ErrorDetail(detail, code=code)]


@dataclass(frozen=True, kw_only=True)
class GivenPicture:
    """Either its bytes, or where it lies, or the id of one that is stored."""

    content: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    id: UUID | None = None


class Base64(serializers.CharField):
    """Reads a text, or one that was left in its body: then nothing is copied but the picture."""

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
            raise PayloadTooLarge(
                f"The picture has more than {settings.PICTURE_MAX_BYTES:,} bytes; send at most so many."
            )
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            detail = "Not base64; send the standard alphabet (+ and /) with padding and without line breaks."
            raise ValidationError(detail, code="broken_base64") from None

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """A text's own checks (blank, its validators) do not fit bytes."""
        is_empty, value = self.validate_empty_values(data)
        return value if is_empty else self.to_internal_value(value)


@extend_schema_field({"type": "string", "format": "uri", "maxLength": outbound.LONGEST_URL})
class PictureURL(StrictText):
    def to_internal_value(self, data: Any) -> str:
        url = super().to_internal_value(data)
        try:
            outbound.parsed(url)
        except outbound.BadAddress as error:
            raise ValidationError(error.detail, code=error.code) from None
        return url


class PictureGiven(StrictSerializer):
    """The picture: its file as base64, or where it lies on the web, or the id of one that is stored. Exactly one of them."""

    base64 = Base64(required=False, help_text=f"{FORMATS}, in standard base64.")
    url = PictureURL(
        required=False,
        help_text="Fetched once, while this request is handled, by http or https, from the public internet; redirects are "
        "not followed.",
    )
    id = StrictUUID(required=False, help_text="Of a picture that was stored before, here or by a search.")

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


OUT_OF_PICTURE: dict[str, Any] = {"min_value": "Must be from 0 to 1.", "max_value": "Must be from 0 to 1."}
NO_LENGTH: dict[str, Any] = {"min_value": "Must be from 0.000001 to 1.", "max_value": "Must be from 0.000001 to 1."}


class CropGiven(StrictSerializer):
    """The part of the picture to search with: fractions of the upright picture, from its left upper corner."""

    example: ClassVar[dict[str, Any]] = {"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.5}

    x = StrictNumber(min_value=0, max_value=1, error_messages=OUT_OF_PICTURE, help_text="Where the left edge is.")
    y = StrictNumber(min_value=0, max_value=1, error_messages=OUT_OF_PICTURE, help_text="Where the upper edge is.")
    width = StrictNumber(
        min_value=0.000001, max_value=1, error_messages=NO_LENGTH, help_text="Up to the right edge: at most 1 - x."
    )
    height = StrictNumber(
        min_value=0.000001, max_value=1, error_messages=NO_LENGTH, help_text="Up to the lower edge: at most 1 - y."
    )

    def disagreements(self, values: dict[str, float]) -> Wrong:
        return {
            length: wrong(f"Reaches out of the picture: {start} + {length} must be at most 1.", "outside")
            for start, length in (("x", "width"), ("y", "height"))
            if values.get(start, 0) + values.get(length, 0) > 1.000001
        }


class LookupRequest(StrictSerializer):
    """One source's part of a search."""

    source = StrictChoice(SOURCES, help_text="What to search.")  # type: ignore[assignment]  # a field, not DRF's
    parameters = StrictDict(default=dict, max_length=MOST_ERRORS, help_text="The source's own filters.")
    limit = StrictInteger(
        required=False, min_value=1, help_text="The most results wanted; without it, the source's default."
    )
    offset = StrictInteger(
        default=0,
        min_value=0,
        max_value=1_000_000,
        help_text="Results to pass over, a multiple of the page size that `limit` leads to: "
        "continues where an earlier lookup stopped.",
    )
    credential = StrictText(
        required=False,
        max_length=100,
        help_text="Id or label of the credential to use; the default one otherwise. `default` is a label like others: it names "
        "the key that is labelled so, which need not be the default.",
    )

    def sound(self, data: dict[str, Any]) -> tuple[dict[str, Any], Wrong]:
        values, wrong = super().sound(data)
        if data.get("source") in SOURCES:
            wrong = merged(wrong, errors_of_source(registry.adapter(data["source"]), data))
        return values, wrong

    def to_internal_value(self, data: Any) -> LookupOrder:
        return order_of(super().to_internal_value(data))


PARAMETERS = {source: adapter.parameters() for source, adapter in registry.ADAPTERS.items()}


def errors_of_source(adapter: Adapter, data: dict[str, Any]) -> dict[str, Any]:
    """What this source would not be asked."""
    errors: dict[str, Any] = {}
    if isinstance(given := data.get("parameters", {}), dict) and len(given) <= MOST_ERRORS:
        try:
            PARAMETERS[adapter.source].read(given)
        except ValidationError as error:
            errors["parameters"] = error.detail
    limit = data.get("limit")
    if adapter.max_results is None and limit is not None:
        errors["limit"] = wrong("This source takes no limit; leave it out.", "not_taken")
    elif type(limit) is int and adapter.max_results is not None and limit > adapter.max_results:
        errors["limit"] = wrong(f"Must be from 1 to {adapter.max_results}.", "max_value")
    if not adapter.paged and type(offset := data.get("offset")) is int and offset > 0:
        errors["offset"] = wrong("This source gives its first results only; leave offset out.", "not_taken")
    return errors


def order_of(values: dict[str, Any]) -> LookupOrder:
    limit = values.get("limit", registry.adapter(values["source"]).default_limit)
    return LookupOrder(
        source=values["source"],
        parameters=values["parameters"],
        limit=limit,
        offset=values["offset"],
        credential=values.get("credential"),
    )


class Metadata(StrictDict):
    """Short texts under names of the caller's choice."""

    child = StrictText(max_length=500, allow_blank=True, trim_whitespace=False)
    default_error_messages = {"not_a_dict": "Must be an object of texts."}

    def check_name(self, name: Any) -> None:
        if not METADATA_KEY.fullmatch(name):
            raise ValidationError(f"A name must be {METADATA_KEY_FORM}.", code="invalid_name")


class OrderRequest(StrictSerializer):
    """Everything about a search but its picture."""

    lookups = StrictList(
        child=LookupRequest(),
        min_length=1,
        max_length=20,
        error_messages={
            "required": "Give 1 to 20 lookups.",
            "not_a_list": "Must be a list of 1 to 20 lookups.",
            "min_length": "Give 1 to 20 lookups.",
            "max_length": "Give 1 to 20 lookups.",
        },
    )
    crop = CropGiven(required=False)
    priority = StrictInteger(
        default=0,
        min_value=-10,
        max_value=10,
        help_text="Among the tenant's own lookups: those of a higher priority go first.",
    )
    expires_in = StrictInteger(
        default=86_400,
        min_value=1,
        max_value=604_800,
        help_text="Seconds; lookups that have not started by then end as expired, at no cost.",
    )
    max_age = StrictInteger(
        required=False,
        min_value=0,
        max_value=MOST_MAX_AGE,
        help_text="Seconds: an equal lookup of yours that succeeded within them answers at once, and one that is in progress "
        "is joined, at no cost; 0: the provider is asked. Without it, as is set for you: an hour, if nothing else.",
    )
    metadata = Metadata(
        default=dict,
        max_length=MOST_METADATA,
        error_messages={"max_length": f"Holds at most {MOST_METADATA} texts."},
        help_text=f"At most {MOST_METADATA} texts of at most 500 characters; names of {METADATA_KEY_FORM}.",
    )


class SearchRequest(OrderRequest):
    """A search to make."""

    image = PictureGiven()


SEARCH, LOOKUP = SearchRequest(), LookupRequest()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Holds what a create asks for as far as it can be read, and what is wrong with the rest.

    `numbers` tells where in the request each lookup of the order is: those without a source are not in the order, and of the
    others what is wrong is left out.
    """

    order: Order
    numbers: list[int]
    picture: GivenPicture | None
    wrong: Wrong


def asked(data: Any) -> Asked:
    """Raises `ValidationError` for what is no object."""
    if not isinstance(data, dict):
        SEARCH.read(data)
    values, wrong = SEARCH.sound(data)
    lookups = values.get("lookups")
    found = dict(enumerate(lookups)) if lookups else remains(data.get("lookups"), wrong["lookups"])
    order = Order(
        lookups=list(found.values()),
        crop=str(Crop.of(values["crop"])) if "crop" in values else "",
        priority=values.get("priority", 0),
        expires_in=values.get("expires_in", 0),
        max_age=values.get("max_age"),
        metadata=values.get("metadata", {}),
    )
    return Asked(order=order, numbers=list(found), picture=values.get("image"), wrong=wrong)


def remains(lookups: Any, wrong: Any) -> dict[int, LookupOrder]:
    """Returns what is right of each lookup, by its number."""
    if not isinstance(wrong, Mapping):
        return {}
    found = {}
    for number, given in enumerate(lookups):
        if isinstance(given, dict) and given.get("source") in SOURCES:
            names = set(wrong.get(number, ()))
            # Without the limit that was meant, an offset says nothing.
            without = names | {"offset"} if "limit" in names else names
            found[number] = LOOKUP.read({name: value for name, value in given.items() if name not in without})
    return found


@extend_schema_field({"type": "string", "format": "binary"})
class PictureFile(serializers.FileField):
    """A part of a form, for the OpenAPI document: `bodies` reads it."""


# Asks for what every source and key takes.
ORDER: dict[str, Any] = {
    "lookups": [
        {
            "source": "tiktok-creators",
            "limit": 40,
            "parameters": {"followers_count": {"min": 13000}, "language": "en", "has_email": True},
        }
    ],
    "metadata": {"campaign": "spring"},
}


class OrderInForm(OrderRequest):
    """Everything about a search but its picture; or that too, if no file is sent."""

    example: ClassVar[dict[str, Any]] = ORDER

    image = PictureGiven(required=False, help_text="Instead of the file.")


class SearchForm(serializers.Serializer[Any]):
    """The picture as a file, everything else as JSON."""

    image = PictureFile(required=False, help_text=f"{FORMATS}. Left out only where `request` names a picture.")
    request = OrderInForm()


class PictureSent(PictureGiven):
    """The picture itself: a file, or its base64, or where it lies on the web."""

    id = None  # type: ignore[assignment]  # how DRF takes a field back


class ImageRequest(StrictSerializer):
    """A picture to store."""

    image = PictureSent()


class ImageForm(serializers.Serializer[Any]):
    """The picture as a file."""

    image = PictureFile(help_text=f"{FORMATS}.")


IMAGE = ImageRequest()


def sent(data: Any) -> tuple[GivenPicture | None, Wrong]:
    """The picture to store, if it can be read, and what is wrong. Raises `ValidationError` for what is no object."""
    if not isinstance(data, dict):
        IMAGE.read(data)
    values, wrong = IMAGE.sound(data)
    return values.get("image"), wrong


class SearchQuery(PageQuery):
    status = StrictChoice(Status.values, required=False)
    source = StrictChoice(  # type: ignore[assignment]
        SOURCES, required=False, help_text="Searches that have a lookup of this source."
    )
    created_after = Instant(required=False)
    created_before = Instant(required=False)

    def takes(self, name: str) -> bool:
        return super().takes(name) or name.startswith("metadata.")

    def to_internal_value(self, data: Any) -> Any:
        wanted = {name: text for name, text in data.items() if name.startswith("metadata.")}
        errors = {
            name: wrong("Holds a null character; leave it out.", "null_character")
            for name, text in wanted.items()
            if "\0" in name + text
        }
        if len(wanted) > MOST_METADATA:
            errors = {"metadata": wrong(f"At most {MOST_METADATA} of them are looked for at once.", "too_many")}
        values = sound_values(super().to_internal_value, data, errors)
        metadata = {name.removeprefix("metadata."): text for name, text in wanted.items()}
        return values | {"metadata": metadata}


def sound_values(read: Callable[[Any], Any], data: Any, errors: Wrong) -> dict[str, Any]:
    """Returns what `read` makes of the data. Raises `ValidationError` with its errors and these."""
    try:
        values = cast(dict[str, Any], read(data))
    except ValidationError as error:
        raise ValidationError(merged(errors, error.detail)) from None
    if errors:
        raise ValidationError(errors)
    return values


class ImageQuery(PageQuery):
    unused = StrictChoice(
        ("true", "false"),
        required=False,
        help_text="`true`: only those that no search names; `false`: only the others.",
    )
    created_after = Instant(required=False)
    created_before = Instant(required=False)


class ResultQuery(PageQuery):
    lookup = serializers.UUIDField(required=False, help_text="Only this lookup's.")
    source = StrictChoice(SOURCES, required=False)  # type: ignore[assignment]
    type = StrictChoice(sorted({adapter.result_type for adapter in registry.ADAPTERS.values()}), required=False)
    order = StrictChoice(
        ("rank", "arrival"),
        default="rank",
        help_text="`rank`: by lookup and rank. `arrival`: as they came; nothing is skipped while more arrive, and "
        "`next_cursor` of the last page goes on with what comes later.",
    )
    include = StrictChoice(("raw",), required=False, help_text="`raw`: the provider's own object, untouched.")
