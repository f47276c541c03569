"""Endpoints, events and deliveries as operators see them, and the little that they can do."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts.models import Delivery, Endpoint, Event, EventType, Mode
from accounts.webhooks import endpoints
from searches.lifecycle import cancellation
from tests.admin.conftest import World
from tests.admin.test_pages import address, page_of


def shown(desk: Client, row: Model) -> str:
    return desk.get(page_of(row)).content.decode()


def listed(desk: Client, model: type[Model], **filters: str) -> list[Any]:
    return list(desk.get(address(model, "changelist"), filters).context["cl"].result_list)


def act(desk: Client, action: str, row: Model) -> Any:
    path = reverse(f"admin:accounts_{row._meta.model_name}_{action}", args=[row.pk])
    return desk.post(path, {"_form_submitted": "on", "reason": "why"})


def test_a_disabled_endpoint_is_marked_and_says_why(desk: Client, world: World) -> None:
    assert "410 Gone" not in shown(desk, world.endpoint)
    endpoints.disable(world.endpoint, "410 Gone")
    assert "410 Gone" in shown(desk, world.endpoint)
    assert "410 Gone" in desk.get(address(Endpoint, "changelist")).content.decode()


def test_endpoints_are_filtered_by_their_state(desk: Client, world: World) -> None:
    failing, _ = endpoints.create(world.tenant, Mode.LIVE, url="https://shop.example/failing")
    disabled, _ = endpoints.create(world.tenant, Mode.LIVE, url="https://shop.example/disabled")
    Endpoint.objects.filter(pk=failing.pk).update(failing_since="2026-11-18T00:00:00Z")
    endpoints.disable(disabled)
    by_state = {word: listed(desk, Endpoint, state=word) for word in ("enabled", "failing", "disabled")}
    assert by_state == {"enabled": [world.endpoint], "failing": [failing], "disabled": [disabled]}


def test_the_filter_of_endpoints_offers_their_states(desk: Client, world: World) -> None:
    html = desk.get(address(Endpoint, "changelist")).content.decode()
    offered = re.findall(r'<option value="(\w+)"', html[html.index('name="state"') :].partition("</select>")[0])
    assert offered == ["enabled", "failing", "disabled"]


def test_an_operator_disables_an_endpoint_and_the_others_get_an_event(desk: Client, world: World) -> None:
    other, _ = endpoints.create(world.tenant, Mode.LIVE, url="https://shop.example/other")
    assert act(desk, "disable", world.endpoint).headers["HX-Redirect"] == page_of(world.endpoint)
    endpoint = Endpoint.objects.get(pk=world.endpoint.pk)
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "by an operator")
    assert Delivery.objects.get(event__type=EventType.ENDPOINT_DISABLED).endpoint == other
    assert act(desk, "disable", world.endpoint).status_code == 403


def test_an_operator_enables_what_was_disabled(desk: Client, world: World) -> None:
    assert act(desk, "enable", world.endpoint).status_code == 403
    endpoints.disable(world.endpoint, "410 Gone")
    assert act(desk, "enable", world.endpoint).status_code == 200
    assert Endpoint.objects.get(pk=world.endpoint.pk).enabled


def test_an_event_is_shown_with_its_body_and_its_deliveries(desk: Client, world: World) -> None:
    html = shown(desk, world.delivery.event)
    assert "&quot;endpoint_id&quot;" in html
    assert str(world.endpoint.pk) in html
    assert page_of(world.delivery) in html


def test_a_delivery_is_shown_with_its_attempts_as_text(desk: Client, world: World) -> None:
    html = shown(desk, world.delivery)
    assert "87 ms" in html
    assert "The server answers 502 Bad Gateway." in html
    assert "&lt;b&gt;Bad gateway&lt;/b&gt;" in html
    assert "<b>Bad gateway</b>" not in html


def test_an_endpoints_page_leads_to_its_deliveries(desk: Client, world: World) -> None:
    other, _ = endpoints.create(world.tenant, Mode.LIVE, url="https://shop.example/other")
    for endpoint, deliveries in ((world.endpoint, [world.delivery]), (other, [])):
        path = f"endpoint__id__exact={endpoint.pk}"
        assert path in shown(desk, endpoint)
        assert listed(desk, Delivery, endpoint__id__exact=str(endpoint.pk)) == deliveries


def test_deliveries_and_events_are_found_by_type(desk: Client, world: World) -> None:
    assert listed(desk, Delivery, event__type__exact="ping") == [world.delivery]
    assert listed(desk, Delivery, event__type__exact="search.failed") == []
    assert listed(desk, Event, type__exact="ping") == [world.delivery.event]


def test_a_delivery_is_found_by_the_webhook_id(desk: Client, world: World) -> None:
    assert listed(desk, Delivery, q=str(world.delivery.event_id)) == [world.delivery]
    assert listed(desk, Delivery, q=str(world.endpoint.pk)) == [world.delivery]


def test_a_search_s_events_are_found_by_its_id(desk: Client, world: World) -> None:
    cancellation.cancel(world.search)
    types = {event.type for event in listed(desk, Event, q=str(world.search.pk))}
    assert types == {"lookup.finished", "search.canceled"}


def test_a_failed_delivery_is_sent_once_more(desk: Client, world: World) -> None:
    Delivery.objects.update(state="failed", next_attempt_at=None)
    assert act(desk, "redeliver", world.delivery).headers["HX-Redirect"] == page_of(world.delivery)
    assert Delivery.objects.get().state == "pending"


def test_nothing_is_sent_to_a_disabled_endpoint(desk: Client, world: World) -> None:
    endpoints.disable(world.endpoint)
    assert act(desk, "redeliver", world.delivery).status_code == 403
