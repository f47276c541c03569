"""The log of deliveries over HTTP, and what is sent once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import Attempt, Delivery, Endpoint, Event, EventType, Mode, Tenant
from accounts.webhooks import endpoints, events, redelivery
from tests.api.test_lists import read_all
from tests.api.test_openapi import described
from tests.api.test_problems import problem_of

PATH = "/v1/webhook-deliveries"
ENDPOINTS = "/v1/webhook-endpoints"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def endpoint(alice: Tenant) -> Endpoint:
    return endpoints.create(alice, Mode.LIVE, url="https://example.com/hooks")[0]


def happened(tenant: Tenant, type: EventType = EventType.SEARCH_SUCCEEDED, *, at: datetime | None = None) -> Event:
    """Something that the tenant's endpoints are told of."""
    events.record(tenant.pk, Mode.LIVE, type, {"id": str(uuid4())})
    event = Event.objects.latest("id")
    if at:
        Event.objects.filter(pk=event.pk).update(created_at=at)
        event.deliveries.update(created_at=at)
    return event


def delivery_of(event: Event) -> Delivery:
    return event.deliveries.get()


def failed(event: Event) -> Delivery:
    delivery = delivery_of(event)
    ended(delivery, Delivery.State.FAILED)
    return delivery


def ended(delivery: Delivery, state: Delivery.State) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(state=state, next_attempt_at=None, finished_at=NOON, tries=10)


def attempted(delivery: Delivery, number: int = 1, **fields: Any) -> Attempt:
    return Attempt.objects.create(delivery=delivery, number=number, started_at=NOON, duration_ms=87, **fields)


def listed(api: APIClient, **query: Any) -> list[str]:
    response = api.get(PATH, query)
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["data"]]


def test_a_delivery_is_shown_with_its_attempts_newest_first(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    event = happened(alice)
    delivery = delivery_of(event)
    attempted(delivery, 1, cause="dns_failed", detail="The name cannot be found.")
    attempted(delivery, 2, status=502, cause="bad_status", detail="It answers 502.", answer="<html>")
    attempted(delivery, 3, status=204)
    Delivery.objects.filter(pk=delivery.pk).update(attempt_count=3)
    [shown] = api.get(PATH).json()["data"]
    assert (shown["id"], shown["endpoint_id"], shown["event_id"]) == (str(delivery.pk), str(endpoint.pk), str(event.pk))
    assert (shown["type"], shown["state"], shown["attempt_count"]) == ("search.succeeded", "pending", 3)
    told = [(each["number"], each["status"], each["cause"], each["answer"]) for each in shown["attempts"]]
    assert told == [(3, 204, None, ""), (2, 502, "bad_status", "<html>"), (1, None, "dns_failed", "")]
    assert [each["detail"] for each in shown["attempts"]] == [None, "It answers 502.", "The name cannot be found."]
    assert shown["attempts"][0]["duration_ms"] == 87


def test_of_very_many_attempts_the_last_are_shown(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    delivery = delivery_of(happened(alice))
    for number in range(1, 41):
        attempted(delivery, number)
    [shown] = api.get(PATH).json()["data"]
    assert [each["number"] for each in shown["attempts"]] == list(range(40, 10, -1))


def test_deliveries_come_newest_first_page_by_page(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    ids = [str(delivery_of(happened(alice)).pk) for _ in range(5)]
    assert [row["id"] for row in read_all(api, PATH, limit=2)] == ids[::-1]


def test_a_page_costs_the_same_whatever_it_holds(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    happened(alice)
    listed(api)  # notes when the key was used
    with CaptureQueriesContext(connection) as few:
        listed(api)
    for _ in range(4):
        delivery = delivery_of(happened(alice))
        attempted(delivery), attempted(delivery, 2)
    with CaptureQueriesContext(connection) as many:
        assert len(listed(api)) == 5
    assert len(many) == len(few) <= 6


def test_deliveries_are_filtered(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    old = delivery_of(happened(alice, EventType.LOOKUP_FINISHED, at=NOON - timedelta(hours=1)))
    new = failed(happened(alice, at=NOON + timedelta(hours=1)))
    assert listed(api, type="lookup.finished") == [str(old.pk)]
    assert listed(api, state="failed") == [str(new.pk)]
    assert listed(api, state="pending", type="search.succeeded") == []
    assert listed(api, created_after=NOON.isoformat()) == [str(new.pk)]
    assert listed(api, created_before=NOON.isoformat()) == [str(old.pk)]
    assert listed(api, endpoint=str(endpoint.pk)) == [str(new.pk), str(old.pk)]
    assert listed(api, endpoint=str(uuid4())) == []


def test_another_endpoints_deliveries_are_filtered_out(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    other = endpoints.create(alice, Mode.LIVE, url="https://example.com/other")[0]
    event = happened(alice)
    assert len(listed(api)) == 2
    assert listed(api, endpoint=str(other.pk)) == [str(event.deliveries.get(endpoint=other).pk)]


WRONG = {
    "endpoint": "7",
    "state": "sent",
    "type": "search.done",
    "created_after": "2026-11-20",
    "created_before": "noon",
    "event": "7",
}


@pytest.mark.parametrize(("name", "value"), WRONG.items())
def test_a_wrong_filter_is_named(api: APIClient, name: str, value: str) -> None:
    problem = problem_of(api.get(PATH, {name: value}))
    assert (problem["status"], [error["field"] for error in problem["errors"]]) == (400, [name])


def test_modes_do_not_see_each_other(api: APIClient, sandbox: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    delivery = failed(happened(alice))
    assert sandbox.get(PATH).json()["data"] == []
    assert listed(sandbox, endpoint=str(endpoint.pk)) == []
    assert sandbox.post(f"{PATH}/{delivery.pk}/redeliver").status_code == 404
    assert listed(api) == [str(delivery.pk)]


# Once more


def test_a_ping_goes_the_ordinary_way_to_one_endpoint(api: APIClient, alice: Tenant) -> None:
    only = endpoints.create(alice, Mode.LIVE, url="https://example.com/a", events=["search.failed"])[0]
    endpoints.create(alice, Mode.LIVE, url="https://example.com/b")
    shown = api.post(f"{ENDPOINTS}/{only.pk}/test").json()
    assert (shown["type"], shown["state"], shown["endpoint_id"]) == ("ping", "pending", str(only.pk))
    assert shown["attempts"] == []
    assert listed(api) == [shown["id"]]


def test_one_is_sent_once_more(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    event = happened(alice)
    delivery = failed(event)
    shown = api.post(f"{PATH}/{delivery.pk}/redeliver").json()
    assert (shown["id"], shown["state"], shown["event_id"]) == (str(delivery.pk), "pending", str(event.pk))
    assert shown["next_attempt_at"] is not None
    assert Delivery.objects.get().tries == 0


def test_a_range_is_sent_once_more(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    hours = [failed(happened(alice, at=NOON + timedelta(hours=hour))) for hour in range(4)]
    body = {"from": (NOON + timedelta(hours=1)).isoformat(), "to": (NOON + timedelta(hours=3)).isoformat()}
    assert resend(api, endpoint, **body).json() == {"redelivered": 2}
    assert pending() == {hours[1].pk, hours[2].pk}


def test_a_range_without_an_end_goes_up_to_now(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    failed(happened(alice)), failed(happened(alice))
    assert resend(api, endpoint, **{"from": "2026-11-01T00:00:00Z"}).json() == {"redelivered": 2}


def test_a_range_takes_what_failed_unless_it_is_told_otherwise(
    api: APIClient, alice: Tenant, endpoint: Endpoint
) -> None:
    arrived, lost = delivery_of(happened(alice)), failed(happened(alice))
    ended(arrived, Delivery.State.DELIVERED)
    since = {"from": "2026-11-01T00:00:00Z"}
    assert resend(api, endpoint, **since).json() == {"redelivered": 1}
    assert pending() == {lost.pk}
    assert resend(api, endpoint, states=["delivered"], **since).json() == {"redelivered": 1}
    assert pending() == {lost.pk, arrived.pk}


def test_a_range_can_be_of_one_type(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    failed(happened(alice))
    wanted = failed(happened(alice, EventType.LOOKUP_FINISHED))
    resend(api, endpoint, types=["lookup.finished"], **{"from": "2026-11-01T00:00:00Z"})
    assert pending() == {wanted.pk}


def test_a_range_is_of_one_endpoint(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    endpoints.create(alice, Mode.LIVE, url="https://example.com/other")
    for delivery in happened(alice).deliveries.all():
        ended(delivery, Delivery.State.FAILED)
    assert resend(api, endpoint, **{"from": "2026-11-01T00:00:00Z"}).json() == {"redelivered": 1}
    assert pending() == {Delivery.objects.get(endpoint=endpoint).pk}


BAD_RANGES: list[tuple[dict[str, Any], str]] = [
    ({}, "from"),
    ({"from": "yesterday"}, "from"),
    ({"from": None}, "from"),
    ({"from": "2026-11-01T00:00:00"}, "from"),
    ({"from": "2026-11-02T00:00:00Z", "to": "2026-11-02T00:00:00Z"}, "to"),
    ({"from": "2999-11-02T00:00:00Z"}, "to"),
    ({"from": "2026-11-02T00:00:00Z", "states": []}, "states"),
    ({"from": "2026-11-02T00:00:00Z", "states": ["lost"]}, "states[0]"),
    ({"from": "2026-11-02T00:00:00Z", "types": "ping"}, "types"),
    ({"from": "2026-11-02T00:00:00Z", "types": ["ping", "x"]}, "types[1]"),
    ({"from": "2026-11-02T00:00:00Z", "until": "2026-11-03T00:00:00Z"}, "until"),
]


@pytest.mark.parametrize(("body", "field"), BAD_RANGES, ids=str)
def test_a_wrong_range_is_named_and_sends_nothing(
    api: APIClient, alice: Tenant, endpoint: Endpoint, body: dict[str, Any], field: str
) -> None:
    failed(happened(alice))
    problem = problem_of(resend(api, endpoint, **body))
    assert (problem["status"], [error["field"] for error in problem["errors"]]) == (400, [field])
    assert pending() == set()


def test_a_range_of_too_many_is_refused_whole(
    api: APIClient, alice: Tenant, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "MOST_RESENT", 2)
    for hour in range(3):
        failed(happened(alice, at=NOON + timedelta(hours=hour)))
    problem = problem_of(resend(api, endpoint, **{"from": NOON.isoformat(), "to": "2026-11-21T00:00:00Z"}))
    assert (problem["status"], problem["errors"][0]["code"]) == (400, "range_too_long")
    assert pending() == set()
    shorter = {"from": NOON.isoformat(), "to": (NOON + timedelta(hours=2)).isoformat()}
    assert resend(api, endpoint, **shorter).json() == {"redelivered": 2}


def test_a_disabled_endpoint_is_sent_nothing_more(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    delivery = failed(happened(alice))
    endpoints.disable(endpoint, "410 Gone")
    for response in (
        api.post(f"{PATH}/{delivery.pk}/redeliver"),
        api.post(f"{ENDPOINTS}/{endpoint.pk}/test"),
        resend(api, endpoint, **{"from": "2026-11-01T00:00:00Z"}),
    ):
        problem = problem_of(response)
        assert (problem["status"], problem["code"]) == (409, "endpoint_disabled")
        assert "410 Gone" in problem["detail"]
    assert pending() == set()


def test_one_that_was_tried_a_thousand_times_is_not_sent_once_more(
    api: APIClient, alice: Tenant, endpoint: Endpoint
) -> None:
    delivery = failed(happened(alice))
    Delivery.objects.update(attempt_count=1000)
    problem = problem_of(api.post(f"{PATH}/{delivery.pk}/redeliver"))
    assert (problem["status"], problem["code"]) == (409, "too_many_attempts")
    assert "1,000" in problem["detail"]
    assert pending() == set()


def test_a_deleted_endpoints_deliveries_are_gone_with_it(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    delivery = failed(happened(alice))
    assert api.delete(f"{ENDPOINTS}/{endpoint.pk}").status_code == 204
    assert listed(api) == []
    for path in (f"{ENDPOINTS}/{endpoint.pk}/test", f"{PATH}/{delivery.pk}/redeliver"):
        assert api.post(path).status_code == 404


def resend(api: APIClient, endpoint: Endpoint, **body: Any) -> Any:
    return api.post(f"{ENDPOINTS}/{endpoint.pk}/redeliver", body, format="json")


def pending() -> set[Any]:
    return set(Delivery.objects.filter(state=Delivery.State.PENDING).values_list("pk", flat=True))


def test_what_is_answered_is_as_described(api: APIClient, alice: Tenant, endpoint: Endpoint) -> None:
    delivery = failed(happened(alice))
    attempted(delivery, status=500, cause="bad_status", detail="It answers 500.")
    described(PATH, "get", api.get(PATH))
    described(PATH, "get", api.get(PATH, {"state": "nonsense"}))
    described(f"{PATH}/{{id}}/redeliver", "post", api.post(f"{PATH}/{delivery.pk}/redeliver"))
    one = f"{ENDPOINTS}/{{id}}"
    described(f"{one}/redeliver", "post", resend(api, endpoint, **{"from": "2026-11-01T00:00:00Z"}))
    described(f"{one}/redeliver", "post", resend(api, endpoint))
    endpoints.disable(endpoint)
    described(f"{one}/test", "post", api.post(f"{ENDPOINTS}/{endpoint.pk}/test"))
