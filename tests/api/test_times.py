"""Every time in every answer is in UTC and ends with Z."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import Event
from tests.api.routes import belongings, path_to
from tests.api.test_openapi import document

ROUTES = sorted(
    path for path, operations in document()["paths"].items() if "get" in operations and "{name}" not in path
)
# What begins like a time, up to the end of its text.
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[^\"',\s]*")
IN_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
FORMS = ("application/json", "text/csv", "application/x-ndjson")


def wrong(text: str) -> list[str]:
    return [time for time in TIME.findall(text) if not IN_UTC.fullmatch(time)]


@pytest.fixture
def elsewhere(api: APIClient) -> APIClient:
    """Gives the session of the database another time zone, as the defaults of a role may."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'")
    return api


@pytest.mark.parametrize("route", ROUTES)
def test_each_answer_is_in_utc(elsewhere: APIClient, route: str) -> None:
    path = path_to(route.replace("{id}", "<id:id>"), belongings(elsewhere))
    for form in FORMS:
        answer = elsewhere.get(path, headers={"Accept": form})
        assert answer.status_code in (200, 406), answer.getvalue()
        assert wrong(answer.getvalue().decode()) == []


def test_so_is_each_event(elsewhere: APIClient) -> None:
    search = belongings(elsewhere)
    elsewhere.post(f"/v1/searches/{search.pk}/cancel")
    bodies = [event.body for event in Event.objects.all()]
    assert any(TIME.search(body) for body in bodies)
    assert [wrong(body) for body in bodies] == [[]] * len(bodies)
