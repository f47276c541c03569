"""Operators see why a lane is paused, pause and resume it, and end a pause early."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts import clock
from accounts.models import Mode
from providers import policies
from providers.keyring import resting
from providers.models import Credential
from searches.lanes import directory, pauses, queue, wakeups
from searches.models import Lane
from tests.admin.conftest import World
from tests.admin.test_pages import address, page_of


@pytest.fixture
def lane(world: World) -> Lane:
    return world.lookup.lane


def press(desk: Client, lane: Lane, action: str) -> Any:
    path = reverse(f"admin:searches_lane_{action}", args=[quote(lane.pk)])
    return desk.post(path, {"_form_submitted": "on", "reason": "why"})


def offered(desk: Client, lane: Lane) -> set[str]:
    html = desk.get(page_of(lane)).content.decode()
    paths = {action: reverse(f"admin:searches_lane_{action}", args=[quote(lane.pk)]) for action in ACTIONS}
    return {action for action, path in paths.items() if path in html}


ACTIONS = ("pause", "resume", "end_pause")


def text(desk: Client, lane: Lane) -> str:
    return desk.get(page_of(lane)).content.decode()


def claims(lane: Lane) -> bool:
    return queue.claim(lane.pk, policies.of("modash"), lease=timedelta(seconds=10)) is not None


def test_an_operator_pauses_a_lane_and_resumes_it(desk: Client, lane: Lane) -> None:
    assert offered(desk, lane) == {"pause"}
    assert press(desk, lane, "pause").headers["HX-Redirect"] == page_of(lane)
    assert not claims(lane)
    assert wakeups.lanes_with_work() == []
    assert "Operators have paused this lane." in text(desk, lane)
    assert offered(desk, lane) == {"resume"}
    assert press(desk, lane, "resume").status_code == 200
    assert wakeups.lanes_with_work() == [lane]
    assert claims(lane)


def test_a_paused_lane_is_shown_as_one_in_the_list(desk: Client, lane: Lane) -> None:
    assert "running" in desk.get(address(Lane, "changelist")).content.decode()
    pauses.pause(lane)
    assert "running" not in desk.get(address(Lane, "changelist")).content.decode()
    assert page_of(lane) not in desk.get(address(Lane, "changelist"), {"paused__exact": 0}).content.decode()


def test_the_page_of_a_lane_that_is_not_paused_says_so(desk: Client, lane: Lane) -> None:
    assert "It is not paused." in text(desk, lane)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"paused_until": timedelta(minutes=1)}, "The provider asked to wait until"),
        ({"broken_until": timedelta(minutes=1), "trips": 1}, "Its breaker is open until"),
        ({"broken_until": timedelta(minutes=-1), "trips": 1}, "one call is made as a probe"),
    ],
)
def test_a_pause_can_be_ended(desk: Client, lane: Lane, values: dict[str, Any], sentence: str) -> None:
    moment = clock.now()
    Lane.objects.update(**{name: moment + value if name.endswith("until") else value for name, value in values.items()})
    policies.lane_limiter(lane.pk, lane.policy).pause(seconds=60)
    assert sentence in text(desk, lane)
    assert offered(desk, lane) == {"pause", "end_pause"}
    assert press(desk, lane, "end_pause").headers["HX-Redirect"] == page_of(lane)
    assert "It is not paused." in text(desk, lane)
    waiter = policies.lane_limiter(lane.pk, lane.policy).waiter("mine")
    assert (waiter.acquire() or 0) < 5
    assert claims(lane)


def test_keys_that_rest_are_named_and_an_operator_ends_it(desk: Client, lane: Lane) -> None:
    assert "none" in text(desk, lane)
    key = Credential.objects.get(lookups__lane=lane)
    moment = clock.now()
    resting.rest(key, claimed_at=moment, moment=moment, seconds=600)
    assert f"{key.tenant}: {key.label}, until " in text(desk, lane)
    assert not claims(lane)
    assert offered(desk, lane) == {"pause", "end_pause"}
    assert press(desk, lane, "end_pause").status_code == 200
    assert claims(lane)


def test_the_guard_that_a_lane_has_learned_is_shown_beside_its_policys(
    desk: Client, lane: Lane, settings: Settings
) -> None:
    redis.Redis.from_url(settings.REDIS_URL).hset(f"lane:{{{lane.pk}}}", "margin", 4250)
    assert "7.250 ms: 3 of the policy" in text(desk, lane)
    settings.REDIS_URL = "redis://127.0.0.1:1"
    assert "3 ms of the policy" in text(desk, lane)


def test_a_pause_does_not_end_while_redis_is_unreachable(desk: Client, lane: Lane, settings: Settings) -> None:
    pauses.throttle_lane(lane.pk, seconds=60)
    settings.REDIS_URL = "redis://127.0.0.1:1"
    press(desk, lane, "end_pause")
    assert "Redis cannot be reached" in text(desk, lane)
    assert not claims(lane)


def test_a_provider_that_is_paused_is_named(desk: Client, lane: Lane) -> None:
    policy = policies.of("modash")
    policy.paused = True
    policy.save()
    assert "Operators have paused modash, in its policy." in text(desk, lane)
    assert "until it is resumed" in text(desk, lane)


def test_a_test_lane_with_its_colons_can_be_paused_too(desk: Client, world: World) -> None:
    lane = directory.lane_of(policies.of("modash"), mode=Mode.TEST, tenant_id=world.tenant.pk)
    press(desk, lane, "pause")
    assert offered(desk, lane) == {"resume"}


def test_an_action_that_changes_nothing_is_refused(desk: Client, lane: Lane) -> None:
    assert press(desk, lane, "resume").status_code == 403
    assert press(desk, lane, "end_pause").status_code == 403


def test_a_history_shows_its_own_acts(desk: Client, lane: Lane) -> None:
    press(desk, lane, "pause")
    html = desk.get(page_of(lane).replace("/change/", "/history/")).content.decode()
    assert "Paused." in html
    assert "9999999999" not in html
