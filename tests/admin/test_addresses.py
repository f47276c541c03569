"""The operators' lists answer no address with a 500, and say so where an address makes no sense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils.http import urlencode

from tests.admin.conftest import World

pytestmark = pytest.mark.long

MODELS = sorted(admin.site._registry, key=lambda model: str(model._meta))
ID = "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001"
TERMS = [ID, ID.upper(), "9" * 12, "9" * 40, "9" * 5000, "1e999", "", "nul\0", "(", "\\", "2026-13-45", "x" * 10_000]
OWN = [
    "q",
    "p",
    "o",
    "e",
    "all",
    "_to_field",
    "_popup",
    "_facets",
    "made",
    "nobody",
    "pk",
    "tenant",
    "tenant__id__exact",
]
LOOKUPS = [
    *(("exact", "9" * 40), ("in", "x,nul\0"), ("year", "9" * 11), ("regex", "("), ("contained_by", "(")),
]


def addresses(model: Any) -> Iterator[str]:
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    columns = [field for field in model._meta.get_fields() if not field.auto_created]
    # Fields of one kind are looked up in one way.
    fields = {(type(field), field.related_model): field.name for field in columns}.values()
    queries = [(name, value) for name in OWN for value in (TERMS if name == "q" else ["9" * 40, "nul\0"])]
    queries += [(f"{field}__{lookup}", value) for field in fields for lookup, value in LOOKUPS]
    return (f"{path}?{urlencode([query])}" for query in queries)


@pytest.mark.django_db(transaction=True)
def test_no_address_of_a_list_is_a_500(desk: Client, world: World) -> None:
    desk.raise_request_exception = False
    answers = {address: desk.get(address).status_code for model in MODELS for address in addresses(model)}
    assert not {address for address, status in answers.items() if status >= 500}
    assert set(answers.values()) <= {200, 302, 400}


@pytest.mark.parametrize("encoding", ["utf-7", "utf-16", "latin-1", "rot13"])
def test_a_form_in_another_encoding_is_refused(desk: Client, db: None, encoding: str) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n+2AA-\r\n--b--\r\n'
    path = reverse("admin:accounts_tenant_add")
    desk.raise_request_exception = False
    answer = desk.generic("POST", path, form, f"multipart/form-data; boundary=b; charset={encoding}")
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/admin/?a=\0", "/admin/?%00=a", "/admin/jsi18n/?a=%00", "/admin/login/?next=%00"])
def test_a_query_with_a_null_character_is_refused(desk: Client, db: None, path: str) -> None:
    desk.raise_request_exception = False
    assert desk.get(path.replace("\0", "%00")).status_code == 400
