"""`ETag` and `If-None-Match` of each single object: 304 while it shows the same, and the object as soon as it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rest_framework.test import APIClient

from accounts.models import Tenant
from tests.api.routes import belongings, path_to
from tests.api.test_openapi import described, document

TENANT = "/v1/tenant"


def objects() -> Iterator[str]:
    """Yields the path of every GET that answers 304, as the document writes it."""
    for path, operations in document()["paths"].items():
        if "304" in operations.get("get", {}).get("responses", {}):
            yield path


OBJECTS = sorted(objects())


def test_every_single_object_has_a_tag() -> None:
    answers_one = {
        path for path, operations in document()["paths"].items() if path.endswith("{id}") and "get" in operations
    }
    assert {*OBJECTS} == answers_one | {TENANT}


@pytest.mark.parametrize("path", OBJECTS)
def test_one_that_is_known_is_a_304_without_a_body(api: APIClient, path: str) -> None:
    own = path_to(path.replace("{id}", "<id:id>"), belongings(api))
    first = api.get(own)
    assert (first.status_code, first["ETag"][:3]) == (200, 'W/"')
    for known in (first["ETag"], first["ETag"].removeprefix("W/"), f'"other", {first["ETag"]}', "*"):
        again = api.get(own, headers={"If-None-Match": known})
        described(path, "get", again)
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
        assert "X-Request-Id" in again
    for unknown in ('"other"', "no tag", ""):
        assert api.get(own, headers={"If-None-Match": unknown}).status_code == 200


def test_one_that_has_changed_is_shown_under_another_tag(api: APIClient, alice: Tenant) -> None:
    known = api.get(TENANT)["ETag"]
    Tenant.objects.filter(pk=alice.pk).update(requests_per_second=7)
    changed = api.get(TENANT, headers={"If-None-Match": known})
    assert (changed.status_code, changed.json()["limits"]["requests_per_second"]) == (200, 7)
    assert changed["ETag"] != known


def test_an_error_has_no_tag(api: APIClient) -> None:
    missing = api.get("/v1/images/019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001", headers={"If-None-Match": "*"})
    assert missing.status_code == 404
    assert "ETag" not in missing
