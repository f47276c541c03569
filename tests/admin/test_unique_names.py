"""Two operators give one name at the same moment: the second one gets the form again, with its own sentence."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.models import Tenant, User
from billing.models import Price
from tests.admin.conftest import World
from tests.admin.test_odd_requests import path_of, values_of
from tests.api.background import background, until_somebody_waits_for_a_lock

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct horse battery staple"
# The unique values of a row, what the form sends for them, and the sentence of the form.
MOMENT = "2999-01-01T00:00:00Z"
RACES: list[tuple[type[Model], dict[str, Any], dict[str, Any], str]] = [
    (Tenant, {"name": "Twice"}, {}, "Tenant with this Name already exists."),
    (Group, {"name": "Twice"}, {}, "Group with this Name already exists."),
    (
        User,
        {"username": "twice"},
        {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"},
        "A user with that username already exists.",
    ),
    (
        Price,
        {"source": "tiktok-creators", "valid_from": MOMENT},
        {"per_call": "1", "per_result": "0", "valid_from_0": "2999-01-01", "valid_from_1": "00:00:00"},
        "Price with this Source and Valid from already exists.",
    ),
]


def errors_of(answer: Any) -> str:
    return str(answer.context["adminform"].form.errors)


@pytest.mark.parametrize(("model", "unique", "sent", "sentence"), RACES, ids=[race[0].__name__ for race in RACES])
def test_a_name_that_is_taken_after_the_check_is_an_error_of_the_form(
    desk: Client, model: type[Model], unique: dict[str, Any], sent: dict[str, Any], sentence: str
) -> None:
    path = path_of(model, "add")
    form = values_of(desk, path) | unique | sent
    with background() as start:
        with transaction.atomic():
            model._default_manager.create(**unique)
            answer = start(lambda: desk.post(path, form))
            until_somebody_waits_for_a_lock()
        assert sentence in errors_of(answer.result())
    assert model._default_manager.filter(**unique).count() == 1


def test_a_tenant_that_is_renamed_to_a_name_just_taken_is_an_error_of_the_form(desk: Client, world: World) -> None:
    path = reverse("admin:accounts_tenant_change", args=[world.tenant.pk])
    form = values_of(desk, path) | {"name": "Twice", "max_age": "0"}
    with background() as start:
        with transaction.atomic():
            Tenant.objects.create(name="Twice")
            answer = start(lambda: desk.post(path, form))
            until_somebody_waits_for_a_lock()
        assert "Tenant with this Name already exists." in errors_of(answer.result())


def test_an_operator_that_loses_a_race_can_take_another_name(desk: Client) -> None:
    path = path_of(Group, "add")
    with background() as start:
        with transaction.atomic():
            Group.objects.create(name="Twice")
            answer = start(lambda: desk.post(path, {"name": "Twice"}))
            until_somebody_waits_for_a_lock()
        assert answer.result().status_code == 200
    assert desk.post(path, {"name": "Another"}).status_code == 302
    assert Group.objects.filter(name__in=["Twice", "Another"]).count() == 2
