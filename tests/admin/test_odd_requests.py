"""The operators' pages answer no address and no posted form with a 500."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote as quote_path

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils.http import urlencode

from accounts.web.admin_base import Page
from tests.admin.conftest import World

pytestmark = [pytest.mark.long, pytest.mark.django_db]
MODELS = sorted(admin.site._registry, key=lambda model: str(model._meta))
ID = "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001"
ODD = ["x", "nul\0", "²", "9" * 40, "9" * 5000, "1e999999999", ID, "_00", "0001-01-01", "9999-12-31", "{}"]
BAD_STATUS = 500


def path_of(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def page_of(model: Any) -> Any:
    page = admin.site._registry[model]
    assert isinstance(page, Page)
    return page


def actions(model: type[Model]) -> tuple[str, ...]:
    return tuple(page_of(model).actions_detail)


def broken(desk: Client, requests: Iterator[tuple[str, dict[str, Any] | None]]) -> set[str]:
    """Returns which of the requests are answered as our mistake. Those without a form are GETs.

    Nothing that they change stays.
    """
    desk.raise_request_exception = False
    failed = set()
    with transaction.atomic():
        for path, form in requests:
            answer = desk.get(path) if form is None else desk.post(path, form)
            if answer.status_code >= BAD_STATUS:
                failed.add(f"{path[:200]} {str(form)[:200]}")
        transaction.set_rollback(True)
    return failed


def broken_by_any(desk: Client, requests_of: Callable[[type[Model], int], Iterator[Any]]) -> set[str]:
    """Returns which requests for any model are. Each model has a turn, that is a number."""
    failed = {each for turn, model in enumerate(MODELS) for each in broken(desk, requests_of(model, turn))}
    assert desk.get(reverse("admin:index")).status_code == 200, "a request signed the operator out"
    return failed


def some(values: Sequence[str], turn: int, count: int) -> list[str]:
    """Returns so many of the values, and in the next turn the next ones."""
    return [values[(turn * count + place) % len(values)] for place in range(count)]


def mixed(names: Iterable[str], turn: int, count: int) -> Iterator[dict[str, str]]:
    """Yields so many forms with odd values, in each of them another one for each name."""
    for step in range(count):
        yield {name: ODD[(turn + place + step * 4) % len(ODD)] for place, name in enumerate(sorted(names))}


def named(model: Any) -> set[str]:
    """Returns every name that a form of the model or the admin may read from an address."""
    columns = {field.name for field in model._meta.get_fields()}
    return columns | {"_popup", "_changelist_filters", "_source_model", "e", "valid_from_0", "secret", "nobody"}


def test_no_address_of_an_empty_form_is_a_500(desk: Client, world: World) -> None:
    def requests(model: type[Model], turn: int) -> Iterator[tuple[str, None]]:
        path = path_of(model, "add")
        yield from ((f"{path}?{urlencode(form)}", None) for form in mixed(named(model), turn, 4))
        yield from ((f"{path}?{urlencode({'_to_field': odd})}", None) for odd in some(ODD, turn, 1))

    assert not broken_by_any(desk, requests)


def test_no_id_is_a_500(desk: Client, world: World) -> None:
    form = {"post": "yes", "amount": "1", "memo": "x", "charged": "1", "key": ID}

    def requests(model: type[Model], turn: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for odd in (*ODD[:2], *ODD[3:5], *ODD[6:8], "a/b"):
            for page in ("change", "delete", "history", *actions(model)):
                yield path_of(model, page, odd), form

    assert not broken_by_any(desk, requests)


def test_no_address_of_a_rows_page_is_a_500(desk: Client, world: World) -> None:
    inlines = {
        f"{prefix}-page"
        for prefix in ("api_keys", "deliveries", "attempts", "tenant queues", "entries", "calls", "results")
    }
    names = ["_popup", "_changelist_filters", "p", "nobody", *sorted(inlines)]

    def requests(model: type[Model], turn: int) -> Iterator[tuple[str, None]]:
        for page in ("change", "history", "delete"):
            path = path_of(model, page, quote(world.rows[model].pk))
            yield from ((f"{path}?{urlencode(dict.fromkeys(names, odd))}", None) for odd in some(ODD[:5], turn, 2))

    assert not broken_by_any(desk, requests)


def test_no_choice_of_rows_is_a_500(desk: Client, world: World) -> None:
    def requests(model: type[Model], turn: int) -> Iterator[tuple[str, dict[str, Any]]]:
        chosen = {"action": "delete_selected", "index": "0", "_selected_action": str(world.rows[model].pk)}
        for name in (*chosen, "select_across"):
            for odd in some(ODD[:7], turn, 2):
                yield path_of(model, "changelist"), chosen | {name: odd}

    assert not broken_by_any(desk, requests)


def values_of(desk: Client, path: str) -> dict[str, Any]:
    """Returns what a browser would send of a form that nobody touched."""
    context = desk.get(path).context
    if context is None or "adminform" not in context:
        return {}
    form = context["adminform"].form
    values = {form.add_prefix(name): form[name].value() for name in form.fields}
    for formset in (each.formset for each in context["inline_admin_formsets"]):
        values |= {f"{formset.prefix}-TOTAL_FORMS": "0", f"{formset.prefix}-INITIAL_FORMS": "0"}
    return {name: value for name, value in values.items() if value not in (None, False)}


def test_no_value_of_a_form_is_a_500(desk: Client, world: World) -> None:
    def requests(model: type[Model], turn: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in (path_of(model, "add"), path_of(model, "change", quote(world.rows[model].pk))):
            values = values_of(desk, path)
            names = {*values, *(f"{name}_{part}" for name in named(model) for part in (0, 1)), *named(model)}
            yield from ((path, values | odd) for odd in mixed(names, turn, 4))
            fields = [name for name in values if "-" not in name]
            for place, name in enumerate(fields):
                yield path, values | {name: ODD[1:5:3][(turn + place) % 2]}

    assert not broken_by_any(desk, requests)


def test_no_search_of_a_choice_is_a_500(desk: Client, world: World) -> None:
    path = reverse("admin:autocomplete")
    asked = {"app_label": "accounts", "model_name": "apikey", "field_name": "tenant", "term": "a", "page": "1"}
    assert desk.get(f"{path}?{urlencode(asked)}").status_code == 200
    assert not broken(desk, ((f"{path}?{urlencode(asked | {name: odd})}", None) for name in asked for odd in ODD))


def test_no_page_of_the_site_is_a_500(desk: Client, world: World) -> None:
    pages = ["/admin/", "/admin/search/", "/admin/jsi18n/", "/admin/accounts/", "/admin/logout/", "/admin/login/"]
    names = ["s", "next", "app", "extended", "nobody"]
    addresses = [f"{page}?{urlencode(dict.fromkeys(names, odd))}" for page in pages for odd in ODD]
    types = [ContentType.objects.get_for_model(model).pk for model in MODELS]
    addresses += [f"/admin/r/{kind}/{quote_path(odd)}/" for kind in (*types, "9" * 40) for odd in ODD[:4]]
    assert not broken(desk, ((address, None) for address in addresses))
