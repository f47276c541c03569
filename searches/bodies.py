"""How a body is read: JSON without its loose ends, or a form with a picture as a file and the rest as JSON.

Python's reader takes what RFC 8259 leaves open or forbids (a name twice, NaN, 1e999); each would mean something that the
caller did not say, so each is refused. Both forms come out as one mapping, for one serializer.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError
from rest_framework.parsers import BaseParser, MultiPartParser

MOST_DIGITS = 1000


class StrictJSON(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        return loads(stream.read(), what="The body")


class PictureForm(MultiPartParser):
    """`image`: the file. `request`: everything else, as JSON."""

    def parse(self, stream: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        form: Any = super().parse(stream, media_type, context)
        refuse_wrong_parts(form.data, form.files)
        body = request_part(form.data, form.files)
        if "image" in form.files:
            body["image"] = form.files["image"]
        return body


def refuse_wrong_parts(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> None:
    errors: dict[str, list[ErrorDetail]] = {}
    for name in sorted({*texts, *files} - {"image", "request"}):
        errors[name] = [ErrorDetail("Unknown part; send a file `image` and JSON in `request`.", code="unknown_field")]
    for name in ("image", "request"):
        if len(texts.getlist(name)) + len(files.getlist(name)) > 1:
            errors[name] = [ErrorDetail("Sent more than once; send it once.", code="repeated_field")]
    if "image" in texts:
        errors["image"] = [ErrorDetail("Send it as a file: a part with a filename.", code="not_a_file")]
    if errors:
        raise ValidationError(errors)


def request_part(texts: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> dict[str, Any]:
    # A browser that gives the part a type sends it as a file.
    file = files.get("request")
    text = file.read() if file else texts.get("request", "{}").encode()
    body = loads(text, what="The part `request`")
    if not isinstance(body, dict):
        raise ValidationError({"request": [ErrorDetail("Must be a JSON object.", code="invalid")]})
    if "image" in body and "image" in files:
        detail = "Sent twice, as a file and in `request`; send one of them."
        raise ValidationError({"image": [ErrorDetail(detail, code="repeated_field")]})
    return body


def loads(text: bytes, *, what: str) -> Any:
    """Raises `ParseError`, in a sentence that begins with `what`."""
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=without_repeats,
            parse_int=short,
            parse_float=finite,
            parse_constant=finite,
        )
    except Unacceptable as error:
        raise ParseError(f"{what} is not taken: {error}.") from None
    except UnicodeDecodeError as error:
        raise ParseError(f"{what} must be UTF-8; byte {error.start} is not.") from None
    except RecursionError:
        raise ParseError(f"{what} is nested too deeply; nothing that is taken here is.") from None
    except ValueError as error:
        raise ParseError(f"{what} is not JSON: {error}.") from None


class Unacceptable(ValueError):
    pass


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Unacceptable(f"the name {repeated[:100]!r} stands in one object twice; give it once")
    return members


def short(text: str) -> int:
    """Python refuses to read thousands of digits, in words for its programmers."""
    if len(text) > MOST_DIGITS:
        raise Unacceptable(
            f"{text[:20]}… has {len(text)} digits; nothing that is taken here has more than {MOST_DIGITS}"
        )
    return int(text)


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Unacceptable(f"{text[:20]} is no number that JSON can hold; give a finite one")
    return number
