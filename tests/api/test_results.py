"""Results and calls: their forms, orders and filters."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from searches.models import Call, Search
from tests.api.examples import add_results, lookup, made
from tests.api.test_lists import read_all


@pytest.fixture
def search(api: APIClient) -> Search:
    return made(api, lookups=[lookup(), lookup()])


def results_of(search: Search) -> str:
    return f"/v1/searches/{search.pk}/results"


def titles(rows: list[dict[str, Any]]) -> list[str]:
    return [row["title"] for row in rows]


def table(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(response.getvalue().decode(), newline="")))


def test_a_result_looks_as_the_contract_says(api: APIClient, search: Search) -> None:
    [result] = add_results(search, 1)
    [shown] = api.get(results_of(search)).json()["data"]
    assert shown == {
        "id": str(result.pk),
        "lookup_id": str(result.lookup_id),
        "source": "tiktok-creators",
        "type": "creator",
        "rank": 1,
        "sequence": 1,
        "observed_at": "2026-11-20T00:00:00Z",
        "external_id": "1",
        "title": "Creator 1",
        "url": "https://www.tiktok.com/@creator1",
        "image_url": None,
        "media_expires_at": None,
        "score": None,
        "creator": result.detail,
    }


def test_raw_comes_where_it_is_asked_for(api: APIClient, search: Search) -> None:
    add_results(search, 1)
    [shown] = api.get(results_of(search), {"include": "raw"}).json()["data"]
    assert shown["raw"] == {"userId": "1", "unheardOf": True}


def test_rank_goes_by_lookup_and_arrival_as_they_came(api: APIClient, search: Search) -> None:
    first, second = search.lookups.all()
    add_results(search, 2, lookup=second)
    add_results(search, 1, lookup=first, title="late but first")
    by_rank = read_all(api, results_of(search), limit=2)
    by_arrival = read_all(api, results_of(search), limit=2, order="arrival")
    assert titles(by_rank) == ["late but first", "Creator 1", "Creator 2"]
    assert titles(by_arrival) == ["Creator 1", "Creator 2", "late but first"]


def test_by_arrival_nothing_is_skipped_while_more_come(api: APIClient, search: Search) -> None:
    path = results_of(search)
    page = api.get(path, {"order": "arrival"}).json()
    assert (page["data"], page["next_cursor"]) == ([], None)
    first, second = search.lookups.all()
    seen: list[int] = []
    query: dict[str, Any] = {"order": "arrival", "limit": 2}
    for owner in (second, first, second):
        add_results(search, 3, lookup=owner)
        for _ in range(2):
            page = api.get(path, query).json()
            seen += [row["sequence"] for row in page["data"]]
            query["cursor"] = page["next_cursor"]
    assert seen == list(range(1, 10))
    page = api.get(path, query).json()
    assert (page["data"], page["has_more"], page["next_cursor"]) == ([], False, query["cursor"])


def test_a_cursor_holds_for_its_search_order_and_filters_alone(api: APIClient, search: Search) -> None:
    add_results(search)
    cursor = api.get(results_of(search), {"limit": 1}).json()["next_cursor"]
    assert api.get(results_of(search), {"include": "raw", "limit": 2, "cursor": cursor}).status_code == 200
    for other in ({"order": "arrival"}, {"type": "creator"}, {"lookup": str(search.lookups.all()[0].pk)}):
        assert api.get(results_of(search), {**other, "cursor": cursor}).status_code == 400
    assert api.get(results_of(made(api)), {"cursor": cursor}).status_code == 400


def test_results_are_filtered(api: APIClient, search: Search) -> None:
    first, second = search.lookups.all()
    add_results(search, 1, lookup=first)
    add_results(search, 2, lookup=second)
    path = results_of(search)
    assert len(read_all(api, path, lookup=str(second.pk))) == 2
    assert len(read_all(api, path, source="tiktok-creators", type="creator")) == 3
    assert read_all(api, path, lookup=str(search.pk)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("lookup", "1"), ("source", "x"), ("type", "picture"), ("order", "score"), ("include", "all"), ("rank", "1")],
)
def test_a_wrong_filter_is_named(api: APIClient, search: Search, name: str, value: str) -> None:
    response = api.get(results_of(search), {name: value})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, name)


def test_csv_holds_the_same_rows(api: APIClient, search: Search) -> None:
    add_results(search)
    response = api.get(results_of(search), headers={"Accept": "text/csv"})
    rows = table(response)
    assert response["Content-Type"].startswith("text/csv")
    assert titles(rows) == ["Creator 1", "Creator 2", "Creator 3"]
    assert rows[0]["creator.username"] == "creator1"
    assert json.loads(rows[0]["creator.matched_posts"]) == []
    assert "raw" not in rows[0]


def test_csv_has_its_columns_without_rows(api: APIClient, search: Search) -> None:
    response = api.get(results_of(search), {"include": "raw"}, headers={"Accept": "text/csv"})
    assert response.getvalue().decode().strip().split(",")[-1] == "raw"


@pytest.mark.parametrize("title", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t'=1", "\r'=1", "＝1"])
def test_csv_runs_nothing_in_a_spreadsheet(api: APIClient, search: Search, title: str) -> None:
    add_results(search, 1, title=title.replace("'", ""), url='https://www.tiktok.com/@a,"b"')
    [row] = table(api.get(results_of(search), headers={"Accept": "text/csv"}))
    assert row["title"] == f"'{title}"
    assert row["url"] == 'https://www.tiktok.com/@a,"b"'


def test_ndjson_is_a_row_a_line(api: APIClient, search: Search) -> None:
    add_results(search)
    response = api.get(results_of(search), headers={"Accept": "application/x-ndjson"})
    rows = [json.loads(line) for line in response.getvalue().decode().splitlines()]
    assert rows == api.get(results_of(search)).json()["data"]


def test_tables_are_paged_by_their_link(api: APIClient, search: Search) -> None:
    add_results(search)
    response = api.get(results_of(search), {"limit": 2}, headers={"Accept": "text/csv"})
    following = response["Link"].split(">")[0].strip("<")
    assert titles(table(api.get(following, headers={"Accept": "text/csv"}))) == ["Creator 3"]


def test_another_form_is_a_406_that_names_those_there_are(api: APIClient, search: Search) -> None:
    response = api.get(results_of(search), headers={"Accept": "application/pdf"})
    assert (response.status_code, response["Content-Type"]) == (406, "application/problem+json")
    assert "application/json or text/csv or application/x-ndjson" in response.json()["detail"]


def test_errors_are_problems_whatever_form_was_asked_for(api: APIClient, search: Search) -> None:
    response = api.get(results_of(search), {"limit": 0}, headers={"Accept": "text/csv"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


def test_calls_tell_what_became_of_each(api: APIClient, search: Search) -> None:
    only, at = search.lookups.all()[0], search.created_at
    Call.objects.create(
        lookup=only,
        page=0,
        state="answered",
        armed_at=at,
        leased_until=at,
        sent_at=at,
        finished_at=at + timedelta(milliseconds=321),
        status=200,
        returned=20,
        credits="0.500000",
        provider_request_id="req-1",
        excerpt="for operators only",
    )
    armed = Call.objects.create(lookup=only, page=1, armed_at=at + timedelta(seconds=1), leased_until=at)
    first, second = read_all(api, f"/v1/searches/{search.pk}/calls", limit=1)
    assert (first["duration_ms"], first["status"], first["returned"]) == (321, 200, 20)
    assert (first["credits"], first["provider_request_id"], first["error"]) == ("0.5", "req-1", None)
    assert "operators" not in str(first)
    assert (second["id"], second["state"], second["sent_at"]) == (str(armed.pk), "armed", None)
    assert (second["duration_ms"], second["provider_request_id"]) == (None, None)
