"""A body of any size and shape is refused for its size before it is built, and read whole only where a picture is in it."""

from __future__ import annotations

import io
import json
import os
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.api.examples import PICTURE, create_form, lookup, nothing_left, order
from tests.api.routes import NOBODYS, ROUTES

MIB = 1024 * 1024
LONGEST_JSON = 64 * 1024
# Generous: the slowest of them took 30 s of the processor when lists were built before they were counted.
SECONDS = 2.0
POSTS = [route for route in ROUTES if "openapi" not in route and "dictionaries" not in route]
PICTURES = ("/v1/searches", "/v1/searches/quote", "/v1/images")


def filled(start: str, item: str, end: str, size: int) -> bytes:
    count = (size - len(start) - len(end)) // (len(item) + 1)
    return (start + ",".join([item] * max(count, 1)) + end).encode()


def names(start: str, end: str, size: int) -> bytes:
    return (start + ",".join(f'"n{number}":1' for number in range(size // 13)) + end).encode()


SHAPES: dict[str, Callable[[int], bytes]] = {
    "numbers in events": lambda size: filled('{"url":"https://example.com","events":[', "1", "]}", size),
    "lookups": lambda size: filled('{"lookups":[', "{}", "]}", size),
    "empty lists": lambda size: filled("[", "[]", "]", size),
    "unknown names": lambda size: names("{", "}", size),
    "metadata": lambda size: names('{"metadata":{', "}}", size),
    "parameters": lambda size: names('{"lookups":[{"source":"tiktok-creators","parameters":{', "}}]}", size),
    "locations": lambda size: filled(
        '{"lookups":[{"source":"tiktok-creators","parameters":{"locations":[', '"x"', "]}}]}", size
    ),
    "one text": lambda size: b'{"description":"' + b"x" * (size - 20) + b'"}',
    "one number": lambda size: b'{"priority":' + b"9" * (size - 20) + b"}",
    "depth": lambda size: b"[" * size,
    "quotes": lambda size: b'"' * size,
    "backslashes": lambda size: b'"' + b'\\"' * (size // 2),
    "texts named base64": lambda size: filled('{"image":{', '"base64":""', "}}", size),
    "a picture in another place": lambda size: b'{"metadata":{"base64":"' + b"A" * (size - 30) + b'"}}',
    "white space": lambda size: b'{"image":{"base64":' + b" " * size + b'""}}',
}


@pytest.fixture
def post(api: Any) -> Callable[[str, bytes], Any]:
    def post(path: str, body: bytes, content_type: str = "application/json") -> Any:
        began = time.process_time()
        response = api.generic("POST", path, body, content_type=content_type)
        assert time.process_time() - began < SECONDS
        return response

    return post


@pytest.mark.parametrize("size", [LONGEST_JSON - 1, MIB, 4 * MIB, 28 * MIB])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_hostile_body_is_refused_at_once(post: Callable[[str, bytes], Any], shape: str, size: int) -> None:
    body = SHAPES[shape](size)
    for path in (*PICTURES, "/v1/webhook-endpoints", "/v1/credentials"):
        response = post(path, body)
        assert response.status_code == (413 if len(body) > LONGEST_JSON else 400), response.content[:300]
        assert len(response.content) < 100_000
    assert nothing_left()


@pytest.mark.parametrize("route", [route for route in POSTS if route not in PICTURES])
def test_where_no_picture_is_taken_a_large_body_is_not_read(api: Any, route: str) -> None:
    path = route.replace("<id:id>", str(NOBODYS))
    for method in ("POST", "PATCH", "PUT", "DELETE", "GET"):
        body = Unread(b"x" * (LONGEST_JSON + 1))
        extra: Any = {"wsgi.input": body, "CONTENT_LENGTH": str(LONGEST_JSON + 1)}
        response = api.generic(method, path, content_type="application/json", **extra)
        said = response.status_code, response.json()["code"]
        assert said in ((413, "too_large"), (405, "method_not_allowed")), method
        assert body.tell() == 0, method


@pytest.mark.parametrize("route", PICTURES)
def test_where_the_beginning_shows_no_picture_the_rest_is_not_read(api: Any, route: str) -> None:
    body = Unread(b'{"a":[' + b"1," * MIB + b"1]}")
    extra: Any = {"wsgi.input": body, "CONTENT_LENGTH": str(2 * MIB)}
    assert api.generic("POST", route, content_type="application/json", **extra).status_code == 413
    assert body.tell() <= LONGEST_JSON + 1


class Unread(io.BytesIO):
    """Tells how far it was read."""


def padded(body: dict[str, Any], size: int) -> bytes:
    return json.dumps(body).encode() + b" " * size


def test_json_may_be_as_long_as_the_bound_beside_a_picture_of_any_length(api: Any) -> None:
    without = len(json.dumps(order(image={"base64": ""})))
    body = json.dumps(order()).encode()
    for picture in (b64encode(PICTURE).decode(), b64encode(PICTURE + bytes(2 * MIB)).decode()):
        for spaces, status in ((LONGEST_JSON - without, 202), (LONGEST_JSON - without + 1, 413)):
            body = padded(order(image={"base64": picture}), spaces)
            response = api.generic("POST", "/v1/searches", body, content_type="application/json")
            assert response.status_code == status, response.content


@pytest.mark.parametrize("first", [True, False])
def test_a_picture_may_come_before_or_after_the_rest(api: Any, first: bool) -> None:
    rest = order()
    image = rest.pop("image")
    body = {"image": image, **rest} if first else {**rest, "image": image}
    body["image"] = {"base64": b64encode(PICTURE + bytes(LONGEST_JSON)).decode()}
    response = api.generic("POST", "/v1/searches", json.dumps(body).encode(), content_type="application/json")
    assert response.status_code == 202, response.content


ESCAPERS: dict[str, tuple[bytes, bytes]] = {
    "PHP": (b"/", b"\\/"),
    ".NET": (b"+", b"\\u002B"),
    "Gson": (b"=", b"\\u003d"),
}


@pytest.mark.parametrize("language", ESCAPERS)
def test_signs_that_an_encoder_escapes_are_read(api: Any, language: str) -> None:
    text = b64encode(PICTURE + os.urandom(LONGEST_JSON) + bytes(3))
    sign, escaped = ESCAPERS[language]
    body = b'{"lookups": [{"source": "tiktok-creators"}], "image": {"base64": "' + text.replace(sign, escaped) + b'"}}'
    assert api.generic("POST", "/v1/searches", body, content_type="application/json").status_code == 202


@pytest.mark.parametrize(
    "text", ["A" * LONGEST_JSON + "!", "A" * (LONGEST_JSON + 1), "data:image/jpeg;base64," + "A" * LONGEST_JSON]
)
def test_a_long_text_that_is_not_base64_is_named_with_what_else_is_wrong(api: Any, text: str) -> None:
    body = json.dumps(order(image={"base64": text}, priority=11)).encode()
    response = api.generic("POST", "/v1/searches", body, content_type="application/json")
    assert sorted(error["field"] for error in response.json()["errors"]) == ["image.base64", "priority"]


def test_two_long_texts_are_refused(api: Any) -> None:
    text = "A" * LONGEST_JSON
    for image in (
        f'{{"base64": "{text}", "base64": "{text}"}}',
        f'{{"base64": "{text}", "x": {{"base64": "{text}A"}}}}',
    ):
        body = f'{{"image": {image}, "lookups": []}}'.encode()
        assert api.generic("POST", "/v1/searches", body, content_type="application/json").status_code == 413


def test_a_forms_json_has_the_same_bound(api: Any) -> None:
    text = json.dumps({"lookups": [lookup()]})
    assert create_form(api, text + " " * (LONGEST_JSON - len(text))).status_code == 202
    long = text + " " * LONGEST_JSON
    for request in (long, SimpleUploadedFile("request.json", long.encode()), "x" * (4 * MIB)):
        file = SimpleUploadedFile("picture.jpg", PICTURE)
        response = api.post("/v1/searches", {"image": file, "request": request}, format="multipart")
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert "`request`" in response.json()["detail"]


PARTS: dict[str, bytes] = {
    "empty parts": b"--b\r\n\r\n",
    "texts": b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n',
    "files": b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n\r\n',
    "headers": b"--b\r\n" + b"A: b\r\n" * 1000,
    "line ends": b"\r\n",
    "dashes": b"\r\n--",
    "base64": b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\nContent-Transfer-Encoding: base64\r\n\r\n',
}


@pytest.mark.parametrize("size", [MIB, 28 * MIB])
@pytest.mark.parametrize("part", PARTS)
def test_a_hostile_form_is_refused_at_once(post: Callable[..., Any], part: str, size: int) -> None:
    body = PARTS[part] * (size // len(PARTS[part])) if part != "base64" else PARTS[part] + b"\n" * size
    response = post("/v1/searches", body + b"\r\n--b--\r\n", "multipart/form-data; boundary=b")
    assert response.status_code in (400, 413), response.content
    assert nothing_left()


@pytest.mark.parametrize("count", [200, 2000, 100_000])
def test_parameters_without_end_are_refused_at_once(api: Any, count: int) -> None:
    query = "&".join(f"x{number}=1" for number in range(count))
    response = api.get(f"/v1/searches?{query}")
    assert response.status_code == 400
    assert len(response.json()["errors"]) == (100 if count == 200 else 1)
    metadata = "&".join(f"metadata.x{number}=1" for number in range(21))
    errors = api.get(f"/v1/searches?{metadata}&limit=0").json()["errors"]
    assert {error["field"] for error in errors} == {"limit", "metadata"}


def test_an_id_is_asked_for_whatever_its_body(api: Any) -> None:
    assert api.post(f"/v1/searches/{uuid4()}/cancel", {"a": 1}, format="json").status_code == 404
