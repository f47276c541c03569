"""Shows what the `type` of a problem leads to: each code with what happened, what to do, an example and its routes."""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from itertools import groupby
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from config import openapi, openapi_links, openapi_problems, problems, views
from config.problem_codes import PROBLEMS, ProblemType

# Codes of more routes than a reader wants to see listed.
PLACES = {
    **dict.fromkeys(openapi_problems.EVERYWHERE, "Every route."),
    **dict.fromkeys(openapi_problems.WITH_A_BODY, "Every POST and PATCH."),
    "not_found": "Every route with an id or a name in its path, and every path that does not exist.",
    "method_not_allowed": "Every path, to the methods that it does not take.",
}
IN_BACKTICKS = re.compile("`([^`]+)`")


@views.safe
def errors(request: HttpRequest) -> HttpResponse:
    page = render(request, "errors.html", {"groups": groups()})
    page["Content-Security-Policy"] = views.CONTENT_POLICY
    return page


@cache
def groups() -> list[dict[str, Any]]:
    """Returns the codes by their statuses, which only a new version of the code can change."""
    by_status = groupby(PROBLEMS.items(), lambda item: item[1].status)
    return [
        {"status": status, "phrase": HTTPStatus(status).phrase, "problems": [shown(code, kind) for code, kind in kinds]}
        for status, kinds in by_status
    ]


def shown(code: str, kind: ProblemType) -> dict[str, Any]:
    return {
        "code": code,
        "title": kind.title,
        "happened": with_code(kind.happened),
        "mend": with_code(kind.mend),
        "example": json.dumps(openapi_problems.example(code), indent=2, ensure_ascii=False),
        "place": PLACES.get(code, ""),
        "routes": () if code in PLACES else routes_of(code),
    }


def routes_of(code: str) -> list[str]:
    """Returns the operations whose answers have the code, as the OpenAPI document says."""
    document = openapi.document()
    answers = document["components"]["responses"]
    having = {f"#/components/responses/{name}" for name, answer in answers.items() if code in examples_of(answer)}
    return [
        f"{method.upper()} {path}"
        for path, method, operation in openapi_links.every(document["paths"])
        if having & {answer.get("$ref") for answer in operation["responses"].values()}
    ]


def examples_of(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = answer["content"].get(problems.MEDIA_TYPE, {}).get("examples", {})
    return found


def with_code(text: str) -> SafeString:
    """Returns the text as HTML, with what is in backticks as code."""
    return mark_safe(IN_BACKTICKS.sub(r"<code>\1</code>", escape(text)))
