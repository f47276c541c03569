"""One search: what it costs to read, when it has not changed, how it is canceled, who sees it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import Tenant
from searches.models import Call, Lookup, Search, Status
from tests.api.examples import lookup, made


def path_of(search: Search, part: str = "") -> str:
    return f"/v1/searches/{search.pk}{part}"


def test_it_reads_as_it_was_made(api: APIClient) -> None:
    search = made(api)
    response = api.get(path_of(search))
    assert response.status_code == 200
    assert response.json()["id"] == str(search.pk)
    assert response["ETag"] == 'W/"1"'


def test_reading_costs_the_same_whatever_it_holds(api: APIClient) -> None:
    one, twenty = made(api), made(api, lookups=[lookup()] * 20)
    with CaptureQueriesContext(
        connection,
    ) as few:
        api.get(path_of(one))
    with CaptureQueriesContext(connection) as many:
        api.get(path_of(twenty))
    assert len(many) == len(few) <= 12


def test_a_call_of_which_nothing_left_is_shown_and_not_counted(api: APIClient) -> None:
    search = made(api)
    moment = search.created_at
    for page, (state, sent_at) in enumerate([("failed", None), ("failed", moment), ("unknown", None), ("armed", None)]):
        Call.objects.create(
            lookup=search.lookups.get(), page=page, state=state, sent_at=sent_at, armed_at=moment, leased_until=moment
        )
    shown = api.get(path_of(search, "/calls")).json()["data"]
    assert [call["sent_at"] is not None for call in shown] == [False, True, False, False]
    assert api.get(path_of(search)).json()["lookups"][0]["calls"] == 3
    assert api.get(path_of(made(api))).json()["lookups"][0]["calls"] == 0


def test_calls_are_counted_and_errors_told(api: APIClient) -> None:
    search = made(api)
    only = search.lookups.get()
    for page in range(2):
        Call.objects.create(lookup=only, page=page, armed_at=search.created_at, leased_until=search.created_at)
    Lookup.objects.filter(pk=only.pk).update(queue_state="none")
    Lookup.objects.filter(pk=only.pk).update(
        status=Status.FAILED, error_code="refused", error_detail="No.", error_retryable=False
    )
    shown = api.get(path_of(search)).json()["lookups"][0]
    assert shown["calls"] == 2
    assert shown["error"] == {"code": "refused", "detail": "No.", "retryable": False}
    assert (shown["position"], shown["waiting_on"]) == (None, None)


@pytest.mark.parametrize("known", ['W/"1"', '"1"', '"0", W/"1"', "*"])
def test_what_is_known_is_a_304(api: APIClient, known: str) -> None:
    response = api.get(path_of(made(api)), headers={"If-None-Match": known})
    assert (response.status_code, response.content) == (304, b"")
    assert response["ETag"] == 'W/"1"'


@pytest.mark.parametrize("known", ['W/"2"', '"11"', "nonsense"])
def test_what_is_not_known_is_shown(api: APIClient, known: str) -> None:
    assert api.get(path_of(made(api)), headers={"If-None-Match": known}).status_code == 200


def test_cancel_ends_what_waits_and_can_be_repeated(api: APIClient) -> None:
    search = made(api, lookups=[lookup(limit=40)])
    first, second = api.post(path_of(search, "/cancel")), api.post(path_of(search, "/cancel"))
    shown = first.json()
    assert (first.status_code, second.status_code) == (200, 200)
    assert (shown["status"], shown["lookups"][0]["status"]) == ("canceled", "canceled")
    assert shown["lookups"][0]["credits"] == {"held": "0", "charged": "0", "unknown": "0", "final": True}
    assert second.json() == shown


def test_cancel_takes_no_fields(api: APIClient) -> None:
    search = made(api)
    response = api.post(path_of(search, "/cancel"), {"refund": True}, format="json")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "refund")
    assert Search.objects.get().status == Status.QUEUED


def test_live_and_test_searches_do_not_see_each_other(api: APIClient, sandbox: APIClient) -> None:
    live, test = made(api), made(sandbox)
    for client, search in ((api, test), (sandbox, live)):
        assert client.get(path_of(search)).status_code == 404
        assert client.post(path_of(search, "/cancel")).status_code == 404
        assert client.get(path_of(search, "/results")).status_code == 404
    assert [row["id"] for row in api.get("/v1/searches").json()["data"]] == [str(live.pk)]


def test_all_keys_of_a_tenant_and_mode_see_the_same(api: APIClient, alice: Tenant, client_of: Any) -> None:
    assert client_of(alice).get(path_of(made(api))).status_code == 200


def test_reading_takes_no_query(api: APIClient) -> None:
    response = api.get(path_of(made(api)), {"verbose": "1"})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "verbose")
