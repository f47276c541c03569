"""`DELETE /v1/searches/{id}`: for the API the search was never there, but that the ledger says what it cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from providers.models import Policy
from searches.api import long_poll
from searches.lanes import queue
from searches.lifecycle import live_updates
from searches.models import Call, Search
from tests.api.background import meanwhile
from tests.api.examples import add_results, create, made
from tests.api.test_openapi import described
from tests.api.test_read import path_of
from tests.api.test_waiting import until_some_wait, waiting_read
from tests.patience import HANGS_AFTER_SECONDS

PARTS = ("", "/results", "/calls")


def erased(api: APIClient, **order: Any) -> Search:
    """Makes and erases a search with a result and a call."""
    search = made(api, **order)
    add_results(search)
    at = search.created_at
    Call.objects.create(lookup=search.lookups.get(), page=0, state="answered", armed_at=at, leased_until=at)
    assert api.delete(path_of(search)).status_code == 204
    return search


def test_it_is_gone_and_answered_without_a_word(api: APIClient) -> None:
    search = made(api)
    response = api.delete(path_of(search))
    described("/v1/searches/{id}", "delete", response)
    assert (response.status_code, response.content) == (204, b"")


def test_afterwards_it_is_what_never_was(api: APIClient, stranger: APIClient) -> None:
    search = erased(api)
    for client in (api, stranger):
        for part in PARTS:
            assert client.get(path_of(search, part)).status_code == 404
        assert client.post(path_of(search, "/cancel")).status_code == 404
        response = client.delete(path_of(search))
        described("/v1/searches/{id}", "delete", response)
        assert response.status_code == 404


def test_it_is_in_no_list(api: APIClient) -> None:
    erased(api, metadata={"campaign": "spring"})
    kept = made(api, metadata={"campaign": "spring"})
    for query in ({}, {"status": "queued"}, {"metadata.campaign": "spring"}, {"source": "tiktok-creators"}):
        assert [row["id"] for row in api.get("/v1/searches", query).json()["data"]] == [str(kept.pk)]
    assert api.get("/v1/searches", {"status": "canceled"}).json()["data"] == []


def test_its_credits_are_given_back_and_its_entries_stay(api: APIClient) -> None:
    search = made(api)
    before = api.get("/v1/credits/entries").json()["data"]
    assert [entry["kind"] for entry in before] == ["hold"]
    api.delete(path_of(search))
    after = api.get("/v1/credits/entries").json()["data"]
    assert sorted(entry["kind"] for entry in after) == ["hold", "release"]
    assert {entry["reference"] for entry in after} == {f"lookup:{search.lookups.get().pk}"}
    assert api.get("/v1/credits").json()["data"][0]["held"] == "0"


def test_its_picture_goes_with_the_last_search_that_names_it(api: APIClient) -> None:
    first, last = made(api), made(api)
    image = {"id": str(first.image_id)}
    api.delete(path_of(first))
    assert api.get(f"/v1/images/{image['id']}").status_code == 200
    api.delete(path_of(last))
    assert api.get(f"/v1/images/{image['id']}").status_code == 404
    response = create(api, image=image)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "image.id")


def test_the_same_picture_can_be_sent_again(api: APIClient) -> None:
    first = made(api)
    image = first.image_id
    api.delete(path_of(first))
    again = made(api)
    assert again.image_id not in (None, image)


def test_neither_a_stranger_nor_a_test_key_erases_it(api: APIClient, sandbox: APIClient, stranger: APIClient) -> None:
    search = made(api)
    for client in (stranger, sandbox):
        assert client.delete(path_of(search)).status_code == 404
    assert api.get(path_of(search)).status_code == 200


def test_a_test_keys_search_goes_as_well(sandbox: APIClient) -> None:
    search = made(sandbox)
    assert sandbox.delete(path_of(search)).status_code == 204
    assert sandbox.get(path_of(search)).status_code == 404


def test_erasing_takes_no_query(api: APIClient) -> None:
    search = made(api)
    response = api.delete(path_of(search) + "?force=1")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "force")
    assert api.get(path_of(search)).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("under_way", [True, False])
def test_who_waits_for_it_is_told_that_it_is_gone(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, under_way: bool
) -> None:
    live_updates.cooldown.end()
    monkeypatch.setattr(long_poll, "LOOK_SECONDS", 60.0)
    search = made(api)
    if under_way:
        assert queue.claim("modash", Policy.objects.get(), lease=timedelta(minutes=1))
    search.refresh_from_db()
    known = waiting_read(api, search, 30, **{"If-None-Match": f'W/"{search.version}"'})
    with meanwhile(waiting_read(api, search, 30), known) as answers:
        until_some_wait(2)
        assert api.delete(path_of(search)).status_code == 204
        assert [answer.result(HANGS_AFTER_SECONDS).status_code for answer in answers] == [404, 404]
