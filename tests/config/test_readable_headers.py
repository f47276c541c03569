"""Tests that a header whose parameters Django cannot read is refused with a problem, on every path and for every method."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory

from config.readable_headers import ReadableHeaders

# Nobody knows the first encoding. Python knows the second, which has no way to replace what it cannot read.
UNREADABLE = ["x*=utf-99''y", "charset*=idna''y", "boundary*=undefined''b", "x*0*=utf-99''y"]
READABLE = ["charset=utf-8", "x*=utf-8''y%20z", "x*=utf-8''%ff", "x='y'", "x*=''y"]


def asked(method: str, path: str, **variables: str) -> tuple[int, dict[str, str], bytes]:
    """Returns the status, the headers and the body of the answer."""
    said: list[Any] = []
    environ = RequestFactory().generic(method, path).environ | variables
    environ["wsgi.input"] = io.BytesIO()
    answer = ReadableHeaders(WSGIHandler())(environ, lambda *started: said.extend(started))
    return int(said[0][:3]), dict(said[1]), b"".join(answer)


@pytest.mark.parametrize("path", ["/v1/searches", "/v1/nowhere", "/healthz", "/docs", "/admin/login/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("parameter", UNREADABLE)
def test_an_unknown_encoding_of_a_parameter_is_refused(db: None, method: str, path: str, parameter: str) -> None:
    content_type = asked(method, path, CONTENT_TYPE=f"application/json; {parameter}", HTTP_X_REQUEST_ID="mine-12345")
    accept = asked(method, path, HTTP_ACCEPT=f"text/csv, */*; {parameter}", HTTP_X_REQUEST_ID="mine-12345")
    both = asked(method, path, CONTENT_TYPE=f"a/b;{parameter}", HTTP_ACCEPT=f"a/b;{parameter}")
    assert [status for status, _, _ in (content_type, accept, both)] == [415, 406, 415]
    for name, (_, headers, body) in (("Content-Type", content_type), ("Accept", accept)):
        problem = json.loads(body)
        assert name in problem["detail"]
        assert headers["X-Request-Id"] == problem["request_id"] == "mine-12345"


@pytest.mark.parametrize("parameter", READABLE)
def test_every_other_parameter_reaches_the_application(db: None, parameter: str) -> None:
    assert asked("GET", "/healthz", CONTENT_TYPE=f"a/b; {parameter}", HTTP_ACCEPT=f"*/*; {parameter}")[0] == 200
    assert asked("GET", "/v1/tenant", CONTENT_TYPE=f"a/b; {parameter}", HTTP_ACCEPT=f"*/*; {parameter}")[0] == 401
