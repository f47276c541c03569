"""Wraps the WSGI application so that no request reaches Django with a header whose parameters it cannot read.

A parameter may name an encoding of its own (`x*=utf-8''text`, RFC 2231). Django raises where that is unknown: for `Content-Type`
while it makes the request, before any middleware can answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.utils.http import parse_header_parameters

from config import problems
from config.middleware import request_id

# The header fields whose parameters Django reads, with the code of the problem where it cannot.
READ = {
    "Accept": ("HTTP_ACCEPT", "not_acceptable"),
    "Content-Type": ("CONTENT_TYPE", "unsupported_media_type"),
}


class ReadableHeaders:
    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        code = detail = ""
        for name, (variable, its_code) in READ.items():
            if not is_readable(environ.get(variable, "")):
                # Nothing that answers may try to read it again.
                del environ[variable]
                code, detail = (
                    its_code,
                    f"The header {name} has a parameter in an unknown encoding; leave the parameter out.",
                )
        return _refused(environ, start_response, code, detail) if code else self._application(environ, start_response)


def is_readable(header: str) -> bool:
    # A parameter names its encoding before two apostrophes. Nearly every header has none.
    if header.count("'") < 2:
        return True
    try:
        for part in header.split(","):
            parse_header_parameters(part)
        parse_header_parameters(header)
    except ValueError:
        return False
    return True


def _refused(environ: dict[str, Any], start_response: Callable[..., Any], code: str, detail: str) -> Iterable[bytes]:
    environ[problems.REQUEST_ID] = id = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    headers = {"X-Request-Id": id, "Cache-Control": "no-store"}
    answer = problems.answer(environ, problems.problem(code, detail), headers=headers)
    start_response(f"{answer.status_code} {answer.reason_phrase}", list(answer.items()))
    return [answer.content]
