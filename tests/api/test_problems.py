"""Every error under /v1 is a problem of one shape, and none says more than it should."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from accounts.models import Tenant
from config.problem_codes import PROBLEMS
from tests.api.examples import made
from tests.api.routes import BODIES, OWNERS, ROUTES, belongings, path_to


def problem_of(response: Any) -> dict[str, Any]:
    """Checks the shape on the way."""
    body: dict[str, Any] = response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert set(body) - {"errors", "limit"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["status"] == response.status_code == PROBLEMS[body["code"]].status
    assert body["type"] == f"{settings.PUBLIC_URL}/docs/errors#{body['code']}"
    assert body["request_id"] == response["X-Request-Id"]
    return body


def test_no_key_is_a_401(client: Client) -> None:
    response = client.get("/v1/searches")
    assert problem_of(response)["code"] == "not_authenticated"
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_wrong_key_is_a_401(db: None) -> None:
    response = APIClient(headers={"Authorization": "Bearer sl_live_nonsense"}).get("/v1/searches")
    assert problem_of(response)["code"] == "authentication_failed"
    assert "nonsense" not in response.content.decode()


def test_a_suspended_tenant_is_a_403(api: APIClient, alice: Tenant) -> None:
    Tenant.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert problem_of(api.get("/v1/searches"))["code"] == "tenant_suspended"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/searches/",
        "/v1/searches/12",
        "/v1/searches/019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001/",
        "/v1/nobody",
        "/v1/a%0Ab",
        "/v1/%ff%00",
        "/v1/searches%0A",
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_unknown_path_is_a_404_whatever_the_method(path: str, debug: bool) -> None:
    client = Client(enforce_csrf_checks=True)
    with override_settings(DEBUG=debug):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"):
            assert problem_of(client.generic(method, path))["code"] == "not_found"
        form = client.post(
            path, {"a": "b"}, headers={"Cookie": "csrftoken=x; sessionid=y", "Origin": "https://evil.example"}
        )
        assert problem_of(form)["code"] == "not_found"


OUTSIDE = ["/", "/v1/openapi.json", "/docs", "/docs/errors", "/healthz", "/readyz"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_another_method_outside_the_product_is_a_405(db: None, path: str, method: str) -> None:
    response = Client(enforce_csrf_checks=True).generic(method, path)
    assert problem_of(response)["code"] == "method_not_allowed"
    assert {"GET", "HEAD"} <= set(response["Allow"].split(", "))


def test_head_is_answered_where_get_is(api: APIClient) -> None:
    search = belongings(api)
    paths = [path_to(route, search) for route in ROUTES if "<str" not in route] + OUTSIDE
    paths += ["/v1/nowhere", "/admin/login/"]
    for path in paths:
        get, head = api.get(path), api.head(path)
        assert (head.status_code, head.get("Content-Type")) == (get.status_code, get.get("Content-Type")), path
        assert not head.content, path


@pytest.mark.parametrize(
    "spelt", [str.upper, str.title, lambda id: id.replace("-", ""), lambda id: id.upper().replace("-", "")]
)
@pytest.mark.parametrize("route", [route for route in ROUTES if "<id:id>" in route])
def test_an_id_in_a_path_may_be_spelt_as_in_a_body(api: APIClient, route: str, spelt: Any) -> None:
    search = belongings(api)
    usual = path_to(route, search)
    id = next(part for part in usual.split("/") if len(part) == 36)
    path = usual.replace(id, spelt(id))
    method = "get" if "GET" in api.options(path)["Allow"] else "post"
    response = getattr(api, method)(path, BODIES.get(route), format="json")
    assert response.status_code == OWNERS.get(route, 200), response.content


def test_a_cursor_serves_its_list_however_the_id_is_spelt(api: APIClient) -> None:
    search = belongings(api)
    path = f"/v1/searches/{search.pk}/results"
    cursor = api.get(path, {"limit": 1}).json()["next_cursor"]
    capitals = path.replace(str(search.pk), str(search.pk).upper())
    assert api.get(capitals, {"cursor": cursor}).json()["data"]
    other = f"/v1/searches/{made(api).pk}/results"
    assert api.get(other, {"cursor": cursor}).json()["errors"][0]["code"] == "invalid_cursor"


def test_an_unknown_search_is_a_404(api: APIClient) -> None:
    response = api.get("/v1/searches/019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001")
    assert problem_of(response)["code"] == "not_found"


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_another_method_is_a_405(api: APIClient, method: str) -> None:
    response = api.generic(method.upper(), "/v1/searches")
    assert problem_of(response)["code"] == "method_not_allowed"
    assert response["Allow"] == "GET, POST, HEAD"


def test_another_form_is_a_406(api: APIClient) -> None:
    response = api.get("/v1/searches", headers={"Accept": "text/html"})
    assert "application/json" in problem_of(response)["detail"]


def test_a_caller_may_name_its_request(api: APIClient) -> None:
    response = api.get("/v1/nothing", headers={"X-Request-Id": "my-request-1"})
    assert problem_of(response)["request_id"] == "my-request-1"


@pytest.mark.parametrize("debug", [False, True])
def test_our_own_mistake_tells_nothing(api: APIClient, debug: bool) -> None:
    search = made(api)
    api.raise_request_exception = False
    with override_settings(DEBUG=debug), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE searches_call RENAME COLUMN page TO sheet")
        response = api.get(f"/v1/searches/{search.pk}/calls")
    problem = problem_of(response)
    assert problem["code"] == "internal_error"
    assert "column" not in response.content.decode()


def test_a_host_that_is_not_ours_is_a_400(client: Client) -> None:
    with override_settings(ALLOWED_HOSTS=["sightline.example"]):
        assert problem_of(client.get("/v1/nothing"))["code"] == "invalid_request"
        assert client.get("/docs").status_code == 400


def test_an_answer_has_a_request_id_too(api: APIClient) -> None:
    assert api.get("/v1/searches")["X-Request-Id"]


def test_a_mistyped_key_costs_no_query(django_assert_num_queries: DjangoAssertNumQueries, db: None) -> None:
    with django_assert_num_queries(0):
        APIClient(headers={"Authorization": "Bearer x"}).get("/v1/searches")
