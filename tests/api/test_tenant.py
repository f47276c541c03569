"""`GET /v1/tenant`: who asks, how long its data are kept, and the limits in force."""

from __future__ import annotations

import pytest
from django.db import models
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import keys, limits
from accounts.limits import TenantLimits
from accounts.models import Mode, Scope, Tenant
from accounts.own_tenant import SHOWN
from tests.api.test_openapi import described


def test_it_names_the_tenant_and_the_mode_of_the_key(api: APIClient, sandbox: APIClient, alice: Tenant) -> None:
    response = api.get("/v1/tenant")
    described("/v1/tenant", "get", response)
    body = response.json()
    assert (body["id"], body["name"], body["mode"], body["max_age"]) == (str(alice.pk), "Alice", "live", 0)
    assert sandbox.get("/v1/tenant").json()["mode"] == "test"


def test_every_limit_and_retention_is_in_it(api: APIClient) -> None:
    body = api.get("/v1/tenant").json()
    columns = {field.name for field in TenantLimits._meta.get_fields() if isinstance(field, models.Field)}
    shown = {*body["limits"], *(name.replace("_days", "_retention_days") for name in body["retention"])}
    assert shown == columns
    assert body["limits"] == {name: limits.default(name) for name in (*limits.RATES, *limits.COUNTS)}


def test_the_tenants_own_limits_come_before_the_defaults(api: APIClient, alice: Tenant, settings: Settings) -> None:
    settings.TENANT_MOST_IMAGES = 7
    Tenant.objects.filter(pk=alice.pk).update(requests_per_second=9, result_retention_days=0)
    body = api.get("/v1/tenant").json()
    assert (body["limits"]["requests_per_second"], body["limits"]["most_images"]) == (9, 7)
    assert body["retention"] == {"image_days": 30, "result_days": 0, "search_days": 365}


@pytest.mark.parametrize("scope", Scope.values)
def test_any_key_may_read_it(alice: Tenant, scope: str) -> None:
    _, secret = keys.issue(alice, Mode.LIVE, scopes=[Scope(scope)])
    assert APIClient(headers={"Authorization": f"Bearer {secret}"}).get("/v1/tenant").status_code == 200


def test_nobody_else_may(alice: Tenant) -> None:
    assert APIClient().get("/v1/tenant").status_code == 401


def test_the_example_has_what_an_answer_has(api: APIClient) -> None:
    body = api.get("/v1/tenant").json()
    assert list(body) == list(SHOWN)
    assert list(body["limits"]) == list(SHOWN["limits"])
