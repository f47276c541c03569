"""A search with a part of its picture."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from searches.models import Image, Search
from tests.api.examples import create, create_form, lookup, made, nothing_left
from tests.searches import samples

MIDDLE = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}


@pytest.mark.parametrize(
    ("crop", "field", "said"),
    [
        ([0, 0, 1, 1], "crop", "named fields"),
        ({**MIDDLE, "x": -0.1}, "crop.x", "from 0 to 1"),
        ({**MIDDLE, "y": 1.1}, "crop.y", "from 0 to 1"),
        ({**MIDDLE, "x": "0.1"}, "crop.x", "without quotes"),
        ({**MIDDLE, "width": 0}, "crop.width", "from 0.000001 to 1"),
        ({**MIDDLE, "height": -0.5}, "crop.height", "from 0.000001 to 1"),
        ({**MIDDLE, "width": 0.76}, "crop.width", "x + width must be at most 1"),
        ({**MIDDLE, "y": 0.6}, "crop.height", "y + height must be at most 1"),
        ({**MIDDLE, "unit": "px"}, "crop.unit", "Unknown field"),
        ({**MIDDLE, "width": 0.001}, "crop", "less than one pixel of this picture of 64 × 48"),
    ],
)
def test_a_wrong_crop_is_named_with_its_mend(api: APIClient, crop: Any, field: str, said: str) -> None:
    response = create(api, crop=crop)
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert error["field"] == field
    assert said in error["detail"]
    assert nothing_left()


def test_all_four_numbers_are_needed(api: APIClient) -> None:
    errors = create(api, crop={}).json()["errors"]
    assert [error["field"] for error in errors] == ["crop.x", "crop.y", "crop.width", "crop.height"]


def test_the_part_is_what_is_searched_with_and_shown(api: APIClient) -> None:
    search = made(api, crop=MIDDLE)
    shown = api.get(f"/v1/searches/{search.pk}").json()
    assert shown["crop"] == MIDDLE
    assert (shown["image"]["width"], shown["image"]["height"]) == (64, 48)
    sent = samples.rendering(samples.image_of(search).pk, "modash", search.crop)
    assert samples.read(sent.content).size == (32, 24)


def test_without_one_and_with_all_of_it_the_whole_picture_is(api: APIClient) -> None:
    for changes in ({}, {"crop": {"x": 0, "y": 0, "width": 1, "height": 1}}):
        search = made(api, **changes)
        assert api.get(f"/v1/searches/{search.pk}").json()["crop"] is None
        assert search.crop == ""
    assert Image.objects.get().renderings.count() == 1


def test_it_goes_with_a_form_and_with_a_stored_picture(api: APIClient) -> None:
    by_form = create_form(api, {"lookups": [lookup()], "crop": MIDDLE})
    assert by_form.status_code == 202
    again = made(api, image={"id": by_form.json()["image"]["id"]}, crop={**MIDDLE, "x": 0.5})
    assert {search.crop for search in Search.objects.all()} == {
        "250000,250000,500000,500000",
        "500000,250000,500000,500000",
    }
    assert samples.image_of(again).renderings.count() == 2


@pytest.mark.parametrize("content", [samples.heic(), samples.written(samples.picture(), "GIF")], ids=["heic", "gif"])
def test_a_picture_of_any_format_is_taken_under_any_name(api: APIClient, content: bytes) -> None:
    """The form calls it picture.jpg."""
    response = create_form(api, {"lookups": [lookup()]}, picture=content)
    assert (response.status_code, response.json()["image"]["format"] in {"heic", "gif"}) == (202, True)
    assert response.json()["image"]["bytes"] == len(content)
