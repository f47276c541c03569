"""Every error of a request is one sentence of ours, with the mend, and no words of Python's, Django's or DRF's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from config.error_words import in_our_words
from tests.api.examples import PICTURE, order

SEARCHES = "/v1/searches"


def told(response: Any) -> str:
    """Returns the sentence of a request that is wrong in one place."""
    detail: str = response.json()["detail"]
    return detail


def posted(api: Any, body: str | bytes, content_type: str = "application/json", **headers: str) -> Any:
    return api.generic("POST", SEARCHES, body, content_type=content_type, headers=headers)


NOT_JSON = {
    "{'a': 1}": "in line 1, at character 2, a name in double quotes is expected",
    '{"a" 1}': "in line 1, at character 6, a colon is expected",
    '{\n"a": 01}': "in line 2, at character 7, a comma or a closing bracket is expected",
    '{"a": undefined}': "in line 1, at character 7, a value is expected",
    "a=1&b=2": "in line 1, at character 1, a value is expected",
    "{} {}": "in line 1, at character 4, nothing more is expected",
    '{"a": "\n"}': "a text holds a line break or another control character; write it as an escape, such as \\n",
    '{"a": "\\x"}': "a backslash begins no escape of JSON",
    '{"a": "\\u12"}': "four hexadecimal digits are expected",
    '{"a": "b': "a text begins that has no closing quote",
    '{"a": [1, 2': "it ends too early; send all of it",
    " ": "it ends too early; send all of it",
}


@pytest.mark.parametrize(("text", "reason"), NOT_JSON.items(), ids=NOT_JSON)
def test_what_is_not_json_is_told_by_its_place(api: APIClient, text: str, reason: str) -> None:
    response = posted(api, text)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")
    assert told(response).startswith("The body is not JSON: ")
    assert reason in told(response)


def test_a_null_is_no_object(api: APIClient) -> None:
    assert told(posted(api, "null")) == "body: Must be an object with named fields, and not null."


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + PICTURE + b"\r\n"
    b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n'
    + json.dumps({"lookups": order()["lookups"]}).encode()
)
MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize("cut", [FORM[:40], FORM[:200], FORM[:-10], FORM, FORM + b"\r\n--b\r\n", b"{}"])
def test_a_form_that_was_cut_is_not_taken_for_a_whole_one(api: APIClient, cut: bytes) -> None:
    response = posted(api, cut, MULTIPART)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")
    assert "send all of it" in told(response)


@pytest.mark.parametrize("end", [b"\r\n--b--\r\n", b"\r\n--b--", b"\r\n--b--\r\nwhat follows is no part of it"])
@pytest.mark.parametrize("content_type", [MULTIPART, 'Multipart/Form-Data; Boundary="b"'])
def test_a_whole_form_is_taken(api: APIClient, end: bytes, content_type: str) -> None:
    assert posted(api, FORM + end, content_type).status_code == 202


def test_a_boundary_that_the_body_has_not_is_told(api: APIClient) -> None:
    response = posted(api, FORM + b"\r\n--b--\r\n", "multipart/form-data; boundary=c")
    assert "the boundary of its Content-Type" in told(response)


def test_a_body_without_a_type_is_told_which_are_read(api: APIClient) -> None:
    response = posted(api, "{}", "")
    assert response.status_code == 415
    assert told(response).startswith("The body has no Content-Type; send application/json or multipart/form-data")


@pytest.mark.parametrize(
    "content_type", ["text/plain; charset=utf-8", "application/vnd.api+json", "*/*", "application/*"]
)
def test_another_type_is_told_which_are_read(api: APIClient, content_type: str) -> None:
    response = api.generic("POST", "/v1/webhook-endpoints", "{}", content_type=content_type)
    assert response.status_code == 415
    assert told(response) == f"This route does not read {content_type.partition(';')[0]}; send application/json."


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_the_type_of_json_may_be_spelt_in_any_way(api: APIClient, content_type: str) -> None:
    assert posted(api, json.dumps(order()), content_type).status_code == 202


def test_a_compressed_body_is_refused_as_such(api: APIClient) -> None:
    response = posted(api, b"\x1f\x8b\x08", **{"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "without the header Content-Encoding" in told(response)
    assert posted(api, json.dumps(order()), **{"Content-Encoding": "identity"}).status_code == 202


@pytest.mark.parametrize(("path", "taken"), [(SEARCHES, "GET, POST and HEAD"), ("/v1/credits", "GET and HEAD")])
def test_another_method_is_told_which_there_are(api: APIClient, path: str, taken: str) -> None:
    for method in ("PUT", "OPTIONS", "TRACE", "QUERY"):
        response = api.generic(method, f"{path}?limit=x&nonsense=1")
        assert (response.status_code, told(response)) == (405, f"This path takes {taken}, and not {method}.")
        assert response["Allow"] == taken.replace(" and ", ", ")


def test_a_host_that_is_not_ours_is_told_the_right_one(api: APIClient) -> None:
    with override_settings(ALLOWED_HOSTS=["sightline.example"], PUBLIC_URL="https://sightline.example"):
        assert "send the request to https://sightline.example" in told(api.get(SEARCHES))


WEIGHED = {
    "": "application/json",
    "*/*": "application/json",
    "text/csv": "text/csv",
    "application/json;q=0.1, text/csv": "text/csv",
    "text/csv;q=0.1, application/json": "application/json",
    "text/html, application/x-ndjson;q=0.5, */*;q=0.1": "application/x-ndjson",
    "application/json; charset=utf-8": "application/json",
    "application/json;q=0, */*": "text/csv",
}


@pytest.mark.parametrize(("accept", "form"), WEIGHED.items(), ids=WEIGHED)
def test_the_form_of_an_answer_is_the_one_that_weighs_most(api: APIClient, accept: str, form: str) -> None:
    response = api.get("/v1/credits/entries", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"].partition(";")[0]) == (200, form)


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "nonsense", "application/json" + ", a/b" * 2000]
)
def test_a_form_that_is_not_offered_is_a_406(api: APIClient, accept: str) -> None:
    response = api.get(SEARCHES, headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (406, "application/problem+json")


WRONG: dict[str, Any] = {
    "image": {"id": 1},
    "lookups": [{"source": "tiktok-creators", "limit": 0, "parameters": {"brands": "x", "locations": []}}],
    "expires_in": 10**9,
    "priority": -11,
    "metadata": {"a": None},
    "crop": {"x": 0.1},
}


def test_a_wrong_value_is_told_in_our_words(api: APIClient) -> None:
    errors = posted(api, json.dumps(WRONG)).json()["errors"]
    assert {"image.id", "lookups[0].limit", "expires_in", "priority", "metadata.a"} <= {
        error["field"] for error in errors
    }
    for error in errors:
        assert not any(words in error["detail"] for words in ("Ensure", "This field", "Expected", "valid", '"str"'))


def test_a_whole_number_may_have_a_point_and_no_more(api: APIClient) -> None:
    assert posted(api, json.dumps(order(priority=2.0))).status_code == 202
    for wrong in (2.5, 1e400, True):
        assert posted(api, json.dumps(order(priority=wrong))).status_code == 400


def test_a_sentence_that_is_ours_is_kept() -> None:
    assert in_our_words("Must be a text in quotes.") == "Must be a text in quotes."
    assert in_our_words("Ensure this value is less than or equal to 5.") == "Must be at most 5."
