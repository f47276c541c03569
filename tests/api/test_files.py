"""A list as one file: whole, of the moment when it was asked for, and never a part that looks like the whole."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework.test import APIClient

from billing import entry_list
from searches.api import result_list
from searches.lifecycle import erasure
from searches.models import Result, Search
from tests.api.examples import add_results, lookup, made
from tests.api.test_credits import grant
from tests.api.test_lists import read_all
from tests.api.test_results import results_of, table, titles

CSV, NDJSON = {"Accept": "text/csv"}, {"Accept": "application/x-ndjson"}
FORMS = pytest.mark.parametrize("form", [CSV, NDJSON], ids=["csv", "ndjson"])


@pytest.fixture
def search(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> Search:
    monkeypatch.setattr(result_list, "RESULTS_AT_ONCE", 2)
    search = made(api, lookups=[lookup(), lookup()])
    first, second = search.lookups.all()
    for owner in (second, first, second):
        add_results(search, 3, lookup=owner)
    return search


def asked(api: APIClient, search: Search, form: dict[str, str], **query: str) -> StreamingHttpResponse:
    response: Any = api.get(results_of(search), query, headers=form)
    assert isinstance(response, StreamingHttpResponse), response.content
    return response


def begun(response: Any) -> Iterator[bytes]:
    """Takes the head and the first rows of a file."""
    pieces: Iterator[bytes] = iter(response)
    next(pieces), next(pieces)
    return pieces


@pytest.mark.parametrize(
    "query", [{}, {"order": "arrival"}, {"include": "raw"}, {"type": "creator"}, {"type": "video"}]
)
def test_a_file_has_the_rows_of_all_pages(api: APIClient, search: Search, query: dict[str, str]) -> None:
    pages = read_all(api, results_of(search), limit=4, **query)
    assert [json.loads(line) for line in asked(api, search, NDJSON, **query).getvalue().splitlines()] == pages
    assert titles(table(asked(api, search, CSV, **query))) == titles(pages)


def test_a_file_of_one_lookup_has_its_results_alone(api: APIClient, search: Search) -> None:
    _, second = search.lookups.all()
    rows = [json.loads(line) for line in asked(api, search, NDJSON, lookup=str(second.pk)).getvalue().splitlines()]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row["lookup_id"] for row in rows} == {str(second.pk)}


@pytest.mark.parametrize("order", ["rank", "arrival"])
def test_a_file_has_what_had_arrived_when_it_was_asked_for(api: APIClient, search: Search, order: str) -> None:
    response = asked(api, search, NDJSON, order=order)
    pieces: Any = iter(response)
    lines = next(pieces)
    for owner in search.lookups.all():
        add_results(search, 5, lookup=owner, title="late")
    lines += b"".join(pieces)
    assert sorted(json.loads(line)["sequence"] for line in lines.splitlines()) == list(range(1, 10))


# A file that cannot be completed


def assert_cut_off(file: bytes, form: dict[str, str], code: str) -> None:
    """Fails if a file looks complete to a program that reads it."""
    if form is NDJSON:
        assert json.loads(file.splitlines()[-1])["error"]["code"] == code
        return
    assert file.splitlines()[-1].startswith(f'"ERROR {code}: This file is not complete'.encode())
    with pytest.raises(csv.Error, match="unexpected end of data"):
        list(csv.reader(io.StringIO(file.decode(), newline=""), strict=True))


@FORMS
def test_a_file_of_a_search_that_is_erased_meanwhile_says_so(
    api: APIClient, search: Search, form: dict[str, str]
) -> None:
    pieces = begun(asked(api, search, form))
    erasure.erase(search)
    assert_cut_off(b"".join(pieces), form, "results_erased")


@FORMS
def test_a_file_that_the_database_cuts_off_says_so(
    api: APIClient, search: Search, form: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OperationalError("the server ended the connection")

    pieces = begun(asked(api, search, form))
    monkeypatch.setattr(result_list.ResultList, "_rows", fail)
    assert_cut_off(b"".join(pieces), form, "not_ready")


@FORMS
def test_a_file_that_cannot_be_begun_is_a_problem(
    api: APIClient, search: Search, form: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OperationalError("the server ended the connection")

    monkeypatch.setattr(result_list.ResultList, "_rows", fail)
    api.raise_request_exception = False
    response = api.get(results_of(search), headers=form)
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")


@FORMS
def test_a_file_of_a_search_that_is_erased_before_its_first_row_is_a_404(
    api: APIClient, search: Search, form: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = result_list.ResultList._rows

    def erase_first(results: result_list.ResultList) -> QuerySet[Result]:
        erasure.erase(search)
        return rows(results)

    monkeypatch.setattr(result_list.ResultList, "_rows", erase_first)
    response = api.get(results_of(search), headers=form)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_list_of_the_ledger_says_so_too(api: APIClient, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_list, "ENTRIES_AT_ONCE", 1)
    grant(alice, "5")
    grant(alice, "6")
    pieces = begun(api.get("/v1/credits/entries", headers=CSV))
    monkeypatch.setattr(entry_list, "_of", lambda *_: 1 / 0)
    assert_cut_off(b"".join(pieces), CSV, "not_ready")


# Memory


def most_memory(api: APIClient, search: Search, form: dict[str, str]) -> int:
    """Returns the most bytes that Python's objects take while a file is read."""
    tracemalloc.start()
    try:
        for _ in asked(api, search, form):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_file_takes_no_more_memory_for_more_rows(
    api: APIClient, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_list, "RESULTS_AT_ONCE", 50)
    grown(search, 100)
    most_memory(api, search, CSV)  # what is kept from the first time on counts for neither
    few = most_memory(api, search, CSV)
    grown(search, 700)
    assert most_memory(api, search, CSV) < 1.5 * few


def grown(search: Search, count: int) -> None:
    """Adds results of two kilobytes each."""
    first, *_ = add_results(search, 1)
    first.detail["account_category"] = "a" * 2000
    present, ranked = first.sequence, first.rank
    fields = [field.attname for field in Result._meta.concrete_fields if field.attname != "id"]
    own = {name: getattr(first, name) for name in fields}
    Result.objects.bulk_create(
        Result(**own | {"rank": ranked + n, "sequence": present + n, "external_id": f"{ranked}-{n}"})
        for n in range(1, count + 1)
    )
    Search.objects.filter(pk=search.pk).update(results_count=present + count)
