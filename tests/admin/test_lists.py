"""Lists say why, cost the same however long they are, and can be had as a file."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Act, ApiKey, Attempt, Delivery, Endpoint, Event, Tenant, User
from accounts.web.admin_columns import distance, moment, size_of_file, with_unit, yes_or_no
from providers.models import Credential
from searches.admin.searches import SearchAdmin
from searches.models import Call, Image, Lookup, Search
from tests.admin.conftest import SECRET, World, build
from tests.admin.test_pages import address

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def listed(desk: Client, model: Any, **query: str) -> Any:
    return desk.get(address(model, "changelist"), query).context["cl"]


def html_of(desk: Client, model: Any) -> str:
    return " ".join(desk.get(address(model, "changelist")).content.decode().split())


def file_of(desk: Client, model: Any, **query: str) -> list[dict[str, str]]:
    answer: Any = desk.get(f"{address(model, 'changelist')}export/", query)
    assert answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=90), "1 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=31), "31 days ago"),
        (timedelta(days=32), "2026-10-29"),
        (-timedelta(minutes=5), "in 5 min"),
    ],
)
def test_times_are_relative(passed: timedelta, words: str) -> None:
    assert distance(NOW - passed, NOW) == words


def test_values_have_words_and_units() -> None:
    assert 'datetime="2026-11-30T12:00:00Z" title="2026-11-30 12:00:00 UTC"' in moment(NOW)
    assert [yes_or_no(value) for value in (True, False, None)] == ["yes", "no", "-"]
    assert [size_of_file(size) for size in (7, 999, 1500, 210_000, 3_000_000, None)] == [
        *("7 bytes", "999 bytes", "1.5 kB", "210 kB", "3.0 MB", "-")
    ]
    assert [with_unit(value, "credits") for value in ("0.5", 1200, None)] == ["0.5 credits", "1,200 credits", "-"]


def test_lists_say_why(desk: Client, world: World) -> None:
    assert "waits for the provider&#x27;s limit" in html_of(desk, Search)
    assert "position 1" in html_of(desk, Lookup)
    Lookup.objects.update(queue_state="none")
    Lookup.objects.update(status="failed", error_code="no_answer", error_detail="The provider gave no answer.")
    for model in (Search, Lookup):
        assert "no_answer" in html_of(desk, model)
        assert "The provider gave no answer." in html_of(desk, model)
    Call.objects.update(error_code="refused", error_detail="They will not take it.")
    assert "They will not take it." in html_of(desk, Call)
    Credential.objects.update(state="invalid", check_problem="The key is refused.")
    assert "The key is refused." in html_of(desk, Credential)
    assert "The server answers 502 Bad Gateway." in html_of(desk, Delivery)
    Endpoint.objects.update(enabled=False, disabled_reason="Its deliveries failed for five days.")
    assert "Its deliveries failed for five days." in html_of(desk, Endpoint)


def test_lists_have_relative_times_with_the_exact_ones_and_words_without_a_colour(desk: Client, world: World) -> None:
    html = html_of(desk, Credential)
    assert f'title="{world.credential.updated_at:%Y-%m-%d %H:%M:%S} UTC"' in html
    assert "close_small" not in html
    page = desk.get(f"{address(Search, 'change', world.search.pk)}").content.decode()
    assert f'title="{world.search.expires_at:%Y-%m-%d %H:%M:%S} UTC"' in page


def test_a_list_is_paged_by_ids_and_never_counted(desk: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SearchAdmin, "list_per_page", 2)
    made = [build(name).search.pk for name in ("Bob", "Carol", "Dora", "Eve")]
    newest_first = [*reversed(made), world.search.pk]
    with CaptureQueriesContext(connection) as captured:
        first = listed(desk, Search)
    assert not [query for query in captured.captured_queries if "COUNT(" in query["sql"] or "OFFSET" in query["sql"]]
    pages, changes = [], first
    while True:
        pages.append([row.pk for row in changes.result_list])
        if changes.older is None:
            break
        changes = desk.get(f"{address(Search, 'changelist')}{changes.older}").context["cl"]
    assert pages == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    back = desk.get(f"{address(Search, 'changelist')}{changes.newer}").context["cl"]
    assert [row.pk for row in back.result_list] == newest_first[2:4]
    assert desk.get(f"{address(Search, 'changelist')}bulk/cancel/{changes.newer}").status_code == 200
    top = desk.get(f"{address(Search, 'changelist')}{back.newer}").context["cl"]
    assert [row.pk for row in top.result_list] == newest_first[:2]
    assert (top.newer, bool(top.older)) == (None, True)


def test_a_page_too_far_away_is_not_read(desk: Client, db: None) -> None:
    assert desk.get(address(Tenant, "changelist"), {"p": "1001"}).status_code == 302


def test_a_filter_by_tenant_does_not_list_them_all(desk: Client, world: World) -> None:
    Tenant.objects.bulk_create(Tenant(name=f"Tenant {number}") for number in range(300))
    assert "Tenant 299" not in html_of(desk, Search)


def test_a_text_finds_rows_of_tenants_with_all_its_words(desk: Client, world: World) -> None:
    build("Bob and Sons")
    assert [row.pk for row in listed(desk, Search, q="sons ALICE").result_list] == [world.search.pk]
    assert not listed(desk, Search, q="sons nobody").result_list


def test_a_file_has_every_row_that_matches_and_no_secret(
    desk: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.web.admin_export.ROWS_A_BATCH", 2)
    others = [build(name) for name in ("Bob", "Carol", "Dora")]
    assert [row["id"] for row in file_of(desk, Search)] == [
        str(pk) for pk in (*(other.search.pk for other in reversed(others)), world.search.pk)
    ]
    assert [row["id"] for row in file_of(desk, Search, tenant__id__exact=str(world.tenant.pk))] == [
        str(world.search.pk)
    ]
    assert [(act.kind, act.tenant_id, act.detail) for act in Act.objects.filter(kind="export")[:1]] == [
        ("export", world.tenant.pk, f"Exported searches, with tenant__id__exact {world.tenant.pk}.")
    ]
    assert len(file_of(desk, Tenant)) == 4
    for model, hidden in (
        (ApiKey, "digest"),
        (Credential, "sealed"),
        (Endpoint, "sealed"),
        (Image, "file"),
        (Event, "body"),
    ):
        assert hidden not in file_of(desk, model)[0]
    text = str([file_of(desk, model) for model in (ApiKey, Credential, Endpoint, Image, User)])
    for secret in (
        SECRET,
        world.key_secret,
        world.endpoint_secret,
        world.image.file,
        world.credential.fingerprint[:16],
    ):
        assert secret not in text


def test_a_file_runs_nothing_in_a_spreadsheet(desk: Client, db: None) -> None:
    Tenant.objects.create(name='=HYPERLINK("http://x")')
    assert file_of(desk, Tenant)[0]["name"] == '\'=HYPERLINK("http://x")'


def test_a_file_needs_the_permission_to_see_its_rows(client: Client, world: World) -> None:
    trainee = User.objects.create(username="tom", is_staff=True)
    client.force_login(trainee)
    path = f"{address(Tenant, 'changelist')}export/"
    assert client.get(path).status_code == 403
    trainee.user_permissions.set(Permission.objects.filter(codename="view_tenant"))
    assert client.get(path).status_code == 200


def test_the_last_attempt_of_each_delivery_is_one_query(desk: Client, world: World) -> None:
    few = build("Bob").delivery
    Attempt.objects.create(
        delivery=few, number=2, started_at=timezone.now(), duration_ms=1, cause="timeout", detail="Late."
    )
    Delivery.objects.filter(pk=few.pk).update(attempt_count=2)
    assert {row.last_attempt.cause for row in listed(desk, Delivery).result_list} == {"timeout", "bad_status"}
