"""Whatever is sent, nothing is ever our own mistake; and a database that is away is said to be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import OperationalError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from tests.api.examples import lookup, made, order

NAMES = st.sampled_from(
    [
        *("image", "base64", "id", "url", "lookups", "source", "parameters", "limit", "offset", "credential"),
        *("metadata", "priority", "expires_in", "age", "min", "max", "locations", "brands", "language", "gender"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["tiktok-creators", "\0", "\ud800", "1e400", "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001", "AAAA"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=6),
    max_leaves=20,
)
BOUNDED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def post(api: APIClient, body: Any) -> int:
    response = api.post("/v1/searches", json.dumps(body), content_type="application/json")
    assert response.status_code in (202, 400, 413), response.content
    return int(response.status_code)


@BOUNDED
@given(body=ANYTHING)
def test_any_body_is_judged(api: APIClient, body: Any) -> None:
    post(api, body)


@BOUNDED
@given(name=NAMES, value=ANYTHING)
def test_any_field_is_judged(api: APIClient, name: str, value: Any) -> None:
    post(api, order() | {name: value})
    post(api, order(lookups=[lookup() | {name: value}]))
    post(api, order(lookups=[lookup(parameters={name: value})]))


@BOUNDED
@given(query=st.dictionaries(NAMES | st.sampled_from(["metadata.a", "cursor", "status", "order"]) | st.text(), SCALARS))
def test_any_query_is_judged(api: APIClient, query: dict[str, Any]) -> None:
    texts = {name: str(value).encode("utf-8", "replace") for name, value in query.items()}
    for path in ("/v1/searches", f"/v1/searches/{made(api).pk}/results", "/v1/sources"):
        assert api.get(path, texts).status_code in (200, 400)


@BOUNDED
@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "multipart/form-data", "text/csv", ""]))
def test_any_bytes_are_judged(api: APIClient, body: Any, kind: Any) -> None:
    response = api.generic("POST", "/v1/searches", body, content_type=kind)
    assert response.status_code in (400, 415)


def test_a_database_that_is_away_is_a_503(api: APIClient) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("the connection is lost: secret details")

    is_a_503(api, away)


@pytest.mark.parametrize("code", ["25006", "25P03", "53100", "53300", "57P01", "57P03"])
def test_a_database_that_refuses_is_a_503(api: APIClient, code: str) -> None:
    def refusing(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        refusal = f"DO $$ BEGIN RAISE EXCEPTION 'secret details' USING ERRCODE = '{code}'; END $$"
        return execute(refusal, None, False, context)

    is_a_503(api, refusing)


def is_a_503(api: APIClient, instead_of_the_database: Any) -> None:
    api.raise_request_exception = False
    with connection.execute_wrapper(instead_of_the_database):
        response = api.get("/v1/searches")
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert response["Retry-After"] == "5"
    assert "secret" not in response.content.decode()


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=x"])
def test_a_form_that_cannot_be_read_is_a_400(api: APIClient, boundary: str) -> None:
    response = api.generic("POST", "/v1/images", "--x\r\nnonsense", content_type=f"multipart/form-data{boundary}")
    assert response.status_code == 400
