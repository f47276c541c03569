"""A lane's page shows who is next and why, who uses it, its last calls, and the waits under other terms."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts import clock
from accounts.ids import first_id_of
from accounts.models import Tenant, User
from providers.models import Policy
from searches.lanes import pauses
from searches.models import Call, Lane, Lookup, TenantQueue
from searches.rollups import lane_calls, lane_samples
from tests.admin.conftest import World, build
from tests.admin.test_pages import address, page_of, queries


@pytest.fixture
def lane(world: World) -> Lane:
    return world.lookup.lane


def what_if(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_what_if", args=[quote(row.pk)])


def page(desk: Client, lane: Lane) -> Any:
    return desk.get(page_of(lane)).context


def test_the_next_in_line_are_shown_with_their_start_and_why_they_wait(desk: Client, world: World, lane: Lane) -> None:
    bob = build("Bob and Sons")
    Tenant.objects.filter(pk=bob.tenant.pk).update(weight=4)
    first, second = page(desk, lane)["in_line"]["rows"]
    assert [first[0], second[0]] == [1, 2]
    assert page_of(world.tenant) in first[1]
    assert page_of(world.lookup) in first[2]
    assert "<time " in first[3]
    assert "UTC" in first[3]
    assert first[4] == "next: waits for the limit's next slot"
    assert second[4] == "1 call is made before it; weight 4"
    assert "27000000000" not in desk.get(page_of(lane)).content.decode()


def test_who_waits_in_a_paused_lane_has_no_start(desk: Client, lane: Lane) -> None:
    pauses.pause(lane)
    [row] = page(desk, lane)["in_line"]["rows"]
    assert row[3:] == ["when it is resumed", "the lane is paused"]


def test_a_lane_without_lookups_says_what_would_be_there(desk: Client, lane: Lane) -> None:
    Lookup.objects.update(queue_state="none")
    TenantQueue.objects.update(ready=0, pending_calls=0)
    Call.objects.all().delete()
    html = desk.get(page_of(lane)).content.decode()
    for words in ("No lookup is in line.", "No call was under way in the last minute.", "No call was made in the last"):
        assert words in html


def test_the_last_calls_are_bars_coloured_by_their_outcome(desk: Client, world: World, lane: Lane) -> None:
    moment = clock.now()
    Call.objects.update(armed_at=moment - timedelta(seconds=31), sent_at=moment - timedelta(seconds=30))
    Call.objects.update(finished_at=moment - timedelta(seconds=20))
    values = {"lookup": world.lookup, "page": 0, "armed_at": moment, "leased_until": moment + timedelta(minutes=1)}
    Call.objects.create(**values)
    ended = values | {"sent_at": moment, "finished_at": moment}
    Call.objects.create(**ended, state="failed", status=429, error_code="rate_limited")
    Call.objects.create(**ended | {"finished_at": moment - timedelta(minutes=2)}, state="answered")
    shown = page(desk, lane)["time_line"]
    bars = {bar.outcome: bar for bar in shown.bars}
    assert len(shown.bars) == 3
    assert bars["answered"].x == pytest.approx(600, abs=100)
    assert bars["answered"].width == pytest.approx(200, abs=1)
    assert "rate_limited" in bars["refused"].title
    assert "not ended" in bars["armed"].title
    assert 58 <= len(shown.slots) <= 61
    assert set(shown.outcomes) == set(bars)
    assert f'href="{bars["refused"].address}"' in desk.get(page_of(lane)).content.decode()


def test_the_page_asks_no_more_queries_of_more_tenants(desk: Client, lane: Lane) -> None:
    desk.get(page_of(lane))
    few, compared = queries(desk, page_of(lane)), queries(desk, what_if(lane))
    for name in ("Bob and Sons", "Carol and Sons", "Dora and Sons"):
        build(name)
    assert queries(desk, page_of(lane)) == few
    assert queries(desk, what_if(lane)) == compared


def test_a_tenants_queue_has_a_place_in_line_and_no_virtual_time(desk: Client, world: World) -> None:
    TenantQueue.objects.update(virtual_time=27_000_000_000)
    for path in (address(TenantQueue, "changelist"), page_of(TenantQueue.objects.get())):
        html = desk.get(path).content.decode()
        assert "lace in line" in html
        assert "27000000000" not in html
    assert desk.get(address(TenantQueue, "changelist")).context["cl"].result_list[0].place == 1


def test_other_terms_are_compared_before_they_are_saved(desk: Client, world: World, lane: Lane) -> None:
    asked = {"calls": "10", "window_ms": "", "tenant": world.tenant.name, "weight": "9"}
    response = desk.get(what_if(lane), asked)
    [shown] = response.context["lanes"]
    [[tenant, weight, ready, *starts]] = shown["table"]["rows"]
    assert (page_of(world.tenant) in tenant, weight, ready) == (True, "1 → 9", "1")
    assert all("<time " in start for start in starts)
    assert (Tenant.objects.get().weight, Policy.objects.get(pk="modash").calls) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"calls": "0"}, "Calls: Ensure this value is greater than or equal to 1."),
        ({"guard_ms": "x"}, "Guard ms: Enter a number."),
        ({"weight": "1001"}, "Weight: Ensure this value is less than or equal to 1000."),
        ({"weight": "5"}, "Tenant: Name the tenant that would have this weight."),
        ({"tenant": "Nobody"}, "Tenant: There is no tenant with this name or id; enter one that waits in this lane."),
    ],
)
def test_terms_that_make_no_sense_are_refused(desk: Client, lane: Lane, asked: dict[str, str], refusal: str) -> None:
    response = desk.get(what_if(lane), asked)
    assert response.context["errors"] == [refusal]
    assert response.context["lanes"] == []


def test_the_forms_of_policies_and_tenants_compare_what_is_entered(desk: Client, world: World) -> None:
    policy = world.rows[Policy]
    for row, asked in ((policy, {"calls": "2", "window_ms": "500"}), (world.tenant, {"weight": "3"})):
        assert what_if(row) in desk.get(page_of(row)).content.decode()
        [shown] = desk.get(what_if(row), asked).context["lanes"]
        assert len(shown["table"]["rows"]) == 1


def test_a_comparison_needs_the_permissions_to_see_lanes_and_lookups(client: Client, world: World, lane: Lane) -> None:
    tom = User.objects.create(username="tom", is_staff=True)
    client.force_login(tom)
    allowed = ["view_lane", "change_policy", "view_policy", "change_tenant", "view_tenant"]
    tom.user_permissions.set(Permission.objects.filter(codename__in=allowed))
    rows = (lane, world.rows[Policy], world.tenant)
    assert [client.get(what_if(row)).status_code for row in rows] == [403] * 3
    assert page(client, lane).get("in_line") is page(client, lane).get("time_line") is None
    tom.user_permissions.add(Permission.objects.get(codename="view_lookup"))
    assert [client.get(what_if(row)).status_code for row in rows] == [200] * 3


def test_no_address_of_a_comparison_is_a_500(desk: Client, world: World, lane: Lane) -> None:
    desk.raise_request_exception = False
    for row in (lane, world.rows[Policy], world.tenant):
        for odd in ("x", "nul\0", "²", "9" * 40, "9" * 5000, "1e999999999", "NaN", "-1"):
            asked = dict.fromkeys(("calls", "window_ms", "guard_ms", "tenant", "weight"), odd)
            assert desk.get(what_if(row), asked).status_code < 500
    for model in (Lane, Policy, Tenant):
        for odd in ("x", "nul\0", "9" * 40):
            assert desk.get(what_if(model(pk=odd))).status_code in (302, 403, 404)


def test_the_last_day_and_the_users_are_what_was_counted(desk: Client, world: World, lane: Lane) -> None:
    minutes = timedelta(minutes=5)
    moment = clock.now() - minutes
    Call.objects.all().delete()
    values = {"lookup": world.lookup, "page": 0, "armed_at": moment, "leased_until": moment, "sent_at": moment}
    for number in range(3):
        id = UUID(int=first_id_of(moment).int + number)
        refused = {"state": "failed", "status": 429} if number else {"state": "answered"}
        Call.objects.create(id=id, **values, **refused, finished_at=moment)
    assert "Nothing was counted yet." in desk.get(page_of(lane)).content.decode()
    lane_samples.take()
    lane_calls.roll_up(seconds=60)
    context = page(desk, lane)
    calls, waiting = context["charts"]
    assert calls["words"] == "3 calls, of which the provider refused 2 as too many."
    refusals, sent = json.loads(calls["data"])["datasets"]
    assert (sum(filter(None, refusals["data"])), sum(filter(None, sent["data"]))) == (2, 3)
    [[tenant, share, number, *rest]] = context["users"]["rows"]
    assert page_of(world.tenant) in tenant
    assert 'value="100.0"' in share
    assert (number, *rest) == ("3", 1, "1", "1")
    assert waiting["words"] in ("", "Lookups that were ready at once: at most 1.")
