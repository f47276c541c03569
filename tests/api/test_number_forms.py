"""A number is printed in one form, however it was written and wherever it is read: create, GET, lists, events, CSV, NDJSON."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts.models import Event, Mode, Tenant
from accounts.webhooks import endpoints
from providers.keyring import credentials
from searches.models import Search
from tests.api.examples import add_results, create, made
from tests.api.test_read import path_of

# How a number may be written.
SPELLINGS = ("{!r}", "{:.3f}", "{:.9e}", "{:E}", "{:.17g}")
FRACTIONS = st.one_of(
    st.floats(0, 1),
    st.sampled_from([-0.0, 0.0, 1.0, 1e-7, 1e-5, 0.1 + 0.2, 5e-324, 2.2250738585072014e-308, 1 - 2**-53]),
)
WRITTEN = st.builds(
    lambda number, spelling: spelling.format(number),
    st.one_of(FRACTIONS, st.integers(0, 1)),
    st.sampled_from(SPELLINGS),
).filter(lambda text: 0 <= float(text) <= 1)
FOLLOWERS = st.integers(0, 10_000_000_000)


def read(text: bytes) -> Any:
    """Parses JSON with its numbers as they are printed."""
    return json.loads(text, parse_float=lambda number: f"number {number}", parse_int=lambda number: f"number {number}")


def without_estimates(search: dict[str, Any]) -> dict[str, Any]:
    for lookup in search["lookups"]:
        del lookup["estimated_start_at"], lookup["position"], lookup["waiting_on"]
    return search


@pytest.fixture
def api(api: APIClient, alice: Tenant) -> APIClient:
    credentials.store(alice, "memories", "alices-memories-key")
    return api


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rate=WRITTEN, similarity=WRITTEN, left=WRITTEN, least=FOLLOWERS)
def test_a_create_answers_each_number_as_it_is_read_later(
    api: APIClient, rate: str, similarity: str, left: str, least: int
) -> None:
    image = create(api).json()["image"]["id"] if not Search.objects.exists() else str(Search.objects.all()[0].image_id)
    body = f"""{{"image": {{"id": "{image}"}}, "crop": {{"x": {left}, "y": 0.0, "width": 1e-1, "height": 1.0}}, "lookups": [
        {{"source": "tiktok-creators", "parameters": {{
            "engagement_rate": {{"min": {rate}}}, "followers_count": {{"min": {least}}}}}}},
        {{"source": "private-videos", "parameters": {{"similarity": {similarity}}}}}]}}"""
    if float(left) > 0.9:
        body = body.replace(f'"x": {left}', '"x": -0.0')
    answer = api.post("/v1/searches", body, content_type="application/json")
    assert answer.status_code == 202, answer.content
    asked = without_estimates(read(answer.content))
    assert asked == without_estimates(read(api.get(answer["Location"]).content))
    assert asked == without_estimates(read(api.get("/v1/searches?limit=1").content)["data"][0])
    parameters = asked["lookups"][1]["parameters"]
    assert float(parameters["similarity"].removeprefix("number ")) == float(similarity)
    assert "number -0" not in str(asked)


def test_numbers_that_are_equal_ask_the_same(api: APIClient, alice: Tenant) -> None:
    Tenant.objects.filter(pk=alice.pk).update(max_age=3600)
    keys = set()
    for number in ("0", "0.0", "-0.0", "0e5"):
        body = json.dumps({"image": {"id": create(api).json()["image"]["id"]}, "lookups": []})
        lookups = f'[{{"source": "tiktok-creators", "parameters": {{"engagement_rate": {{"min": {number}}}}}}}]'
        answer = api.post("/v1/searches", body.replace("[]", lookups), content_type="application/json")
        keys.add(Search.objects.get(pk=answer.json()["id"]).lookups.get().repeat_key)
    assert len(keys) == 1


def test_an_event_shows_what_get_shows(api: APIClient, alice: Tenant) -> None:
    endpoints.create(alice, Mode.LIVE, url="https://example.com/hooks")
    parameters = {"engagement_rate": {"min": -0.0}}
    search = made(api, lookups=[{"source": "tiktok-creators", "parameters": parameters}], crop=None)
    api.post(path_of(search, "/cancel"))
    event = Event.objects.get(type="search.canceled")
    assert read(event.body.encode())["data"] == read(api.get(path_of(search)).content)


NUMBERS = [
    *((0.0, "0"), (-0.0, "0"), (1.0, "1"), (79.0, "79")),
    *((0.1 + 0.2, "0.30000000000000004"), (1e-07, "1e-07"), (0.5, "0.5")),
]


@pytest.mark.parametrize(("score", "shown"), NUMBERS)
def test_a_score_is_the_same_in_each_form(api: APIClient, score: float, shown: str) -> None:
    search = made(api)
    add_results(search, 1, score=score)
    path = path_of(search, "/results")
    assert read(api.get(path).content)["data"][0]["score"] == f"number {shown}"
    assert read(api.get(path, headers={"Accept": "application/x-ndjson"}).getvalue())["score"] == f"number {shown}"
    rows = csv.DictReader(io.StringIO(api.get(path, headers={"Accept": "text/csv"}).getvalue().decode()))
    assert [row["score"] for row in rows] == [shown]
