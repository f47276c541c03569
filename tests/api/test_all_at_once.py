"""One error hides no other: whatever is wrong with a request is named in one answer, wherever it is."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.models import Mode, Tenant
from providers.keyring import credentials
from searches.models import Search
from tests.api.examples import PICTURE, create, create_form, lookup, made, nothing_left
from tests.api.routes import ROUTES, belongings, path_to
from tests.conftest import ClientOf
from tests.searches import samples

WRONG_FILES = {"a text": samples.TEXT, "nothing": b"", "half a png": samples.png()[:-100]}
LOOKUPS = [
    lookup(parameters={"age": {"min": 12}, "colour": "red"}, credential="nobody's", limit=30, offset=40),
    lookup(),
    lookup(source="public-videos", limit=3),
    lookup(source="nowhere"),
    lookup(limit=0, offset=7, credential=str(uuid4())),
    lookup(limit=30, offset=40),
]
IN_LOOKUPS = [
    "lookups[0].credential",
    "lookups[0].offset",
    "lookups[0].parameters.age.min",
    "lookups[0].parameters.colour",
    "lookups[2].limit",
    "lookups[3].source",
    "lookups[4].credential",
    "lookups[4].limit",
    "lookups[5].offset",
]


def fields_of(response: Any) -> list[str]:
    assert response.status_code == 400, response.content
    return sorted(error["field"] for error in response.json()["errors"])


@pytest.mark.parametrize("picture", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_hides_no_wrong_parameter_and_no_wrong_credential(api: APIClient, picture: bytes) -> None:
    for response in (
        create_form(api, {"lookups": LOOKUPS, "priority": 11}, picture=picture),
        create(api, image={"base64": b64encode(picture or b"{").decode()}, lookups=LOOKUPS, priority=11),
    ):
        assert fields_of(response) == ["image", *IN_LOOKUPS, "priority"]
    assert nothing_left()


def test_a_wrong_file_and_a_wrong_credential_are_named_where_all_parameters_are_right(api: APIClient) -> None:
    response = create_form(
        api, {"lookups": [lookup(credential="no"), lookup(limit=30, offset=1)]}, picture=samples.TEXT
    )
    assert fields_of(response) == ["image", "lookups[0].credential", "lookups[1].offset"]
    assert nothing_left()


def test_a_right_picture_is_not_kept_for_a_wrong_request(api: APIClient) -> None:
    response = create_form(api, {"lookups": [lookup(credential="no", limit=0)]})
    assert fields_of(response) == ["lookups[0].credential", "lookups[0].limit"]
    assert nothing_left()


def test_a_picture_that_is_not_there_and_a_crop_without_pixels_hide_nothing(api: APIClient) -> None:
    tiny = {"x": 0, "y": 0, "width": 0.000001, "height": 0.000001}
    image = {"id": str(made(api).image_id)}
    assert fields_of(create(api, image=image, crop=tiny, priority=11)) == ["crop", "priority"]
    response = create(api, image={"id": str(uuid4())}, lookups=[lookup(credential="no")], priority=11)
    assert fields_of(response) == ["image.id", "lookups[0].credential", "priority"]
    assert Search.objects.count() == 1


def test_a_picture_that_is_too_large_is_one_error_of_several(api: APIClient) -> None:
    picture = PICTURE + bytes(20 * 1024 * 1024)
    response = create_form(api, {"lookups": [lookup()], "priority": 11}, picture=picture)
    assert fields_of(response) == ["image", "priority"]


def test_a_form_tells_of_its_parts_its_picture_its_fields_and_the_address(api: APIClient) -> None:
    file = SimpleUploadedFile("a.jpg", samples.TEXT)
    request = json.dumps({"lookups": LOOKUPS[:1], "colour": 1})
    parts = {"image": file, "request": request, "priority": "3"}
    response = api.post("/v1/searches?a=1", parts, format="multipart", headers={"Idempotency-Key": "\u00e4"})
    assert fields_of(response) == ["Idempotency-Key", "a", "colour", "image", *IN_LOOKUPS[:4], "priority"]


def test_a_part_that_cannot_be_read_hides_no_wrong_picture(api: APIClient) -> None:
    assert fields_of(create_form(api, "{", picture=samples.TEXT, more="1")) == ["image", "more", "request"]
    assert nothing_left()


def test_a_picture_to_store_is_looked_at_whatever_else_is_wrong(api: APIClient) -> None:
    body = {"image": {"base64": b64encode(samples.TEXT).decode()}, "name": "a"}
    assert fields_of(api.post("/v1/images?a=1", body, format="json")) == ["a", "image", "name"]
    assert nothing_left()


def test_what_is_wrong_between_fields_is_told_too(api: APIClient) -> None:
    crop = {"x": 2, "y": 0.5, "width": 0.5, "height": 0.6}
    between = lookup(parameters={"age": {"min": 65, "max": 18}, "followers_count": {"min": 2, "max": 1, "mean": 1}})
    assert fields_of(create(api, crop=crop, lookups=[between])) == [
        "crop.height",
        "crop.x",
        "lookups[0].parameters.age.min",
        "lookups[0].parameters.followers_count.mean",
        "lookups[0].parameters.followers_count.min",
    ]


def test_a_name_of_metadata_hides_no_wrong_text(api: APIClient) -> None:
    assert fields_of(create(api, metadata={"a b": "c", "d": 1})) == ["metadata.a b", "metadata.d"]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("method", ["post", "patch"])
@pytest.mark.parametrize("route", [route for route in ROUTES if "openapi" not in route and "dictionaries" not in route])
def test_every_route_names_a_wrong_address_with_a_wrong_body(
    api: APIClient, alice: Tenant, client_of: ClientOf, route: str, method: str, mode: Mode
) -> None:
    path = path_to(route, belongings(api))
    caller = client_of(alice, mode) if "credentials" not in route else api
    response = getattr(caller, method)(f"{path}?colour=red", {"unheard": 1}, format="json")
    if response.status_code not in (404, 405):
        assert {"colour", "unheard"} <= set(fields_of(response))


def test_what_is_taken_already_is_told_with_what_is_wrong(api: APIClient) -> None:
    credentials.store(Tenant.objects.get(), "keyapi", "first")
    body = {"provider": "keyapi", "label": "default", "secret": "with a space"}
    assert fields_of(api.post("/v1/credentials", body, format="json")) == ["label", "secret"]
    url = "https://example.com/hooks"
    assert api.post("/v1/webhook-endpoints", {"url": url}, format="json").status_code == 201
    assert fields_of(api.post("/v1/webhook-endpoints", {"url": url, "events": [1]}, format="json")) == [
        "events[0]",
        "url",
    ]
