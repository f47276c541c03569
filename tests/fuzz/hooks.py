"""Tells schemathesis what it cannot read from the document. It imports this module itself (`schemathesis.toml`)."""

from __future__ import annotations

import itertools
import json
import os
import re
import zlib
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

import schemathesis
from schemathesis import Case, Response
from schemathesis.core.failures import Failure
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

# Why a file is no picture that is taken.
PICTURE_CODES = (
    *(
        "empty",
        "not_a_picture",
        "unreadable",
        "truncated",
        "format_not_taken",
        "too_costly",
        "too_many_pixels",
        "polyglot",
    ),
)
# Rules that no schema can state: the code of the error of a field, and why. A request that breaks one of them fits its schema.
BEYOND_SCHEMAS = {
    "invalid_cursor": "A cursor is what a list has answered, and of that list alone.",
    "not_later": "Two times are compared.",
    "part_of_a_day": "Which time begins a UTC day depends on its offset.",
    "label_taken": "Another credential has the label.",
    "repeated_url": "Another endpoint has the URL.",
    "does_not_exist": "An id or a label names a row.",
    "outside": "Two numbers of a crop are added.",
    "too_small": "A crop is compared with its picture.",
    "bad_offset": "An offset is compared with the limit.",
    "min_above_max": "Two numbers are compared.",
    "past": "A time is compared with the present.",
    "always_one": "One credential is always the default.",
    "invalid_name": "The document has the form of names of metadata in words.",
    "repeated": "The names of groups are one text.",
    "not_of_a_test_key": "The mode and the caps of an API key are compared.",
    "bad_network": "Networks are read by rules of their own.",
    **dict.fromkeys(PICTURE_CODES, "The bytes of a picture are read."),
    "null_characters_not_allowed": "PostgreSQL stores no U+0000. A pattern that says so would hide those that say more.",
    "bad_address": "Hosts and addresses are checked by rules of their own.",
    "port_not_taken": "The ports that are asked are a setting.",
    "dns_failed": "The name of the server is asked for.",
    "dns_unavailable": "The name of the server is asked for.",
}
# Seconds that a request may ask to wait: a run has thousands.
LONGEST_WAIT = 1
# Of the cases that combine the values of an operation's parameters, one in so many is sent.
ONE_IN = int(os.environ.get("FUZZ_ONE_IN", "1"))
# The API key of the run, which must not revoke or change itself; and an id that nothing has.
KEY_ID, NO_ID = os.environ.get("FUZZ_KEY_ID", ""), "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c0ff"
# Most keys that are generated are the same, and the second request with one is answered without being looked at.
KEY, numbers = re.compile(r"[\x21-\x7e]{1,200}"), itertools.count()
# The document is a text, and has this for the bytes of a picture (`searches.api.examples`).
FILE = "the bytes of picture.jpg"
PICTURE = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR42mMUsfmwhcGCaQuDBQMDAwAcLgMcYxXBmwAAAABJRU5ErkJggg=="
)
# A name that no server ever has (RFC 6761): no picture is fetched from anywhere.
NOWHERE = "nowhere.invalid"


@schemathesis.hook
def filter_case(context: Any, case: Case[Any]) -> bool:
    if ONE_IN == 1 or case.meta is None or case.meta.phase.name != TestPhase.COVERAGE:
        return True
    sent = repr((case.method, case.path, case.path_parameters, case.query, case.headers, case.body))
    return zlib.crc32(sent.encode(errors="backslashreplace")) % ONE_IN == 0


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Returns whether the failure is one: a request of valid parts may break a rule that no schema can state, and a revoked API
    key is still shown.
    """
    if isinstance(failure, UseAfterFree):
        return not case.path.startswith("/v1/api-keys/")
    return not isinstance(failure, RejectedPositiveData) or not breaks_rules_alone(response)


def breaks_rules_alone(response: Response) -> bool:
    errors = response.json().get("errors", ()) if response.status_code == 400 else ()
    return bool(errors) and all(error["code"] in BEYOND_SCHEMAS or is_amount(error) for error in errors)


def is_amount(error: Any) -> bool:
    """Returns whether too many credits are asked: they are texts, and a text has no maximum."""
    field: str = error["field"]
    return error["code"] == "max_value" and field.startswith(("caps.", "max_credits."))


@schemathesis.hook
def before_call(context: Any, case: Case[Any], kwargs: dict[str, Any]) -> None:
    body: Any = case.body
    if isinstance(body, dict) and body.get("image") == FILE:
        put_picture(case, body)
    asked = re.fullmatch(r"wait=(\d+)", case.headers.get("Prefer", "")) if case.headers else None
    if asked and int(asked[1]) > LONGEST_WAIT:
        case.headers["Prefer"] = f"wait={LONGEST_WAIT}"
    if case.path.startswith("/v1/api-keys/") and case.path_parameters.get("id") == KEY_ID:
        case.path_parameters["id"] = NO_ID
    key = case.headers.get("Idempotency-Key", "") if case.headers else ""
    if KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key}-{next(numbers)}"
    lead_nowhere(body)


def put_picture(case: Case[Any], body: dict[str, Any]) -> None:
    """Puts the bytes of a picture into a form, which stays as right or wrong as it was: schemathesis would take each form that
    is changed and has bytes for a wrong one.
    """
    before = case.meta
    judged = before and (before.generation.mode, dict(before.components))
    body["image"] = PICTURE
    if judged and (after := case.meta):
        after.generation.mode, after.components = judged


def lead_nowhere(body: Any) -> None:
    """Changes the host of a picture's URL, in JSON and in the part of a form that is JSON."""
    if not isinstance(body, dict):
        return
    lead_nowhere(body.get("request"))
    image = body.get("image")
    if isinstance(image, dict) and isinstance(image.get("url"), str) and (parts := split(image["url"])):
        image["url"] = parts._replace(netloc=NOWHERE).geturl()


def split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        return parts if parts.hostname else None
    except ValueError:
        return None


@schemathesis.deserializer("text/csv")
def table(context: Any, response: Response) -> str:
    return response.content.decode()


@schemathesis.deserializer("application/x-ndjson")
def lines(context: Any, response: Response) -> str:
    for line in response.content.decode().splitlines():
        json.loads(line)
    return response.content.decode()
