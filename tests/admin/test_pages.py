"""Every page of every model that is registered opens, finds, filters, and asks no more of the database as rows grow."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.admin.conftest import World, build

MODELS = [pytest.param(model, id=model.__name__) for model in admin.site._registry]
each_model = pytest.mark.parametrize("model", MODELS)


def address(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def page_of(row: Model) -> str:
    return address(type(row), "change", quote(row.pk))


def queries(desk: Client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert desk.get(path).status_code == 200
    return len(captured)


@each_model
def test_each_page_opens_or_is_not_offered(desk: Client, world: World, model: type[Model]) -> None:
    a_list_shows_its_rows(desk, world, model)
    a_list_without_what_is_looked_for_is_empty(desk, model)
    assert desk.get(page_of(world.rows[model])).status_code == 200
    the_form_for_a_new_row_opens_or_is_not_offered(desk, model)
    for id, page in product(("x", "_5F", "7", "9" * 40, "nul\0"), ("change", "history", "delete")):
        assert desk.get(address(model, page, id)).status_code in (302, 403), (id, page)


def a_list_shows_its_rows(desk: Client, world: World, model: type[Model]) -> None:
    response = desk.get(address(model, "changelist"))
    assert response.status_code == 200
    assert world.rows[model] in response.context["cl"].result_list


def the_form_for_a_new_row_opens_or_is_not_offered(desk: Client, model: type[Model]) -> None:
    response = desk.get(address(model, "add"))
    offered = admin.site._registry[model].has_add_permission(response.wsgi_request)
    assert response.status_code == (200 if offered else 403)


def a_list_without_what_is_looked_for_is_empty(desk: Client, model: type[Model]) -> None:
    response = desk.get(address(model, "changelist"), {"q": "nothing is called this"})
    assert response.status_code == 200
    assert not response.context["cl"].result_list


@each_model
def test_a_filter_takes_every_choice_that_it_offers(desk: Client, world: World, model: type[Model]) -> None:
    path = address(model, "changelist")
    for spec in desk.get(path).context["cl"].filter_specs:
        for choice in spec.choices(desk.get(path).context["cl"]):
            for field in choice["form"].fields.values() if "form" in choice else ():
                for value, _ in getattr(field, "choices", ()):
                    assert desk.get(path, {spec.expected_parameters()[0]: value}).status_code == 200


@each_model
def test_a_list_asks_no_more_queries_of_more_rows(desk: Client, world: World, model: type[Model]) -> None:
    # The first visit makes what is to stand there.
    desk.get(address(model, "changelist"))
    few = queries(desk, address(model, "changelist"))
    for name in ("Bob and Sons", "Carol and Sons", "Dora and Sons"):
        build(name)
    assert queries(desk, address(model, "changelist")) == few <= 12


def test_a_page_asks_few_queries(desk: Client, world: World) -> None:
    asked = {model.__name__: queries(desk, page_of(row)) for model, row in world.rows.items()}
    assert max(asked.values()) <= 20, asked
