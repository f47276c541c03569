"""Pictures: stored once, read, and deleted where no search needs them."""

from __future__ import annotations

from base64 import b64encode
from contextlib import ExitStack
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.test import APIClient

from searches.pictures import reading
from tests.api.examples import PICTURE, made, nothing_left
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
    assert first.json() == second.json()
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
    monkeypatch.setattr(reading, "LARGE_PIXELS", 5_000)
    file = SimpleUploadedFile("a.jpg", samples.jpeg(100, 100))
    with ExitStack() as taken:
        for _ in range(8):
            taken.enter_context(reading.large_ones.places.taken_by(uuid4()))
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
