"""The admin's first page shows what needs a person, the lanes, credits, searches and webhooks, from counted rows alone."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts import clock, tasks
from accounts.models import Endpoint, RollupProgress, User
from accounts.rollups import MINUTE, floor
from billing import tasks as billing_tasks
from billing.models import CreditDay, Hold, LedgerAudit, Reconciliation
from config.dashboard import charts, words
from config.dashboard.attention import TROUBLES
from config.dashboard.charts import Column
from providers.models import Credential, Policy
from searches import tasks as search_tasks
from searches.models import Lane, LaneMinute, SampledMinute, Search
from tests.admin.conftest import World, build, called
from tests.admin.test_pages import page_of
from tests.searches.rollups.conftest import submitted

PAGE, PARTS = "/admin/", "/admin/parts"


def count() -> None:
    """Does what beat asks workers for."""
    search_tasks.roll_up_lanes()
    search_tasks.roll_up_searches()
    tasks.roll_up_deliveries()
    billing_tasks.roll_up_credits()


def text(desk: Client, path: str = PARTS) -> str:
    """Returns what the page says, without its elements."""
    html = re.sub(r"<[^>]+>", " ", desk.get(path).content.decode())
    return " ".join(html.split())


def trouble(world: World) -> dict[str, list[Model]]:
    """Makes a row or two of every kind that needs a person."""
    moment = clock.now()
    Lane.objects.update(trips=2, broken_until=moment + MINUTE, paused=True, paused_until=moment + MINUTE)
    Policy.objects.update(paused=True)
    other = build("Bob and Sons")
    Credential.objects.filter(pk=world.credential.pk).update(state="invalid")
    Credential.objects.filter(pk=other.credential.pk).update(state="exhausted")
    Hold.objects.filter(pk=world.lookup.reference).update(unknown=Decimal("0.5"))
    Endpoint.objects.filter(pk=world.endpoint.pk).update(enabled=False, disabled_reason="410 Gone")
    Endpoint.objects.filter(pk=other.endpoint.pk).update(failing_since=moment)
    audit = LedgerAudit.objects.create(day=moment.date(), finished_at=moment, differences=1, sentences=["Odd."])
    lanes: list[Model] = list(Lane.objects.all())
    return {
        "audits": [audit],
        "breakers": lanes,
        "paused_lanes": lanes,
        "told_to_wait": lanes,
        "paused_providers": list(Policy.objects.all()),
        "invalid": [world.credential],
        "exhausted": [other.credential],
        "unknown": [Hold.objects.get(pk=world.lookup.reference)],
        "drift": list(Reconciliation.objects.filter(state="unexplained")),
        "disabled": [world.endpoint],
        "failing": [other.endpoint],
    }


def test_each_count_leads_to_the_list_of_these_rows(desk: Client, world: World) -> None:
    made = trouble(world)
    tasks = {task["words"]: task for task in tasks_of(desk)}
    for kind in TROUBLES:
        rows = made[kind.name]
        task = tasks[kind.one if len(rows) == 1 else kind.many]
        assert task["number"] == f"{len(rows):,}", kind.name
        answer = desk.get(task["address"])
        assert set(answer.context["cl"].result_list) == set(rows), kind.name
    assert len(tasks) == len(TROUBLES) == len(made)


def tasks_of(desk: Client) -> list[dict[str, str]]:
    html = desk.get(PARTS).content.decode()
    found = re.findall(
        r'<a href="([^"]+)" class="dashboard-task[^"]*">\s*<strong>([^<]+)</strong>\s*([^<]+?)\s*</a>', html
    )
    return [
        {"address": address.replace("&amp;", "&"), "number": number, "words": said.replace("&#x27;", "'")}
        for address, number, said in found
    ]


def test_without_trouble_the_page_says_so(desk: Client, operator: User) -> None:
    said = text(desk)
    assert "Nothing needs a person." in said
    for empty in ("No live lane yet.", "No live search was submitted", "No event was sent", "Nothing was charged"):
        assert empty in said
    assert "The ledger has not been audited yet" in said
    assert "Not counted yet: calls, searches, deliveries, credits." in said
    count()
    assert "Not counted yet" not in text(desk)


def test_a_paused_lane_says_since_when_by_whom_and_why(desk: Client, world: World) -> None:
    path = reverse("admin:searches_lane_pause", args=[quote(world.lookup.lane.pk)])
    sent = {"_form_submitted": "on", "reason": "they move their servers"}
    assert "HX-Redirect" in desk.post(path, sent).headers
    assert re.search(r"modash: paused by operators since \d{4}-\d\d-\d\d \d\d:\d\d UTC by olive", text(desk))


def test_a_paused_provider_says_since_when_and_by_whom(desk: Client, world: World) -> None:
    path = page_of(world.lookup.lane.policy)
    form = desk.get(path).context["adminform"].form
    sent: dict[str, Any] = {name: value for name in form.fields if (value := form[name].value()) is not False}
    answer = desk.post(path, {**sent, "paused": "on"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert re.search(r"modash: paused by its policy since \d{4}-\d\d-\d\d \d\d:\d\d UTC by olive", text(desk))


def test_a_lane_says_what_waits_runs_and_came_back(desk: Client, world: World) -> None:
    for _ in range(2):
        refused = called(world.lookup)
    refused.pk, refused.state, refused.status, refused.error_code = uuid7(), "failed", 429, "rate_limited"
    refused.save(force_insert=True)
    count()
    assert "1 lookup waiting, 0 running; the oldest waits for" in text(desk)
    # The present minute is no whole one yet.
    minute = floor(clock.now(), MINUTE)
    LaneMinute.objects.filter(calls__gt=0).update(start=minute - MINUTE)
    said = text(desk)
    assert "3 calls answered" in said
    assert "1 told to wait" in said
    assert "Half of the answers came within" in said


def test_a_sample_that_is_old_is_not_shown_as_the_present(desk: Client, world: World) -> None:
    count()
    SampledMinute.objects.update(sampled_at=clock.now() - timedelta(minutes=5))
    assert "No sample of its queues was taken in the last minutes." in text(desk)


def test_minutes_that_nobody_counted_are_gaps(desk: Client, world: World) -> None:
    count()
    RollupProgress.objects.filter(pk="calls").update(until=clock.now() - timedelta(minutes=30))
    html = desk.get(PARTS).content.decode()
    assert html.count("not counted yet</title>") in (30, 31)
    assert "Nothing has counted calls for some minutes" in text(desk)


def test_searches_deliveries_and_credits_are_added_up(desk: Client, world: World) -> None:
    for status in ("failed", "failed", "succeeded"):
        submitted(timezone.now() - timedelta(hours=3), world.tenant, status)
    submitted(timezone.now(), world.tenant, "failed", mode="test")
    count()
    CreditDay.objects.create(
        provider="keyapi", day=clock.now().date(), charged=Decimal("12.5"), charges=5, counted_at=clock.now()
    )
    said = text(desk)
    for part in ("2 failed (50 %)", "1 succeeded (25 %)", "1 open (25 %)", "1 search of test keys beside them"):
        assert part in said
    assert "1 pending (100 %)" in said
    assert "12.5 credits today, 12.5 credits in 14 days" in said
    [path] = re.findall(r'href="([^"]+)" class="text-link">2 failed<', desk.get(PARTS).content.decode())
    failed = Search.objects.filter(status="failed", mode="live")
    assert set(desk.get(path.replace("&amp;", "&")).context["cl"].result_list) == set(failed)


def test_more_rows_cost_no_more_queries(desk: Client, world: World) -> None:
    trouble(world)
    count()
    few = queries(desk)
    for name in ("Carol and Sons", "Dora and Sons"):
        build(name)
    Lane.objects.bulk_create(
        Lane(name=f"modash:{number}", policy=world.lookup.lane.policy, mode="live", paused=True) for number in range(50)
    )
    count()
    assert queries(desk) == few < 10


def queries(desk: Client, path: str = PAGE) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert desk.get(path).status_code == 200
    return len(captured)


@pytest.fixture
def auditor(db: None) -> User:
    return User.objects.create(username="tom", is_staff=True)


@pytest.fixture
def auditors_desk(auditor: User) -> Client:
    client = Client()
    client.force_login(auditor)
    return client


def test_who_may_see_nothing_sees_no_number(auditors_desk: Client, world: World) -> None:
    trouble(world)
    count()
    assert tasks_of(auditors_desk) == []
    said = text(auditors_desk)
    for hidden in ("Live lanes", "Searches of", "Webhook deliveries", "Credits", "modash", "audit of"):
        assert hidden not in said


def test_who_may_only_see_sees_all_and_is_offered_no_act(auditors_desk: Client, auditor: User, world: World) -> None:
    auditor.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    trouble(world)
    count()
    assert len(tasks_of(auditors_desk)) == len(TROUBLES)
    assert queries(auditors_desk) < 10
    html = auditors_desk.get(PARTS).content.decode()
    assert "<form" not in html
    assert "<button" not in html
    for path in set(re.findall(r'href="([^"]+)"', html)):
        assert auditors_desk.get(path.replace("&amp;", "&")).status_code == 200, path


def test_a_stranger_is_sent_to_sign_in(client: Client, db: None) -> None:
    for path in (PAGE, PARTS):
        assert client.get(path).headers["Location"].startswith("/admin/login/")


def test_an_unchanged_page_is_not_sent_again(desk: Client, world: World) -> None:
    # Nothing that changes by itself is on the page: the words of an old sample have no time in them.
    SampledMinute.objects.all().delete()
    first = desk.get(PARTS)
    again = desk.get(PARTS, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    Credential.objects.update(state="invalid")
    changed = desk.get(PARTS, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_the_page_has_the_tag_of_its_parts(desk: Client, operator: User) -> None:
    tag = desk.get(PARTS).headers["ETag"].strip('"')
    assert f'data-tag="&quot;{tag}&quot;"' in desk.get(PAGE).content.decode()


def test_no_style_and_no_script_is_inline(desk: Client, world: World) -> None:
    trouble(world)
    count()
    html = desk.get(PARTS).content.decode()
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=", html)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.counted(1, "call"), "1 call"),
        (words.counted(2000, "search", "searches"), "2,000 searches"),
        (words.at_most_counted(1000), "1,000"),
        (words.at_most_counted(1001), "more than 1,000"),
        (words.duration(59), "59 s"),
        (words.duration(61), "1 min 1 s"),
        (words.duration(3660), "1 h 1 min"),
        (words.duration(90_000), "1 day 1 h"),
        (words.milliseconds(640), "640 ms"),
        (words.milliseconds(12_000), "12 s"),
        (words.share(0, 0), "0 %"),
        (words.share(1, 1000), "less than 1 %"),
        (words.share(999, 1000), "more than 99 %"),
        (words.share(1, 2), "50 %"),
    ],
)
def test_numbers_have_units(said: str, expected: str) -> None:
    assert said == expected


def test_a_chart_draws_gaps_apart_from_nothing_and_small_parts_visibly() -> None:
    columns: list[Any] = [
        Column(words="a", parts=None),
        Column(words="b", parts={"answered": 0}),
        Column(words="c", parts={"answered": 10_000, "refused": 1}),
    ]
    chart = charts.draw(columns, words="Calls", limit=20_000)
    assert [(bar.kind, bar.words) for bar in chart.bars] == [("gap", "a"), ("answered", "c"), ("refused", "c")]
    assert chart.bars[2].height == charts.LEAST
    assert chart.bars[1].height == charts.HEIGHT / 2
    assert chart.limit == 0
