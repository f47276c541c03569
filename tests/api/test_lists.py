"""Every list: its pages, its cursors, its filters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from searches.api.views.searches import Searches
from searches.models import Search, Status
from tests.api import list_rows
from tests.api.examples import lookup, made
from tests.api.routes import belongings, path_to


def read_all(api: APIClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Page by page, until there are no more."""
    rows: list[dict[str, Any]] = []
    while True:
        page = api.get(path, query).json()
        rows += page["data"]
        if not page["has_more"]:
            return rows
        query["cursor"] = page["next_cursor"]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def listed(api: APIClient, **query: Any) -> list[str]:
    response = api.get("/v1/searches", query)
    assert response.status_code == 200, response.content
    return ids(response.json()["data"])


def test_searches_come_newest_first_and_none_twice(api: APIClient) -> None:
    searches = [str(made(api).pk) for _ in range(5)]
    Search.objects.update(created_at="2026-11-20T00:00:00Z")  # a tie, which the id breaks
    assert ids(read_all(api, "/v1/searches", limit=2)) == searches[::-1]


def test_a_page_says_whether_there_is_more(api: APIClient) -> None:
    made(api), made(api)
    first = api.get("/v1/searches", {"limit": 1})
    assert (first.json()["has_more"], len(first.json()["data"])) == (True, 1)
    last = api.get("/v1/searches", {"limit": 1, "cursor": first.json()["next_cursor"]})
    assert (last.json()["has_more"], last.json()["next_cursor"]) == (False, None)
    assert "Link" not in last


def test_the_link_leads_to_the_next_page(api: APIClient) -> None:
    old, new = made(api), made(api)
    link = api.get("/v1/searches", {"limit": 1})["Link"]
    path, relation = link.split("; ")
    assert relation == 'rel="next"'
    assert ids(api.get(path.strip("<>")).json()["data"]) == [str(old.pk)]
    assert str(new.pk) not in link


def test_rows_that_come_meanwhile_shift_no_page(api: APIClient) -> None:
    old, new = made(api), made(api)
    cursor = api.get("/v1/searches", {"limit": 1}).json()["next_cursor"]
    made(api)
    assert listed(api, cursor=cursor) == [str(old.pk)]
    assert str(new.pk) not in listed(api, cursor=cursor)


def test_a_page_costs_the_same_whatever_it_holds(api: APIClient) -> None:
    made(api)
    with CaptureQueriesContext(connection) as few:
        listed(api)
    for _ in range(4):
        made(api, lookups=[lookup()] * 3)
    with CaptureQueriesContext(connection) as many:
        assert len(listed(api)) == 5
    assert len(many) == len(few) <= 12


def test_no_list_takes_more_queries_the_more_rows_it_has(api: APIClient) -> None:
    search = belongings(api)
    taken = {}
    for operation in list_rows.lists():
        path = path_to(operation.route, search)
        list_rows.add(operation, search, 1)
        few, _ = list_rows.queries_of(api, path)
        list_rows.add(operation, search, 29)
        many, rows = list_rows.queries_of(api, path)
        assert rows >= 30, path
        taken[operation.route] = few, many
    assert {route: both for route, both in taken.items() if both[0] != both[1]} == {}


@pytest.mark.parametrize("cursor", ["", "x", "WyIyMDI2Il0.abc", "a" * 5000])
def test_a_broken_cursor_is_a_400(api: APIClient, cursor: str) -> None:
    response = api.get("/v1/searches", {"cursor": cursor})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "cursor")


def test_a_cursor_means_nothing_elsewhere(api: APIClient, stranger: APIClient) -> None:
    made(api), made(api)
    cursor = api.get("/v1/searches", {"limit": 1}).json()["next_cursor"]
    assert stranger.get("/v1/searches", {"cursor": cursor}).status_code == 400
    assert api.get("/v1/credits", {"cursor": cursor}).status_code == 400


def test_a_cursor_holds_for_its_filters_alone(api: APIClient) -> None:
    made(api, metadata={"a": "1"}), made(api, metadata={"a": "1"})
    query: dict[str, Any] = {"metadata.a": "1", "created_after": "2026-01-01T00:00:00Z"}
    cursor = api.get("/v1/searches", {**query, "limit": 1}).json()["next_cursor"]
    assert len(listed(api, **query, cursor=cursor, limit=5)) == 1
    assert len(listed(api, **query | {"created_after": "2026-01-01T02:00:00+02:00"}, cursor=cursor)) == 1
    for other in ({}, {"metadata.a": "1"}, {**query, "status": "queued"}, query | {"metadata.a": "2"}):
        response = api.get("/v1/searches", {**other, "cursor": cursor})
        assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "cursor")
        assert "filters" in response.json()["errors"][0]["detail"]


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: "x" + text, lambda text: text[::-1]])
def test_a_cursor_that_was_changed_is_none(api: APIClient, change: Callable[[str], str]) -> None:
    made(api), made(api)
    cursor = api.get("/v1/searches", {"limit": 1}).json()["next_cursor"]
    assert api.get("/v1/searches", {"cursor": change(cursor)}).status_code == 400


def test_a_cursor_whose_row_is_gone_leads_on(api: APIClient) -> None:
    old, new = made(api), made(api)
    cursor = api.get("/v1/searches", {"limit": 1}).json()["next_cursor"]
    assert api.delete(f"/v1/searches/{new.pk}").status_code == 204
    assert listed(api, cursor=cursor) == [str(old.pk)]


def test_a_cursor_of_a_version_with_other_keys_is_none(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made(api), made(api)
    with monkeypatch.context() as earlier:
        earlier.setattr(Searches, "keys", ("-created_at",))
        cursor = api.get("/v1/searches", {"limit": 1}).json()["next_cursor"]
    assert api.get("/v1/searches", {"cursor": cursor}).status_code == 400


@pytest.mark.parametrize("limit", ["0", "101", "x", "1.5", ""])
def test_a_page_has_1_to_100_rows(api: APIClient, limit: str) -> None:
    response = api.get("/v1/searches", {"limit": limit})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "limit")


def test_searches_are_filtered_by_status(api: APIClient) -> None:
    queued, ended = made(api), made(api)
    Search.objects.filter(pk=ended.pk).update(status=Status.FAILED)
    assert listed(api, status="queued") == [str(queued.pk)]


def test_searches_are_filtered_by_source(api: APIClient) -> None:
    search = made(api, lookups=[lookup(), lookup()])
    assert listed(api, source="tiktok-creators") == [str(search.pk)]
    search.lookups.update(source="public-videos")
    assert listed(api, source="tiktok-creators") == []


def test_searches_are_filtered_by_age(api: APIClient) -> None:
    old, new = made(api), made(api)
    between = old.created_at + (new.created_at - old.created_at) / 2
    assert listed(api, created_after=between.isoformat()) == [str(new.pk)]
    assert listed(api, created_before=between.isoformat()) == [str(old.pk)]
    later = new.created_at + timedelta(seconds=1)
    assert listed(api, created_after=later.isoformat()) == []


def test_an_instant_itself_is_neither_after_nor_before_it(api: APIClient) -> None:
    at = made(api).created_at.isoformat()
    assert (listed(api, created_after=at), listed(api, created_before=at)) == ([], [])


def test_a_search_must_meet_all_filters(api: APIClient) -> None:
    search = made(api, metadata={"campaign": "spring", "team": "a"})
    after, before = (search.created_at + timedelta(seconds=seconds) for seconds in (-1, 1))
    met = {
        "status": "queued",
        "source": "tiktok-creators",
        "metadata.campaign": "spring",
        "metadata.team": "a",
        "created_after": after.isoformat(),
        "created_before": before.isoformat(),
    }
    unmet = {
        "status": "failed",
        "source": "public-videos",
        "metadata.campaign": "Spring",
        "metadata.team": "",
        "created_after": before.isoformat(),
        "created_before": after.isoformat(),
    }
    assert listed(api, **met) == [str(search.pk)]
    for name, value in unmet.items():
        one_unmet = {other: text for other, text in met.items() if not name.startswith("created") or other == name}
        assert listed(api, **one_unmet | {name: value}) == [], name


def test_filters_hold_on_every_page(api: APIClient) -> None:
    wanted = [made(api, metadata={"a": str(number % 2)}) for number in range(6)][1::2]
    found = read_all(api, "/v1/searches", limit=1, **{"metadata.a": "1"})
    assert ids(found) == [str(search.pk) for search in reversed(wanted)]


def test_searches_are_filtered_by_metadata(api: APIClient) -> None:
    spring = made(api, metadata={"campaign": "spring", "team.a": "1"})
    made(api, metadata={"campaign": "autumn"})
    assert listed(api, **{"metadata.campaign": "spring"}) == [str(spring.pk)]
    assert listed(api, **{"metadata.campaign": "spring", "metadata.team.a": "1"}) == [str(spring.pk)]
    assert listed(api, **{"metadata.campaign": "spring", "metadata.team.a": "2"}) == []


WRONG = {
    "state": "queued",
    "status": "done",
    "source": "instagram",
    "created_after": "2026-11-20",
    "created_before": "2026-11-20T00:00:00",
    "metadata": "spring",
    "metadata.a": "\0",
    "metadata.": "spring",
    "metadata.a b": "spring",
    "metadata.\0": "spring",
    "format": "csv",
}


@pytest.mark.parametrize(("name", "value"), WRONG.items())
def test_a_wrong_filter_is_named(api: APIClient, name: str, value: str) -> None:
    response = api.get("/v1/searches", {name: value})
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [name]


def test_an_unknown_filter_is_told_the_known_ones_and_that_metadata_are_among_them(api: APIClient) -> None:
    [error] = api.get("/v1/searches", {"metadata": "spring"}).json()["errors"]
    assert error["detail"] == (
        "Unknown query parameter; known here: created_after, created_before, cursor, limit, metadata.<key>, source, status."
    )


def test_all_wrong_filters_are_named_at_once(api: APIClient) -> None:
    response = api.get("/v1/searches?state=a&limit=0&status=queued&status=failed")
    assert sorted(error["field"] for error in response.json()["errors"]) == ["limit", "state", "status"]


@pytest.mark.parametrize(
    "path", ["/v1/searches", "/v1/sources", "/v1/credits", "/v1/credits/entries", "/v1/statements", "/v1/usage"]
)
def test_every_list_has_one_form(api: APIClient, path: str) -> None:
    assert set(api.get(path).json()) == {"data", "has_more", "next_cursor"}
