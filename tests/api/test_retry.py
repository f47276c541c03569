"""`POST /v1/searches/{id}/retry`: asks the failed lookups of a search once more, in a new search that names the first."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import Mode, Tenant
from billing.models import TenantCap
from providers.keyring import credentials
from providers.models import Credential
from searches.lifecycle import retention
from searches.models import Search
from tests.api.examples import create, lookup, made
from tests.api.test_openapi import described
from tests.api.test_read import path_of
from tests.conftest import ClientOf
from tests.racing import at_once
from tests.searches.repeating import answered, failed

ROUTE = "/v1/searches/{id}/retry"
ORDER: dict[str, Any] = {
    "lookups": [
        lookup(limit=20, parameters={"language": "de"}),
        lookup(limit=40, offset=40, parameters={"engagement_rate": {"min": 0.04}, "language": "en"}),
        lookup(limit=20, parameters={"language": "fr"}),
    ],
    "crop": {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.75},
    "priority": 3,
    "expires_in": 1234,
    "max_age": 60,
    "max_credits": {"modash": "2.50"},
    "metadata": {"campaign": "spring"},
}
KEPT = ("crop", "priority", "max_age", "max_credits", "metadata", "image_id", "tenant_id", "mode")


def partly_failed(api: APIClient, **order: Any) -> Search:
    """Makes a search whose first lookup succeeded, whose second failed, and whose others were canceled."""
    search = made(api, **{**ORDER, **order})
    answered()
    failed()
    api.post(path_of(search, "/cancel"))
    return search


def all_failed(api: APIClient, **order: Any) -> Search:
    search = made(api, **order)
    for _ in search.lookups.all():
        failed()
    return search


def retry(api: APIClient, search: Search, body: Any = None, **headers: str) -> Any:
    response = api.post(path_of(search, "/retry"), body, format="json", headers=headers)
    described(ROUTE, "post", response)
    return response


def retried(api: APIClient, search: Search) -> Search:
    response = retry(api, search)
    assert response.status_code == 202, response.content
    return Search.objects.get(pk=response.json()["id"])


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_it_asks_the_failed_lookups_alone_in_a_new_search_that_names_the_first(api: APIClient) -> None:
    first = partly_failed(api)
    response = retry(api, first)
    body = response.json()
    assert response.status_code == 202
    assert response["Location"] == f"/v1/searches/{body['id']}"
    assert body["retry_of"] == str(first.pk)
    assert [(each["status"], each["parameters"]) for each in body["lookups"]] == [
        ("queued", {"engagement_rate": {"min": 0.04}, "language": "en"})
    ]
    assert [each["credits"]["held"] for each in body["lookups"]] == ["1"]
    read = api.get(response["Location"]).json()
    listed = api.get("/v1/searches").json()["data"]
    assert read["retry_of"] == str(first.pk)
    assert [each["retry_of"] for each in listed] == [str(first.pk), None]


def test_everything_else_is_as_in_the_first(api: APIClient) -> None:
    first = partly_failed(api)
    new = retried(api, first)
    assert {name: getattr(new, name) for name in KEPT} == {name: getattr(first, name) for name in KEPT}
    assert new.expires_at - new.created_at == first.expires_at - first.created_at
    again, before = new.lookups.get(), first.lookups.get(ordinal=1)
    for name in ("parameters", "effective_parameters", "limit", "first_page", "page_size", "pages", "repeat_key"):
        assert getattr(again, name) == getattr(before, name), name


def test_a_search_without_failed_lookups_is_refused(api: APIClient) -> None:
    search = made(api)
    assert code(retry(api, search)) == (409, "nothing_to_retry")
    api.post(path_of(search, "/cancel"))
    assert code(retry(api, search)) == (409, "nothing_to_retry")


def test_one_that_still_runs_is_retried_for_what_has_failed_so_far(api: APIClient) -> None:
    first = made(api, lookups=[lookup(parameters={"language": "de"}), lookup(parameters={"language": "en"})])
    failed()
    assert [each.parameters for each in retried(api, first).lookups.all()] == [{"language": "de"}]


def test_a_retry_can_be_retried(api: APIClient) -> None:
    first = all_failed(api)
    second = retried(api, first)
    failed()
    assert retried(api, second).retry_of_id == second.pk


def test_it_is_a_searchs_own_tenants_and_modes(api: APIClient, sandbox: APIClient, stranger: APIClient) -> None:
    first = all_failed(api)
    for client in (sandbox, stranger):
        assert code(retry(client, first)) == (404, "not_found")
    assert retry(api, Search(pk=uuid4())).status_code == 404


def test_after_the_first_is_erased_it_is_refused_and_earlier_retries_still_name_it(api: APIClient) -> None:
    first = all_failed(api)
    second = retried(api, first)
    api.delete(path_of(first))
    assert code(retry(api, first)) == (404, "not_found")
    assert api.get(path_of(second)).json()["retry_of"] == str(first.pk)


def test_without_the_picture_it_is_refused(api: APIClient, alice: Tenant) -> None:
    first = all_failed(api)
    Tenant.objects.filter(pk=alice.pk).update(image_retention_days=0)
    retention.enforce()
    assert code(retry(api, first)) == (409, "image_deleted")


def test_a_named_credential_is_named_again_and_the_default_is_the_present_one(api: APIClient, alice: Tenant) -> None:
    other = credentials.store(alice, "modash", "another-modash-key", label="other")
    first = all_failed(api, lookups=[lookup(credential="other"), lookup()])
    default = credentials.create(alice, "modash", "a-third-modash-key", label="third", is_default=True)
    assert [each.credential_id for each in retried(api, first).lookups.all()] == [other.pk, default.pk]


def test_a_named_credential_that_was_deleted_is_replaced_by_the_default(api: APIClient, alice: Tenant) -> None:
    other = credentials.store(alice, "modash", "another-modash-key", label="other")
    first = all_failed(api, lookups=[lookup(credential="other")])
    credentials.remove(other)
    new = retried(api, first).lookups.get()
    assert (new.credential, new.names_credential) == (Credential.objects.get(tenant=alice), False)


def test_the_caps_of_now_count(api: APIClient, alice: Tenant) -> None:
    first = all_failed(api)
    TenantCap.objects.create(tenant=alice, provider="modash", amount=0)
    assert code(retry(api, first)) == (402, "tenant_cap_reached")
    assert Search.objects.count() == 1


def test_pages_that_fit_no_more_are_refused_in_words(api: APIClient) -> None:
    first = all_failed(api, lookups=[lookup(limit=40, offset=40)])
    first.lookups.update(first_page=1, page_size=7)
    response = retry(api, first)
    assert code(response) == (409, "retry_impossible")
    assert "offset must be a multiple" in response.json()["detail"]


def test_it_takes_no_body_and_no_query(api: APIClient) -> None:
    first = all_failed(api)
    assert code(retry(api, first, {"lookups": []})) == (400, "invalid_request")
    assert api.post(path_of(first, "/retry?limit=1")).status_code == 400


def test_it_may_wait_for_the_end(api: APIClient) -> None:
    response = retry(api, all_failed(api), Prefer="wait=0")
    assert (response.status_code, response["Preference-Applied"]) == (202, "wait=0")


@pytest.mark.django_db(transaction=True)
def test_two_retries_at_once_ask_the_provider_once(api: APIClient) -> None:
    first = all_failed(api, max_age=3600)
    responses = at_once([lambda: retry(api, first)] * 2)
    assert [response.status_code for response in responses] == [202, 202]
    repeats = sorted(each["repeat"] for response in responses for each in response.json()["lookups"])
    assert repeats == ["coalesced", "miss"]


@pytest.mark.django_db(transaction=True)
def test_beside_an_erasure_it_asks_all_that_the_first_asked_or_nothing(alice: Tenant, client_of: ClientOf) -> None:
    credentials.store(alice, "modash", "alices-modash-key")
    api, parameters = client_of(alice, Mode.LIVE), {"language": "en"}
    keeps_the_picture = create(api).json()["id"]
    for _ in range(5):
        api.post(f"/v1/searches/{keeps_the_picture}/cancel")
        first = all_failed(api, lookups=[lookup(parameters=parameters)])
        response, _ = at_once([partial(retry, api, first), partial(api.delete, path_of(first))])
        assert response.status_code in (202, 404), response.content
        if response.status_code == 202:
            assert [each["parameters"] for each in response.json()["lookups"]] == [parameters]
            api.post(f"/v1/searches/{response.json()['id']}/cancel")
