"""The errors of the OpenAPI document: for each operation the statuses that it can have, with an example of each of its codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rest_framework import serializers

from billing.caps import CAPS, CODES, Limit, LimitReached
from billing.serializers import LimitSerializer
from config import problems
from config.problem_codes import PROBLEMS

# The codes of every operation, of those that take a body, and of those with an id in their path.
EVERYWHERE = (
    *("invalid_request", "not_authenticated", "authentication_failed", "api_key_expired", "api_key_revoked"),
    *("api_key_rotated", "permission_denied", "scope_missing", "address_not_allowed", "tenant_suspended"),
    *("not_acceptable", "rate_limited", "internal_error", "not_ready"),
)
WITH_A_BODY = ("malformed_body", "too_large", "unsupported_media_type")
WITH_AN_ID = ("not_found",)
# A path without the method is no operation, so no operation has this code.
OF_NO_OPERATION = ("method_not_allowed",)
# The wrong field of a 400: of an order, of a list, and of every other operation.
WRONG: Mapping[str, Mapping[str, str]] = {
    "Order": {"field": "lookups[0].limit", "code": "max_value", "detail": "Must be from 1 to 1500."},
    "List": {"field": "limit", "code": "max_value", "detail": "Must be a whole number from 1 to 100."},
    "": {"field": "nonsense", "code": "unknown_parameter", "detail": "Unknown query parameter; known here: none."},
}
REQUEST_ID = "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c0ff"


class FieldErrorSerializer(serializers.Serializer[Any]):
    """A wrong field of the request."""

    field = serializers.CharField(help_text="The path of the field, such as `lookups[0].parameters.age.min`.")
    code = serializers.CharField(help_text="The kind of the fault, such as `required` or `max_value`.")
    detail = serializers.CharField(help_text="The fault, and the mend.")


class ProblemSerializer(serializers.Serializer[Any]):
    """An error, in the form of RFC 9457."""

    type = serializers.URLField(help_text="The address of the page that explains the `code`.")
    title = serializers.CharField(help_text="The `code` in words.")
    status = serializers.IntegerField(min_value=400, max_value=599, help_text="The HTTP status of the answer.")
    detail = serializers.CharField(help_text="What is wrong here, and the mend.")
    code = serializers.ChoiceField(choices=list(PROBLEMS), help_text="The kind of the problem, for programs.")
    request_id = serializers.CharField(
        help_text="The `X-Request-Id` of the answer. Name it when you ask about a problem."
    )
    errors: Any = FieldErrorSerializer(many=True, required=False, help_text="For bad input: every wrong field.")
    limit = LimitSerializer(required=False, help_text="For a 402: the limit that has no room. Not of `price_missing`.")


def codes(method: str, path: str, own: Sequence[str]) -> dict[int, list[str]]:
    """Returns the codes that an operation can answer, by status. `own`: the codes that its view names."""
    found = [*EVERYWHERE, *own]
    found += WITH_A_BODY if method in ("POST", "PATCH") else ()
    found += WITH_AN_ID if "{id}" in path else ()
    return {status: of_status(status, found) for status in sorted({status_of(code) for code in found})}


def of_status(status: int, found: Iterable[str]) -> list[str]:
    """Returns those of the codes that have the status, in the order of the table of problems."""
    wanted = set(found)
    return [code for code in PROBLEMS if code in wanted and status_of(code) == status]


def status_of(code: str) -> int:
    return PROBLEMS[code].status


def kind(method: str, path: str, query: Iterable[str]) -> str:
    """Returns which wrong field an operation shows. `query`: the names of its parameters."""
    if method == "POST" and path in ("/v1/searches", "/v1/searches/quote"):
        return "Order"
    return "List" if method == "GET" and "limit" in query else ""


def name(status: int, found: Sequence[str], kind: str) -> str:
    """Returns the name of an answer in the document: that of the status, and the operation's own codes where it has some."""
    kind = kind if status == 400 else ""
    usual = of_status(status, EVERYWHERE) or of_status(status, (*WITH_A_BODY, *WITH_AN_ID))
    if found == (usual or of_status(status, PROBLEMS)):
        return f"Problem{status}{kind}"
    return f"Problem{status}{kind}{''.join(code.title().replace('_', '') for code in found if code not in usual)}"


def answer(schema: Mapping[str, Any], found: Sequence[str], kind: str) -> dict[str, Any]:
    """Returns the answer of a status, without its headers. `schema`: that of a problem."""
    shown = {code: {"summary": PROBLEMS[code].title, "value": example(code, kind)} for code in found}
    return {
        "description": "; ".join(PROBLEMS[code].title for code in found) + ".",
        "content": {
            problems.MEDIA_TYPE: {
                "schema": schema,
                "examples": shown,
            }
        },
    }


def example(code: str, kind: str = "Order") -> dict[str, Any]:
    shown = problems.problem(code, PROBLEMS[code].detail) | {"request_id": REQUEST_ID}
    if code in CODES.values():
        limit = limit_without_room(next(name for name in CODES if CODES[name] == code))
        shown |= {"detail": str(LimitReached(limit)), "limit": LimitSerializer(limit).data}
    if code == "invalid_request":
        wrong = WRONG[kind]
        shown |= {"detail": f"{wrong['field']}: {wrong['detail']}", "errors": [dict(wrong)]}
    return shown


# The size of a limit, and what is used and held under it.
NUMBERS = {"balance": ("2", "0", "1.5"), "max_credits": ("0.5", "0", "0")}


def limit_without_room(name: str) -> Limit:
    """Returns a limit of that name for an example: 1 credit is asked, and half of it is left."""
    size, used, held = (Decimal(amount) for amount in NUMBERS.get(name, ("2", "1", "0.5")))
    renews_at = datetime(2026, 12, 1, tzinfo=UTC) if name in CAPS else None
    return Limit(
        name=name,
        provider="modash",
        size=size,
        used=used,
        held=held,
        asked=Decimal(1),
        short_by=Decimal("0.5"),
        renews_at=renews_at,
    )
