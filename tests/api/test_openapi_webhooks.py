"""The document has a webhook for every event, and the bodies that are really sent match it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import Endpoint, Event, EventType, Mode, Tenant
from accounts.webhooks import endpoints, redelivery
from billing import ledger
from billing.ledger import Demand
from billing.models import TenantCap
from providers.keyring import credentials, states
from providers.models import Credential
from tests.api.examples import made
from tests.api.test_openapi import document, no_unknown_members, validator


@pytest.fixture
def endpoint(alice: Tenant) -> Endpoint:
    """Makes an endpoint that wants every event."""
    return endpoints.create(alice, Mode.LIVE, url="https://example.com/hooks")[0]


def schema_of(type: str) -> dict[str, Any]:
    operation = document()["webhooks"][type]["post"]
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def described(type: EventType) -> dict[str, Any]:
    """Returns the body of the last such event, after checking it against the document."""
    body: dict[str, Any] = json.loads(Event.objects.filter(type=type).latest("pk").body)
    validator(schema_of(type.value)).validate(body)
    no_unknown_members(schema_of(type.value), body)
    return body


def test_every_event_is_in_it() -> None:
    assert set(document()["webhooks"]) == set(EventType.values)


@pytest.mark.parametrize("type", EventType.values)
def test_an_event_says_how_it_is_signed_and_what_it_wants(client: Client, type: str) -> None:
    operation = document()["webhooks"][type]["post"]
    assert [each["name"] for each in operation["parameters"]] == [
        *("webhook-id", "webhook-timestamp", "webhook-signature")
    ]
    assert operation["summary"]
    assert set(operation["responses"]) == {"2XX"}
    wrong = {"type": "other", "timestamp": "2026-11-20T09:30:00Z", "data": {}}
    assert not validator(schema_of(type)).is_valid(wrong)


def test_a_ping_is_as_described(endpoint: Endpoint) -> None:
    redelivery.ping(endpoint)
    assert described(EventType.PING)["data"] == {"endpoint_id": str(endpoint.pk)}


def test_a_disabled_endpoint_is_as_described(alice: Tenant, endpoint: Endpoint) -> None:
    other, _ = endpoints.create(alice, Mode.LIVE, url="https://example.com/gone")
    endpoints.disable(other, "410 Gone")
    assert described(EventType.ENDPOINT_DISABLED)["data"]["reason"] == "410 Gone"


def test_a_search_and_its_lookups_are_as_described(api: APIClient, endpoint: Endpoint) -> None:
    search = made(api)
    shown = api.post(f"/v1/searches/{search.pk}/cancel").json()
    assert described(EventType.SEARCH_CANCELED)["data"] == shown
    [lookup] = shown["lookups"]
    assert described(EventType.LOOKUP_FINISHED)["data"] == lookup | {"search_id": shown["id"]}


@pytest.mark.parametrize(
    ("state", "type"),
    [
        (Credential.State.INVALID, EventType.CREDENTIAL_REJECTED),
        (Credential.State.EXHAUSTED, EventType.CREDENTIAL_EXHAUSTED),
    ],
)
def test_a_dead_credential_is_as_described(
    alice: Tenant, endpoint: Endpoint, state: Credential.State, type: EventType
) -> None:
    credential = credentials.store(alice, "modash", "a-modash-key")
    assert states.mark(credential, state)
    assert described(type)["data"]["state"] == state


def test_a_settlement_is_as_described(alice: Tenant, endpoint: Endpoint) -> None:
    with transaction.atomic():
        ledger.hold([Demand(reference="lookup:1", tenant_id=alice.pk, provider="modash", amount=Decimal(2))])
        ledger.set_unknown("lookup:1", Decimal(2))
    ledger.settle("lookup:1", charged=Decimal("0.5"))
    told = described(EventType.CREDITS_SETTLED)["data"]
    assert (told["reference"], told["charged"], told["released"], told["unknown"]) == ("lookup:1", "0.5", "1.5", "0")


def test_a_reached_share_of_a_cap_is_as_described(alice: Tenant, endpoint: Endpoint) -> None:
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal(2))
    with transaction.atomic():
        ledger.hold([Demand(reference="lookup:1", tenant_id=alice.pk, provider="modash", amount=Decimal(2))])
        ledger.charge("lookup:1", Decimal("1.5"), key="call")
    told = described(EventType.CREDITS_THRESHOLD_REACHED)["data"]
    assert [told[name] for name in ("limit", "share", "size", "used", "left")] == ["tenant_cap", 50, "2", "1.5", "0"]


def test_a_reached_share_of_a_grant_is_as_described(alice: Tenant, endpoint: Endpoint) -> None:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(2))
    ledger.adjust(account, Decimal(-2), memo="by hand", person="olive", corrects="1")
    told = described(EventType.CREDITS_THRESHOLD_REACHED)["data"]
    assert [told[name] for name in ("limit", "share", "renews_at", "left")] == ["grant", 100, None, "0"]


@pytest.mark.parametrize("type", EventType.values)
def test_an_event_has_an_example_that_is_valid(type: str) -> None:
    operation = document()["webhooks"][type]["post"]
    [shown] = operation["requestBody"]["content"]["application/json"]["examples"].values()
    validator(schema_of(type)).validate(shown["value"])
    no_unknown_members(schema_of(type), shown["value"])
    assert operation["description"]
