"""How a body is read: as JSON, or as a form with a picture as a file and the rest as JSON. Both come out as one mapping, for
one serializer.

A body is refused by its length before it is read (`accounts.web.tenant_view`). JSON is held to its own bound while it
arrives: where its beginning shows no picture, no more of it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import ErrorDetail, ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from accounts.web.exceptions import PayloadTooLarge
from accounts.web.strict_fields import Wrong, merged
from searches.api import json_text

BROKEN_FORM = (
    "The form cannot be read; send multipart/form-data with a boundary of up to 200 ASCII characters in its Content-Type, "
    "short headers before each part, and each part as it is, without Content-Transfer-Encoding."
)
PIECE_BYTES = 1024 * 1024


class StrictJSON(BaseParser):
    """JSON of at most 64 KB. Where the view takes pictures, one may come with it in base64."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        takes_pictures = bool(context and context["view"].takes_pictures)
        try:
            body = read(stream, takes_pictures=takes_pictures)
            return json_text.loads_with_picture(body) if takes_pictures else json_text.loads(body)
        except json_text.TooLong as error:
            raise PayloadTooLarge(f"The body {error}.") from None
        except json_text.UnreadableJSON as error:
            raise ParseError(f"The body {error}.") from None


def read(stream: Any, *, takes_pictures: bool) -> bytearray:
    """Raises `TooLong` as soon as it is."""
    body = bytearray(stream.read(settings.JSON_MAX_BYTES + 1))
    if len(body) <= settings.JSON_MAX_BYTES:
        return body
    if not takes_pictures or not json_text.ENCODED.search(body):
        raise json_text.TooLong
    while piece := stream.read(PIECE_BYTES):
        body += piece
    return body


class Form(dict[str, Any]):
    """Holds what a form says. `wrong`: what is wrong with its parts; a part that is, is not among the values."""

    wrong: Wrong

    def with_parts(self, wrong: Wrong) -> Wrong:
        """`wrong` is what the values were found to have. Nothing is said of fields of a part that could not be read."""
        told = {"image": wrong["image"]} if "image" in wrong else {}
        all_wrong: Wrong = merged(self.wrong, told if "request" in self.wrong else wrong)
        return all_wrong


class PictureForm(MultiPartParser):
    """`image`: the file. `request`: everything else, as JSON."""

    def parse(self, stream: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        try:
            # In Latin-1 every byte is a sign: Django would replace what is not UTF-8, without a word.
            form: Any = super().parse(stream, media_type, {**(context or {}), "encoding": "latin-1"})
        except (TooManyFieldsSent, TooManyFilesSent):
            raise ParseError("The form has too many parts; send a file `image` and JSON in `request`.") from None
        except RequestDataTooBig:
            raise PayloadTooLarge(too_long()) from None
        except ParseError:
            # The parser's own words name its inner parts.
            raise ParseError(BROKEN_FORM) from None
        return form_of(form.data, form.files)


def form_of(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> Form:
    wrong = wrong_parts(texts, files)
    form = Form()
    try:
        form.update(request_part(texts, files))
    except json_text.TooLong:
        raise PayloadTooLarge(too_long()) from None
    except json_text.UnreadableJSON as error:
        wrong.setdefault("request", [ErrorDetail(f"{str(error)[0].upper()}{str(error)[1:]}.", code="malformed")])
    if "image" in form and "image" in files:
        detail = "Sent twice, as a file and in `request`; send one of them."
        wrong["image"] = [ErrorDetail(detail, code="repeated_field")]
    if "image" in files:
        form["image"] = files["image"]
    form.wrong = wrong
    return form


def wrong_parts(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> Wrong:
    wrong: Wrong = {}
    for name in sorted({*texts, *files} - {"image", "request"}):
        detail = "Unknown part; send a file `image` and JSON in `request`."
        wrong[name] = [ErrorDetail(detail, code="unknown_field")]
    for name in ("image", "request"):
        if len(texts.getlist(name)) + len(files.getlist(name)) > 1:
            wrong[name] = [ErrorDetail("Sent more than once; send it once.", code="repeated_field")]
    if "image" in texts:
        wrong["image"] = [ErrorDetail("Send it as a file: a part with a filename.", code="not_a_file")]
    return wrong


def request_part(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> dict[str, Any]:
    # A browser that gives the part a type sends it as a file.
    file = files.get("request")
    text = file.read(settings.JSON_MAX_BYTES + 1) if file else texts.get("request", "{}").encode("latin-1")
    body = json_text.loads(text)
    if not isinstance(body, dict):
        raise json_text.UnreadableJSON("must be a JSON object")
    return body


def too_long() -> str:
    return (
        f"The part `request` holds more than the {settings.JSON_MAX_BYTES:,} bytes of JSON that are taken; send less."
    )
