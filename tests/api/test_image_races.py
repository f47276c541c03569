"""A picture is deleted while a search with it arrives."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from searches import pictures
from searches.models import Image, Lookup, Search
from searches.pictures import files
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.api.examples import create, made, nothing_left, order
from tests.patience import HANGS_AFTER_SECONDS
from tests.searches import samples


@pytest.mark.django_db(transaction=True)
def test_a_search_whose_picture_goes_is_a_409_and_leaves_nothing(sandbox: APIClient) -> None:
    image = samples.image_of(made(sandbox))
    body = {"image": {"id": str(image.pk)}}
    Lookup.objects.all().delete()
    Search.objects.all().delete()
    with background() as start:
        with transaction.atomic():
            pictures.erase(image)
            answer = start(lambda: create(sandbox, **body))
            until_somebody_waits_for_a_lock()
        response = answer.result(HANGS_AFTER_SECONDS)
    assert (response.status_code, response.json()["code"]) == (409, "image_deleted")
    assert nothing_left()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("names_it", [True, False])
def test_one_that_goes_before_its_file_is_read_is_a_409_too(sandbox: APIClient, names_it: bool) -> None:
    picture = order()["image"]
    stored = sandbox.post("/v1/images", {"image": picture}, format="json").json()["id"]

    def read(name: str) -> bytes:
        pictures.erase(Image.objects.get(pk=stored))
        return as_it_was(name)

    as_it_was: Callable[[str], bytes] = files.read
    with patch.object(files, "read", read):
        response = create(sandbox, image={"id": stored} if names_it else picture)
    assert (response.status_code, response.json()["code"]) == (409, "image_deleted")
    assert nothing_left()
