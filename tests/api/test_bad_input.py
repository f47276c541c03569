"""Every bad create: its status, the field by its name, and nothing left behind."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from tests.api.examples import PICTURE, create, create_form, lookup, nothing_left, order
from tests.searches import samples

PROBLEM = "application/problem+json"


def fields_of(response: Any) -> list[str]:
    return [error["field"] for error in response.json()["errors"]]


def post_text(api: APIClient, text: str | bytes) -> Any:
    return api.post("/v1/searches", text, content_type="application/json")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"image": None}, "image"),
    ({"image": "…"}, "image"),
    ({"image": {}}, "image"),
    ({"image": {"base64": b64encode(PICTURE).decode(), "id": str(uuid4())}}, "image"),
    ({"image": {"base64": "not base64!"}}, "image.base64"),
    ({"image": {"base64": 12}}, "image.base64"),
    ({"image": {"base64": b64encode(PICTURE).decode()[:-1]}}, "image.base64"),
    ({"image": {"base64": urlsafe_b64encode(b"\xff\xfe\xfd").decode()}}, "image.base64"),
    ({"image": {"base64": f"data:image/jpeg;base64,{b64encode(PICTURE).decode()}"}}, "image.base64"),
    ({"image": {"base64": ""}}, "image.base64"),
    ({"image": {"id": "12"}}, "image.id"),
    ({"image": {"id": 12}}, "image.id"),
    ({"image": {"id": str(uuid4())}}, "image.id"),
    ({"image": {"url": "https://example.com/a.jpg", "id": str(uuid4())}}, "image"),
    ({"image": {"url": "ftp://example.com/a.jpg"}}, "image.url"),
    ({"image": {"url": 12}}, "image.url"),
    ({"image": {"url": ""}}, "image.url"),
    ({"lookups": None}, "lookups"),
    ({"lookups": []}, "lookups"),
    ({"lookups": [lookup()] * 21}, "lookups"),
    ({"lookups": lookup()}, "lookups"),
    ({"lookups": [lookup(), "tiktok-creators"]}, "lookups[1]"),
    ({"lookups": [{}]}, "lookups[0].source"),
    ({"lookups": [lookup(source="instagram")]}, "lookups[0].source"),
    ({"lookups": [lookup(source=["tiktok-creators"])]}, "lookups[0].source"),
    ({"lookups": [lookup(limit=0)]}, "lookups[0].limit"),
    ({"lookups": [lookup(limit=1501)]}, "lookups[0].limit"),
    ({"lookups": [lookup(limit=1e30)]}, "lookups[0].limit"),
    ({"lookups": [lookup(limit="40")]}, "lookups[0].limit"),
    ({"lookups": [lookup(limit=True)]}, "lookups[0].limit"),
    ({"lookups": [lookup(limit=None)]}, "lookups[0].limit"),
    ({"lookups": [lookup(offset=-20)]}, "lookups[0].offset"),
    ({"lookups": [lookup(credential="")]}, "lookups[0].credential"),
    ({"lookups": [lookup(credential="no\0such")]}, "lookups[0].credential"),
    ({"lookups": [lookup(parameters=[])]}, "lookups[0].parameters"),
    ({"lookups": [lookup(parameters={"age": {"min": "18"}})]}, "lookups[0].parameters.age.min"),
    ({"lookups": [lookup(parameters={"age": {"min": 65, "max": 18}})]}, "lookups[0].parameters.age.min"),
    ({"lookups": [lookup(parameters={"locations": [1, "2"]})]}, "lookups[0].parameters.locations[1]"),
    ({"lookups": [lookup(parameters={"colour": "red"})]}, "lookups[0].parameters.colour"),
    ({"lookups": [lookup(max_age=1)]}, "lookups[0].max_age"),
    ({"priority": 11}, "priority"),
    ({"priority": 1.5}, "priority"),
    ({"expires_in": 0}, "expires_in"),
    ({"expires_in": 604_801}, "expires_in"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {str(number): "" for number in range(21)}}, "metadata"),
    ({"metadata": {"a b": "c"}}, "metadata.a b"),
    ({"metadata": {"a" * 41: "c"}}, f"metadata.{'a' * 41}"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"metadata": {"a": "b" * 501}}, "metadata.a"),
    ({"metadata": {"a": "b\0"}}, "metadata.a"),
    ({"metadata": {"a": "\ud800"}}, "metadata.a"),
    ({"max_credits": {"bing": "1"}}, "max_credits.bing"),
    ({"max_credits": {"modash": "-1"}}, "max_credits.modash"),
    ({"max_credits": {"modash": "0.1234567"}}, "max_credits.modash"),
    ({"max_age": -1}, "max_age"),
    ({"max_age": 2_592_001}, "max_age"),
    ({"max_age": "3600"}, "max_age"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG, ids=[f"{field}-{n}" for n, (_, field) in enumerate(WRONG)])
def test_a_wrong_field_is_named_and_nothing_is_left(api: APIClient, changes: dict[str, Any], field: str) -> None:
    response = create(api, **changes)
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
    assert response.json()["code"] == "invalid_request"
    assert fields_of(response) == [field]
    assert response.json()["detail"].startswith(f"{field}: ")
    assert nothing_left()


@pytest.mark.parametrize("body", ["null", "[]", '"search"', "7"])
def test_a_body_that_is_no_object_is_named_as_a_whole(api: APIClient, body: str) -> None:
    response = api.post("/v1/searches", body, content_type="application/json")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["body"]
    assert nothing_left()


def test_all_wrong_fields_are_named_at_once(api: APIClient) -> None:
    wrong = lookup(limit=0, colour="red", parameters={"gender": "F", "age": {"min": 12}})
    response = create(api, image={}, lookups=[lookup(), wrong], priority=99, max_age=-1)
    assert sorted(fields_of(response)) == [
        "image",
        "lookups[1].colour",
        "lookups[1].limit",
        "lookups[1].parameters.age.min",
        "lookups[1].parameters.gender",
        "max_age",
        "priority",
    ]
    assert "image" in response.json()["detail"]


BAD_PICTURES = {
    "a text": samples.TEXT,
    "nothing": b"",
    "half a png": samples.png()[:-100],
    "a bomb": samples.png_bomb(),
}


@pytest.mark.parametrize("picture", BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_a_file_that_is_no_good_picture_is_a_400(api: APIClient, picture: bytes) -> None:
    response = create_form(api, {"lookups": [lookup()]}, picture=picture)
    assert response.status_code == 400, response.content
    assert fields_of(response) == ["image"]
    assert nothing_left()


def test_a_picture_of_more_than_20_mb_is_a_413(api: APIClient) -> None:
    picture = PICTURE + bytes(20 * 1024 * 1024)
    for response in (
        create_form(api, {"lookups": [lookup()]}, picture=picture),
        create(api, image={"base64": b64encode(picture).decode()}),
    ):
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert nothing_left()


@override_settings(PICTURE_BODY_MAX_BYTES=1000)
def test_a_body_beyond_the_limit_is_a_413_unread(api: APIClient) -> None:
    response = create(api)
    assert (response.status_code, response["Content-Type"]) == (413, PROBLEM)
    assert "send at most 1000" in response.json()["detail"]


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "gzip, chunked"])
def test_a_body_in_chunks_says_what_is_needed(api: APIClient, coding: str) -> None:
    response = api.generic("POST", "/v1/searches", "", headers={"Transfer-Encoding": coding})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")
    assert "Content-Length" in response.json()["detail"]


MALFORMED = {
    "not json": "{",
    "a name twice": '{"lookups": [], "lookups": []}',
    "not a number": '{"priority": NaN}',
    "beyond every number": '{"priority": 1e999}',
    "digits without end": f'{{"priority": {"9" * 5000}}}',
    "a number without end": '{"priority": ' + "9" * 5000 + "}",
    "nesting without end": "[" * 30_000 + "]" * 30_000,
    "objects without end": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "an unfinished text": '{"a": "' + '\\"' * 30_000,
    "two byte order marks": '\ufeff\ufeff{"priority": 0}',
    "utf-16": '{"priority": 0}'.encode("utf-16"),
    "not utf-8": b'{"metadata": {"a": "\xff"}}',
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_is_not_json_is_a_400(api: APIClient, text: str | bytes) -> None:
    response = post_text(api, text)
    assert (response.status_code, response["Content-Type"]) == (400, PROBLEM)
    assert response.json()["code"] == "malformed_body"
    assert len(response.json()["detail"]) < 200
    assert "sys." not in response.json()["detail"]


def test_a_byte_order_mark_is_passed_over(api: APIClient) -> None:
    assert post_text(api, "\ufeff" + json.dumps(order())).status_code == 202
    assert create_form(api, "\ufeff" + json.dumps({"lookups": [lookup()]})).status_code == 202


@pytest.mark.parametrize("text", ["", "{}"])
def test_an_empty_body_names_what_is_needed(api: APIClient, text: str) -> None:
    response = post_text(api, text)
    assert response.status_code == 400
    assert sorted(fields_of(response)) == ["image", "lookups"]


@pytest.mark.parametrize("text", ["[]", '"text"', "1", "null"])
def test_a_body_that_is_no_object_is_a_400(api: APIClient, text: str) -> None:
    response = post_text(api, text)
    assert response.status_code == 400
    assert fields_of(response) in (["body"], ["image", "lookups"])


def test_names_without_end_are_not_echoed(api: APIClient) -> None:
    body = {f"{number}{'x' * 10_000}": 1 for number in range(6)}
    response = post_text(api, json.dumps(body))
    assert response.status_code == 400
    assert len(response.content) < 10_000


def test_half_a_pair_of_surrogates_is_spelt_out(api: APIClient) -> None:
    response = post_text(api, '{"\\ud800": 1, "metadata": {"\\udfff": "a"}}')
    assert {"\\ud800", "metadata.\\udfff"} <= set(fields_of(response))


def test_a_form_without_its_file_names_the_image(api: APIClient) -> None:
    response = api.post("/v1/searches", {"request": json.dumps({"lookups": [lookup()]})}, format="multipart")
    assert (response.status_code, fields_of(response)) == (400, ["image"])
    assert "file" in response.json()["detail"]


def test_a_form_with_other_parts_names_them(api: APIClient) -> None:
    response = create_form(api, {"lookups": [lookup()]}, priority="3")
    assert (response.status_code, fields_of(response)) == (400, ["priority"])


def test_a_form_with_two_pictures_is_refused(api: APIClient) -> None:
    response = create_form(api, {"image": {"id": str(uuid4())}, "lookups": [lookup()]})
    assert (response.status_code, fields_of(response)) == (400, ["image"])


def test_a_form_whose_image_is_no_file_says_so(api: APIClient) -> None:
    response = api.post("/v1/searches", {"image": "…", "request": "{}"}, format="multipart")
    assert (response.status_code, sorted(fields_of(response))) == (400, ["image", "lookups"])


UNREADABLE_PARTS = ["{", "[]", "7", "", "nul", '{"a": 1, "a": 2}', "[" * 1000, '{"priority": NaN}']


@pytest.mark.parametrize("text", UNREADABLE_PARTS)
def test_a_form_whose_request_cannot_be_read_names_that_part(api: APIClient, text: str) -> None:
    response = create_form(api, text)
    assert (response.status_code, fields_of(response)) == (400, ["request"])
    assert response.json()["code"] == "invalid_request"
    assert nothing_left()


def test_a_part_that_is_not_utf_8_is_not_mended_in_silence(api: Any) -> None:
    text = b'{"metadata": {"a": "\xff"}}'
    for disposition in (b'form-data; name="request"', b'form-data; name="request"; filename="a"'):
        form = b"--b\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + text + b"\r\n--b--\r\n"
        response = api.generic("POST", "/v1/searches", form, content_type="multipart/form-data; boundary=b")
        assert (response.status_code, sorted(fields_of(response))) == (400, ["image", "request"])
        assert "UTF-8" in response.content.decode()


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("multipart/form-data", b"--b--\r\n"),
        ("multipart/form-data; boundary=", b"--b--\r\n"),
        ("multipart/form-data; boundary=" + "b" * 210, b"--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\nabcde\r\n--b--\r\n",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nX-Long: " + b"x" * 3000 + b"\r\n\r\nabc\r\n--b--\r\n"),
    ],
)
def test_a_form_that_cannot_be_read_is_told_in_our_words(api: Any, content_type: str, form: bytes) -> None:
    response = api.generic("POST", "/v1/searches", form, content_type=content_type)
    assert response.status_code == 400
    assert "parse error" not in response.content.decode()
    assert "decode" not in response.content.decode()
    assert "; send " in response.json()["detail"] or response.json()["errors"]
    assert nothing_left()


@pytest.mark.parametrize("limit", ["\N{ARABIC-INDIC DIGIT THREE}", "\N{FULLWIDTH DIGIT THREE}", "1_0", "3.0", "1" * 30])
def test_a_number_in_a_query_has_ascii_digits(api: APIClient, limit: str) -> None:
    response = api.get("/v1/searches", {"limit": limit})
    assert (response.status_code, fields_of(response)) == (400, ["limit"])


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_another_content_type_is_a_415(api: APIClient, content_type: str) -> None:
    response = api.post("/v1/searches", json.dumps(order()), content_type=content_type)
    assert (response.status_code, response["Content-Type"]) == (415, PROBLEM)
    assert "application/json" in response.json()["detail"]
