"""`public-videos` and `private-videos` over HTTP: what may be asked of them, and their results in each form."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from accounts.models import Tenant
from providers import registry
from providers.keyring import credentials
from searches.models import Search
from tests.api.examples import add_results, create, lookup, made, nothing_left

SOURCES = pytest.mark.parametrize("source", ["public-videos", "private-videos"])
DETAIL: dict[str, Any] = {
    "video_no": "PI-600947902470296459",
    "name": "Sample public video title",
    "platform": "TIKTOK",
    "moments": [
        {"start_seconds": 79.0, "end_seconds": None, "score": 0.8712},
        {"start_seconds": 32.0, "end_seconds": 35.0, "score": 0.8631},
    ],
}
FOUND: dict[str, Any] = {
    "type": "video",
    "external_id": "PI-600947902470296459",
    "title": "Sample public video title",
    "url": None,
    "score": 0.8712,
    "detail": DETAIL,
    "raw": {"frames": [{"videoNo": "PI-600947902470296459", "startTime": "79", "video_bucket": "b"}]},
}


@pytest.fixture
def viewer(alice: Tenant, api: APIClient) -> APIClient:
    """Alice, with a key to Memories too."""
    credentials.store(alice, "memories", "memories-key-of-alice")
    return api


@SOURCES
def test_a_search_of_videos_is_taken_and_one_credit_held_for_it(viewer: APIClient, source: str) -> None:
    response = create(viewer, lookups=[lookup(source=source, parameters={"similarity": 0.5, "unique_id": "Shelf 2"})])
    [shown] = response.json()["lookups"]
    assert (response.status_code, shown["provider"], shown["status"]) == (202, "memories", "queued")
    assert shown["effective_parameters"] == registry.adapter(source).effective(shown["parameters"])
    assert (shown["parameters"], shown["credits"]["held"]) == ({"similarity": 0.5, "unique_id": "Shelf 2"}, "1")


def test_effective_parameters_show_the_defaults(viewer: APIClient) -> None:
    both = [lookup(source="public-videos"), lookup(source="private-videos")]
    public, private = create(viewer, lookups=both).json()["lookups"]
    assert public["effective_parameters"] == {"platform": "TIKTOK", "similarity": 0.85, "unique_id": "default"}
    assert private["effective_parameters"] == {"similarity": 0.85, "unique_id": "default"}


@SOURCES
def test_videos_are_asked_for_in_one_call(viewer: APIClient, source: str) -> None:
    only = made(viewer, lookups=[lookup(source=source, offset=0)]).lookups.get()
    assert (only.pages, only.first_page, only.limit) == (1, 0, None)


@SOURCES
@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"limit": 20}, "limit", "leave it out"),
        ({"offset": 20}, "offset", "leave offset out"),
        ({"offset": 20.0}, "offset", "leave offset out"),
        ({"parameters": {"similarity": 1.5}}, "parameters.similarity", "Must be at most 1."),
        ({"parameters": {"platform": "VIMEO"}}, "parameters.platform", ""),
        ({"parameters": {"type": "TIKTOK"}}, "parameters.type", "Unknown field"),
    ],
)
def test_what_cannot_be_asked_of_them_is_named(
    viewer: APIClient, source: str, changes: dict[str, Any], field: str, says: str
) -> None:
    response = create(viewer, lookups=[lookup(source=source, **changes)])
    [error] = response.json()["errors"]
    assert (response.status_code, error["field"]) == (400, f"lookups[0].{field}")
    assert says in error["detail"]
    assert nothing_left()


PARAMETERS: list[dict[str, Any]] = [
    {},
    {"similarity": 0, "unique_id": "a b"},
    {"similarity": 1},
    {"platform": "YOUTUBE"},
    {"platform": "youtube"},
    {"similarity": 2},
    {"similarity": "0.5"},
    {"unique_id": ""},
    {"unique_id": " a"},
    {"unique_id": "a\nb"},
    {"unique_id": "a" * 256},
]


@SOURCES
def test_the_source_says_what_it_takes_and_what_it_leaves_out(viewer: APIClient, source: str) -> None:
    [shown] = [each for each in viewer.get("/v1/sources").json()["data"] if each["source"] == source]
    assert (shown["provider"], shown["result_type"], shown["score_range"]) == (
        "memories",
        "video",
        {"min": 0, "max": 1},
    )
    assert (shown["default_limit"], shown["max_results"]) == (None, None)
    assert shown["price"] == {"per_call": "1", "per_result": "0"}
    assert "assumption" in str(shown["caveats"])
    for parameters in PARAMETERS:
        taken = create(viewer, lookups=[lookup(source=source, parameters=parameters)]).status_code == 202
        assert Draft202012Validator(shown["parameters"]).is_valid(parameters) == taken, parameters


@pytest.fixture
def search(viewer: APIClient) -> Search:
    """A video found, and a creator beside it."""
    search = made(viewer, lookups=[lookup(source="public-videos"), lookup()])
    first, second = search.lookups.all()
    add_results(search, 1, lookup=first, **FOUND)
    add_results(search, 1, lookup=second)
    return search


def test_a_video_looks_as_the_contract_says(viewer: APIClient, search: Search) -> None:
    path = f"/v1/searches/{search.pk}/results"
    [shown] = viewer.get(path, {"type": "video", "include": "raw"}).json()["data"]
    assert (shown["video"], shown["raw"]) == (DETAIL, FOUND["raw"])
    assert not {"creator", "product"} & set(shown)
    assert (shown["source"], shown["score"], shown["url"]) == ("public-videos", 0.8712, None)


def test_videos_and_creators_share_a_table(viewer: APIClient, search: Search) -> None:
    response = viewer.get(f"/v1/searches/{search.pk}/results", headers={"Accept": "text/csv"})
    video, creator = csv.DictReader(io.StringIO(response.getvalue().decode()))
    assert (video["video.video_no"], video["video.platform"], video["score"]) == (
        DETAIL["video_no"],
        "TIKTOK",
        "0.8712",
    )
    assert json.loads(video["video.moments"]) == DETAIL["moments"]
    assert (video["creator.username"], creator["video.video_no"], creator["video.moments"]) == ("", "", "")


def test_a_line_holds_what_json_does(viewer: APIClient, search: Search) -> None:
    path = f"/v1/searches/{search.pk}/results"
    response = viewer.get(path, headers={"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in response.getvalue().decode().splitlines()]
    assert lines == viewer.get(path).json()["data"]
