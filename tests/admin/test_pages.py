"""Every page of every model that is registered opens, finds, filters, and asks no more of the database as rows grow."""

from __future__ import annotations

from collections.abc import Iterator
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


LISTS = {model.__name__: address(model, "changelist") for model in admin.site._registry}


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
    for id, page in product(("x", "_5F", "77777", "9" * 40, "nul\0"), ("change", "history", "delete")):
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


@pytest.mark.long
def test_every_filter_takes_every_choice_that_it_offers(desk: Client, world: World) -> None:
    for path in LISTS.values():
        changes = desk.get(path).context["cl"]
        for spec, value in choices(changes):
            query = {spec.expected_parameters()[0]: value}
            assert desk.get(path, query).status_code == 200, (path, query)


def choices(changes: Any) -> Iterator[tuple[Any, Any]]:
    """Yields each filter of a list with each value that it offers."""
    for spec in changes.filter_specs:
        for choice in spec.choices(changes):
            for field in choice["form"].fields.values() if "form" in choice else ():
                yield from ((spec, value) for value, _ in getattr(field, "choices", ()))


def test_no_list_asks_more_queries_of_more_rows(desk: Client, world: World) -> None:
    def asked() -> dict[str, int]:
        return {name: queries(desk, path) for name, path in LISTS.items()}

    # The first visit makes what is to stand there.
    asked()
    few = asked()
    for name in ("Bob and Sons", "Carol and Sons", "Dora and Sons"):
        build(name)
    assert asked() == few
    assert max(few.values()) <= 12, few


def test_a_page_asks_few_queries(desk: Client, world: World) -> None:
    asked = {model.__name__: queries(desk, page_of(row)) for model, row in world.rows.items()}
    # A lookup shows its calls, its results, its place and its money: 23.
    assert max(asked.values()) <= 24, asked
