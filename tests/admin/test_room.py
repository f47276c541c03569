"""The room for a tenant's rows is checked by forms and holds until they are saved: past it a form says so, also in a race."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, Tenant, User
from providers.admin import CredentialForm
from providers.keyring import credentials
from providers.models import Credential
from tests.admin.conftest import PROVIDER
from tests.racing import at_once

pytestmark = pytest.mark.django_db(transaction=True)
FORMS: list[tuple[type[Model], dict[str, str], str]] = [
    (ApiKey, {"mode": "live"}, "2 API keys are valid, as many as there may be"),
    (
        Credential,
        {"provider": PROVIDER, "secret": "secret-of-theirs"},
        "2 provider keys are stored, as many as there may be",
    ),
]


def client_of(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


@pytest.mark.parametrize(("model", "values", "refusal"), FORMS, ids=lambda value: getattr(value, "__name__", ""))
def test_forms_that_race_for_the_last_room_are_refused_and_none_is_a_500(
    operator: User, model: type[Model], values: dict[str, str], refusal: str
) -> None:
    tenant = Tenant.objects.create(name="Dora", most_api_keys=2, most_credentials=2)
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")

    def added(client: Client, number: int) -> Any:
        return client.post(path, values | {"tenant": str(tenant.pk), "label": f"label-{number}"})

    clients = [client_of(operator) for _ in range(6)]
    answers = at_once([partial(added, client, number) for number, client in enumerate(clients)])
    assert {answer.status_code for answer in answers} <= {200, 302}
    assert sum(refusal in answer.content.decode() for answer in answers) == 4
    assert model._default_manager.count() == 2


def test_a_credential_that_was_deleted_meanwhile_takes_no_other_secret(alice: Tenant) -> None:
    credential = credentials.store(alice, PROVIDER, "secret-of-theirs", label="first")
    Credential.objects.all().delete()
    values = {"tenant": alice.pk, "provider": PROVIDER, "label": "first", "secret": "another-of-theirs"}
    with transaction.atomic():
        form = CredentialForm(values, instance=credential)
        assert form.errors["__all__"] == ["It was deleted meanwhile; store it anew."]
