"""A picture is deleted while a search with it arrives."""

from __future__ import annotations

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from searches import pictures
from searches.models import Lookup, Search
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.api.examples import create, made, nothing_left


@pytest.mark.django_db(transaction=True)
def test_a_search_whose_picture_goes_is_a_409_and_leaves_nothing(sandbox: APIClient) -> None:
    image = made(sandbox).image
    body = {"image": {"id": str(image.pk)}}
    Lookup.objects.all().delete()
    Search.objects.all().delete()
    with background() as start:
        with transaction.atomic():
            pictures.erase(image)
            answer = start(lambda: create(sandbox, **body))
            until_somebody_waits_for_a_lock()
        response = answer.result(5)
    assert (response.status_code, response.json()["code"]) == (409, "image_deleted")
    assert nothing_left()
