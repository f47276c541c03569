"""Pictures: stored once, read, and deleted where no search needs them."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.test import APIClient

from accounts.models import Tenant
from searches.lifecycle import cancellation, retention
from searches.models import Search
from searches.pictures import isolation
from tests.api.examples import PICTURE, made, nothing_left
from tests.api.test_lists import read_all
from tests.api.test_openapi import described
from tests.api.test_problems import problem_of
from tests.searches import samples


def test_a_file_is_stored(api: APIClient) -> None:
    file = SimpleUploadedFile("a.jpg", PICTURE)
    response = api.post("/v1/images", {"image": file}, format="multipart")
    shown = response.json()
    assert (response.status_code, response["Location"]) == (201, f"/v1/images/{shown['id']}")
    assert (shown["format"], shown["width"], shown["height"], shown["bytes"]) == ("jpeg", 64, 48, len(PICTURE))
    assert api.get(response["Location"]).json() == shown


def test_the_same_picture_is_stored_once(api: APIClient) -> None:
    body = {"image": {"base64": b64encode(PICTURE).decode()}}
    first, second = (api.post("/v1/images", body, format="json") for _ in range(2))
    assert first.json().items() - second.json().items() == {("expires_at", first.json()["expires_at"])}
    assert str(made(api).image_id) == first.json()["id"]


def test_a_picture_is_not_stored_by_its_id(api: APIClient) -> None:
    response = api.post("/v1/images", {"image": {"id": str(made(api).image_id)}}, format="json")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "image.id")


def test_a_bad_picture_leaves_nothing(api: APIClient) -> None:
    file = SimpleUploadedFile("a.jpg", samples.TEXT)
    response = api.post("/v1/images", {"image": file}, format="multipart")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "image")
    assert nothing_left()


def test_the_answer_says_when_to_come_again_and_nothing_is_left(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "LARGE_PIXELS", 5_000)
    monkeypatch.setattr(isolation.large_ones, "places", 0)
    file = SimpleUploadedFile("a.jpg", samples.jpeg(100, 100))
    with isolation.large_ones.turn_of(uuid4()):
        response = api.post("/v1/images", {"image": file}, format="multipart")
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert int(response["Retry-After"]) > 0
    assert "Too many pictures are being read" in response.json()["detail"]
    assert nothing_left()


def test_deleting_takes_row_and_files(
    api: APIClient, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    image = api.post("/v1/images", {"image": SimpleUploadedFile("a.jpg", PICTURE)}, format="multipart").json()
    with django_capture_on_commit_callbacks(execute=True):
        response = api.delete(f"/v1/images/{image['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert api.get(f"/v1/images/{image['id']}").status_code == 404
    assert nothing_left()


def test_a_picture_that_a_search_names_stays(api: APIClient) -> None:
    image = samples.image_of(made(api))
    response = api.delete(f"/v1/images/{image.pk}")
    assert (response.status_code, response.json()["code"]) == (409, "image_in_use")
    assert api.get(f"/v1/images/{image.pk}").status_code == 200


def test_all_pictures_are_listed_newest_first_used_or_not(api: APIClient) -> None:
    used = str(made(api).image_id)
    stored = [
        api.post("/v1/images", {"image": SimpleUploadedFile("a.jpg", samples.jpeg(40 + n, 40))}, format="multipart")
        for n in range(4)
    ]
    unused = [answer.json()["id"] for answer in stored][::-1]
    assert [row["id"] for row in read_all(api, "/v1/images", limit=2)] == [*unused, used]
    assert [row["id"] for row in read_all(api, "/v1/images", limit=3, unused="true")] == unused
    assert [row["id"] for row in read_all(api, "/v1/images", unused="false")] == [used]
    assert api.get("/v1/images?unused=perhaps").status_code == 400


def test_a_picture_says_how_long_it_stays(alice: Tenant, api: APIClient) -> None:
    alice.image_retention_days = 2
    alice.save()
    search = made(api)
    path = f"/v1/images/{search.image_id}"
    assert api.get(path).json()["expires_at"] is None
    cancellation.cancel(search)
    search.refresh_from_db()
    assert search.finished_at is not None
    expires_at = datetime.fromisoformat(api.get(path).json()["expires_at"])
    assert expires_at == search.finished_at + timedelta(days=2)


def test_what_is_past_its_retention_is_a_404_and_its_search_says_null(alice: Tenant, api: APIClient) -> None:
    alice.image_retention_days = alice.result_retention_days = 0
    alice.save()
    search = made(api)
    assert search.image_id is not None
    cancellation.cancel(search)
    Search.objects.update(finished_at=timezone.now() - retention.READING)
    retention.enforce()
    assert api.get(f"/v1/images/{search.image_id}").status_code == 404
    shown = api.get(f"/v1/searches/{search.pk}")
    described("/v1/searches/{id}", "get", shown)
    assert (shown.status_code, shown.json()["image"]) == (200, None)
    results = problem_of(api.get(f"/v1/searches/{search.pk}/results"))
    assert (results["status"], results["code"]) == (404, "results_erased")


def test_a_strangers_pictures_are_not_listed(api: APIClient, stranger: APIClient) -> None:
    made(api)
    assert stranger.get("/v1/images").json()["data"] == []
