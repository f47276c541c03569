"""`GET /v1/usage` and the filters of `GET /v1/credits/entries`: what was spent, on what."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.http import StreamingHttpResponse
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import ApiKey, Tenant
from billing import audit, entry_list, ledger
from billing.models import Account, Entry, UsageByMetadata
from searches.models import Search
from tests.api.examples import lookup, made
from tests.api.test_credits import csv_of, grant
from tests.api.test_lists import read_all
from tests.api.test_read import path_of

CREATORS = "tiktok-creators"


def charged(api: APIClient, amount: str, **order: Any) -> Search:
    """Makes a search whose lookup has cost so much."""
    search = made(api, max_age=0, **order)
    reference = search.lookups.get().reference
    ledger.charge(reference, Decimal(amount), key=reference)
    return search


def used(api: APIClient, **query: Any) -> list[dict[str, Any]]:
    response = api.get("/v1/usage", query)
    assert response.status_code == 200, response.content
    rows: list[dict[str, Any]] = response.json()["data"]
    return rows


def today() -> str:
    return f"{Entry.objects.latest('created_at').created_at:%Y-%m-%d}"


def test_usage_is_by_day_unless_asked_otherwise(api: APIClient) -> None:
    charged(api, "0.25"), charged(api, "0.125")
    assert used(api) == [{"provider": "modash", "day": today(), "charged": "0.375", "charges": 2}]


def test_usage_is_grouped_by_two_at_once(api: APIClient) -> None:
    charged(api, "0.25")
    line = {"provider": "modash", "day": today(), "source": CREATORS, "charged": "0.25", "charges": 1}
    assert used(api, group_by="day,source") == [line]


def test_usage_names_the_key_that_searched(api: APIClient) -> None:
    charged(api, "0.25")
    key = ApiKey.objects.get()
    [line] = used(api, group_by="api_key")
    assert (line["api_key"], line["api_key_prefix"]) == (str(key.pk), key.prefix)


def test_usage_is_grouped_by_keys_of_metadata(api: APIClient) -> None:
    charged(api, "0.25", metadata={"campaign": "spring", "a.b": "c"})
    charged(api, "0.5")
    assert [(line["metadata"], line["charged"]) for line in used(api, group_by="metadata.campaign,metadata.a.b")] == [
        ({"campaign": None, "a.b": None}, "0.5"),
        ({"campaign": "spring", "a.b": "c"}, "0.25"),
    ]


def test_an_erased_search_keeps_its_cost_and_not_its_metadata(api: APIClient) -> None:
    search = charged(api, "0.25", metadata={"campaign": "spring"})
    assert api.delete(path_of(search)).status_code == 204
    [line] = used(api, group_by="metadata.campaign")
    assert (line["metadata"], line["charged"]) == ({"campaign": None}, "0.25")
    assert "spring" not in str(list(UsageByMetadata.objects.values()))
    assert audit.differences() == []


def test_usage_has_bounds_by_day(api: APIClient) -> None:
    charged(api, "0.25")
    day = Entry.objects.latest("created_at").created_at.date()
    start, end = f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z"
    assert len(used(api, created_after=start, created_before=end)) == 1
    assert used(api, created_after=end) == used(api, created_before=start) == []


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"group_by": "week"}, "group_by", "Cannot group by 'week'"),
        ({"group_by": ""}, "group_by", ""),
        ({"group_by": "day,"}, "group_by", "Cannot group by ''"),
        ({"group_by": "metadata."}, "group_by", "Cannot group by 'metadata.'"),
        ({"group_by": "metadata.a b"}, "group_by", "Cannot group by 'metadata.a b'"),
        ({"group_by": "day,day"}, "group_by", "Names day twice"),
        ({"group_by": "day,source,api_key,metadata.a,metadata.b"}, "group_by", "at most 4"),
        ({"created_after": "2026-11-01T12:00:00Z"}, "created_after", "beginning of a UTC day"),
        ({"created_after": "2026-11-01T00:00:00+01:00"}, "created_after", "beginning of a UTC day"),
        ({"created_after": "2026-11-01"}, "created_after", "Must be a time"),
        ({"created_before": "0001-01-01T00:00:00+01:00"}, "created_before", "out of range"),
        (
            {"created_after": "2026-11-02T00:00:00Z", "created_before": "2026-11-02T00:00:00Z"},
            "created_before",
            "later than created_after",
        ),
        ({"provider": "acme"}, "provider", "Must be one of"),
        ({"source": "acme"}, "source", "Must be one of"),
        ({"kind": "charge"}, "kind", "Unknown query parameter"),
    ],
)
def test_a_wrong_question_is_a_400_that_names_it(api: APIClient, query: dict[str, str], field: str, words: str) -> None:
    response = api.get("/v1/usage", query)
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert error["field"] == field
    assert words in error["detail"]


def test_a_cursor_belongs_to_its_grouping(api: APIClient) -> None:
    for name in "abc":
        charged(api, "0.25", metadata={"campaign": name})
    cursor = api.get("/v1/usage", {"group_by": "metadata.campaign", "limit": "1"}).json()["next_cursor"]
    assert api.get("/v1/usage", {"group_by": "source", "cursor": cursor}).status_code == 400
    assert len(read_all(api, "/v1/usage", group_by="metadata.campaign", limit=1)) == 3


def test_a_test_key_and_a_stranger_see_no_usage(api: APIClient, sandbox: APIClient, stranger: APIClient) -> None:
    charged(api, "0.25")
    for client in (sandbox, stranger):
        assert used(client) == used(client, group_by="metadata.campaign") == csv_of(client, "/v1/usage") == []


# Files


def test_usage_as_csv_has_a_column_a_group(api: APIClient) -> None:
    charged(api, "0.25", metadata={"a.b": "=1+1"})
    [row] = csv_of(api, "/v1/usage", group_by="day,metadata.a.b,api_key")
    assert list(row) == ["provider", "day", "metadata.a.b", "api_key", "api_key_prefix", "charged", "charges"]
    assert (row["metadata.a.b"], row["charged"]) == ("'=1+1", "0.25")


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/credits/entries"])
def test_a_file_is_streamed_and_has_the_rows_of_all_pages(
    api: APIClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_list, "ENTRIES_AT_ONCE", 2)
    charged(api, "0.25"), charged(api, "0.125")
    response = api.get(path, headers={"Accept": "application/x-ndjson"})
    assert isinstance(response, StreamingHttpResponse)
    assert response["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in response.getvalue().splitlines()] == read_all(api, path, limit=1)


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/credits/entries"])
def test_a_page_of_a_file_has_its_next_one_in_the_link(api: APIClient, path: str) -> None:
    charged(api, "0.25")
    charged(api, "0.125", metadata={"campaign": "spring"})
    query: dict[str, Any] = {"limit": 1, **({"group_by": "metadata.campaign"} if "usage" in path else {})}
    response = api.get(path, query, headers={"Accept": "text/csv"})
    assert len(response.content.splitlines()) == 2
    assert 'rel="next"' in response["Link"]


def test_a_file_without_rows_has_its_columns(api: APIClient) -> None:
    response = api.get("/v1/usage", headers={"Accept": "text/csv"})
    assert response.getvalue() == b"provider,day,charged,charges\r\n"


# Entries


def numbers(api: APIClient, **query: Any) -> list[int]:
    return [entry["number"] for entry in read_all(api, "/v1/credits/entries", limit=2, **query)]


def test_entries_are_filtered_by_kind(api: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    charged(api, "0.25"), charged(api, "0.125")
    assert numbers(api, kind="grant") == [1]
    assert numbers(api, kind="charge") == [5, 3]


def test_entries_are_filtered_by_lookup(api: APIClient) -> None:
    charged(api, "0.125")
    one = charged(api, "0.25").lookups.get()
    assert numbers(api, lookup=str(one.pk)) == [4, 3]
    assert numbers(api, lookup=str(one.search_id)) == []


def test_entries_are_filtered_by_provider(api: APIClient, alice: Tenant) -> None:
    grant(alice, "5")
    ledger.grant(ledger.account_of(alice, "memories"), Decimal(1))
    [entry] = read_all(api, "/v1/credits/entries", provider="memories")
    assert entry["provider"] == "memories"


def test_entries_are_filtered_by_time(api: APIClient, alice: Tenant) -> None:
    for _ in range(5):
        grant(alice, "1")
    times = list(Entry.objects.order_by("number").values_list("created_at", flat=True))
    second, fourth = times[1].isoformat(), times[3].isoformat()
    assert numbers(api, created_after=second) == [5, 4, 3]
    assert numbers(api, created_before=fourth) == [3, 2, 1]
    assert numbers(api, created_after=second, created_before=fourth, kind="grant") == [3]
    assert numbers(api, created_after="0001-01-01T00:00:00Z", created_before="9999-12-31T23:59:59Z") == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("query", "words"),
    [({"kind": "gift"}, "Must be one of"), ({"lookup": "7"}, "UUID"), ({"created_after": "today"}, "Must be a time")],
)
def test_a_wrong_filter_of_entries_is_a_400(api: APIClient, query: dict[str, str], words: str) -> None:
    response = api.get("/v1/credits/entries", query)
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert (error["field"], words in error["detail"]) == (next(iter(query)), True)


def test_a_late_page_starts_where_the_one_before_ended(alice: Tenant) -> None:
    """Reads its part of the index, and none of the entries that were shown before."""
    for _ in range(50):
        grant(alice, "1")
    account = Account.objects.get()
    with CaptureQueriesContext(connection) as asked:
        found = entry_list.page(Account.objects.all(), {}, [str(account.pk), "10"], 5)
    assert [entry.number for entry in found] == [9, 8, 7, 6, 5]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {asked.captured_queries[-1]['sql']}")
        plan = "\n".join(row for (row,) in cursor.fetchall())
    assert "each_number_of_an_account_is_given_once" in plan
    assert "number < 10" in plan.split("Index Cond:")[1].splitlines()[0]


def test_two_searches_of_one_lookup_each_count_apart(api: APIClient) -> None:
    search = made(api, lookups=[lookup(), lookup(limit=40)], max_age=0)
    for number, one in enumerate(search.lookups.order_by("ordinal"), 1):
        ledger.charge(one.reference, Decimal(number) / 4, key=one.reference)
    assert used(api, group_by="source")[0]["charged"] == "0.75"
