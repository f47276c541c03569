"""The two parsers of bodies: strict JSON, and a form with a picture as a file and the rest as JSON.

Both return one mapping, so that one serializer serves both. A body of too many bytes is refused before it is read
(`accounts.web.tenant_view`). JSON has a bound of its own while it arrives: a longer body whose start names no picture is not read
to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

from accounts.web.exceptions import PayloadTooLarge
from accounts.web.strict_fields import Wrong, merged
from searches.api import strict_json
from searches.api.exceptions import field_error

BROKEN_FORM = (
    "The form cannot be read; send multipart/form-data with a boundary of up to 200 ASCII characters in its Content-Type, "
    "short headers before each part, and each part as it is, without Content-Transfer-Encoding."
)
CUT_FORM = (
    "The form ends without its last boundary; send all of it, with the boundary of its Content-Type between the parts, "
    "and at the end with two dashes after it."
)
PIECE_BYTES = 1024 * 1024


class StrictJSON(BaseParser):
    """Parses JSON of at most 64 KB, and the base64 text of a picture beside that in views that take pictures."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        takes_pictures = bool(context and context["view"].takes_pictures)
        try:
            body = read(stream, takes_pictures=takes_pictures)
            return strict_json.loads_with_picture(body) if takes_pictures else strict_json.loads(body)
        except strict_json.TooLong as error:
            raise PayloadTooLarge(f"The body {error}.") from None
        except strict_json.UnreadableJSON as error:
            raise ParseError(f"The body {error}.") from None


def read(stream: Any, *, takes_pictures: bool) -> bytearray:
    """Reads a JSON body. Raises `TooLong` as soon as the bound is passed."""
    body = bytearray(stream.read(settings.JSON_MAX_BYTES + 1))
    if len(body) <= settings.JSON_MAX_BYTES:
        return body
    if not takes_pictures or not strict_json.ENCODED.search(body):
        raise strict_json.TooLong
    while piece := stream.read(PIECE_BYTES):
        body += piece
    return body


class Form(dict[str, Any]):
    """The values of a form. `wrong`: the errors of its parts; a wrong part is not among the values."""

    wrong: Wrong

    def with_parts(self, wrong: Wrong) -> Wrong:
        """Merges the errors of the parts into those of the values. Fields of a part that could not be read are left out."""
        about_image = {"image": wrong["image"]} if "image" in wrong else {}
        all_wrong: Wrong = merged(self.wrong, about_image if "request" in self.wrong else wrong)
        return all_wrong


class Remembered:
    """Reads a stream, and remembers the end of what it has read."""

    # A boundary has at most 200 characters. What follows it is no part of the form.
    BYTES = 1024

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.end = b""

    def read(self, size: int = -1) -> bytes:
        piece: bytes = self._stream.read(size)
        self.end = (self.end + piece[-self.BYTES :])[-self.BYTES :]
        return piece


class PictureForm(MultiPartParser):
    """Parses a form with the parts `image`, a file, and `request`, JSON with everything else."""

    def parse(self, stream: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        kind, semicolon, options = str(media_type).partition(";")
        boundary = parse_header_parameters(str(media_type))[1].get("boundary", "")
        body: Any = Remembered(stream)
        try:
            # Every byte is a character of Latin-1. Django would silently replace bytes that are not UTF-8.
            latin = {**(context or {}), "encoding": "latin-1"}
            form: Any = super().parse(body, f"{kind.lower()}{semicolon}{options}", latin)
        except (TooManyFieldsSent, TooManyFilesSent):
            raise ParseError("The form has too many parts; send a file `image` and JSON in `request`.") from None
        except RequestDataTooBig:
            raise PayloadTooLarge(too_long()) from None
        except ParseError:
            # The parser's own message names its internals.
            raise ParseError(BROKEN_FORM) from None
        if f"--{boundary}--".encode("latin-1") not in body.end:
            # Django takes such a form for one that ends here.
            raise ParseError(CUT_FORM)
        return form_of(form.data, form.files)


def form_of(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> Form:
    wrong = wrong_parts(texts, files)
    form = Form()
    try:
        form.update(request_part(texts, files))
    except strict_json.TooLong:
        raise PayloadTooLarge(too_long()) from None
    except strict_json.UnreadableJSON as error:
        wrong.setdefault("request", field_error(f"{str(error)[0].upper()}{str(error)[1:]}.", "malformed"))
    if "image" in form and "image" in files:
        wrong["image"] = field_error("Sent twice, as a file and in `request`; send one of them.", "repeated_field")
    if "image" in files:
        form["image"] = files["image"]
    form.wrong = wrong
    return form


def wrong_parts(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> Wrong:
    unknown = field_error("Unknown part; send a file `image` and JSON in `request`.", "unknown_field")
    wrong: Wrong = dict.fromkeys(sorted({*texts, *files} - {"image", "request"}), unknown)
    for name in ("image", "request"):
        if len(texts.getlist(name)) + len(files.getlist(name)) > 1:
            wrong[name] = field_error("Sent more than once; send it once.", "repeated_field")
    if "image" in texts:
        wrong["image"] = field_error("Send it as a file: a part with a filename.", "not_a_file")
    return wrong


def request_part(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> dict[str, Any]:
    # A browser sends a part with a content type as a file.
    file = files.get("request")
    text = file.read(settings.JSON_MAX_BYTES + 1) if file else texts.get("request", "{}").encode("latin-1")
    body = strict_json.loads(text)
    if not isinstance(body, dict):
        raise strict_json.UnreadableJSON("must be a JSON object")
    return body


def too_long() -> str:
    most = f"{settings.JSON_MAX_BYTES:,}"
    return f"The part `request` holds more than the {most} bytes of JSON that are taken; send less."
