"""One box on every page of the admin finds any row by any id, by an index, and only what the operator may see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import log_context
from accounts.models import User
from billing.models import Entry, Hold, ThresholdAlert
from config import finder
from searches.models import Call, Search
from searches.orders import recall
from tests.admin.conftest import World, build
from tests.admin.test_pages import address, page_of

ID = "0b6f7f3e-6f2c-7c31-a7bb-50a6f1d0c001"
ODD = [
    "nul\0",
    "x" * 201,
    "x" * 100_000,
    "\ud800",
    "²",
    "%",
    "_",
    "lookup:x",
    "search:",
    "…",
    "'",
    "9" * 40,
    "{}",
    "\u202e",
]


def asked(desk: Client, term: str) -> Any:
    return desk.post(reverse("find"), {"q": term})


def leads_to(desk: Client, term: str) -> str:
    return str(asked(desk, term).headers.get("Location"))


def shows(desk: Client, term: str) -> str:
    answer = asked(desk, term)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_a_whole_id_leads_to_its_row_whatever_its_kind(desk: Client, world: World) -> None:
    found = [
        model for model in finder.WITH_ID if leads_to(desk, str(world.rows[model].pk)) == page_of(world.rows[model])
    ]
    assert found == list(finder.WITH_ID)
    assert leads_to(desk, f" {str(world.search.pk).upper()} ") == page_of(world.search)
    assert leads_to(desk, f"search:{world.search.pk}") == page_of(world.search)


def test_what_rows_are_called_elsewhere_leads_to_them(desk: Client, world: World) -> None:
    Search.objects.update(request_id="req-of-the-shop")
    calls = Call.objects.get(), world.call
    entry = Entry.objects.get(key__startswith="hold:")
    terms: dict[str, Model] = {
        "req-of-the-shop": world.search,
        calls[0].provider_request_id: world.call,
        entry.key: entry,
        world.key.prefix: world.key,
        f"{world.key.prefix}…": world.key,
        world.image.sha256: world.image,
        world.credential.fingerprint[:8]: world.credential,
        "alice AND": world.tenant,
        "Alice and Sons": world.tenant,
        "olive": User.objects.get(username="olive"),
        world.lookup.lane_id: world.lookup.lane,
    }
    assert {term: leads_to(desk, term) for term in terms if term != "modash"} == {
        term: page_of(row) for term, row in terms.items() if term != "modash"
    }


def test_a_reference_shows_its_lookup_its_hold_and_its_entries(desk: Client, world: World) -> None:
    html = shows(desk, world.lookup.reference)
    rows = world.lookup, Hold.objects.get(), Entry.objects.get(reference=world.lookup.reference)
    assert all(page_of(row) in html for row in rows)


def test_a_whole_api_key_is_found_by_its_beginning_and_never_shown(desk: Client, world: World) -> None:
    assert leads_to(desk, world.key_secret) == page_of(world.key)
    world.key.delete()
    html = shows(desk, world.key_secret)
    assert world.key_secret[:14] in html
    assert world.key_secret[:15] not in html


def test_several_rows_are_shown_each_once(desk: Client, world: World) -> None:
    other = build("Alicia")
    html = shows(desk, "alic")
    assert html.count(page_of(world.tenant)) == html.count(page_of(other.tenant)) == 1


@pytest.mark.parametrize("term", ODD)
def test_odd_texts_get_a_sentence(desk: Client, db: None, term: str) -> None:
    body = f"q={'%ED%A0%80' if term == ODD[3] else ''}" if term == ODD[3] else None
    answer: Any = (
        desk.generic("POST", reverse("find"), body, "application/x-www-form-urlencoded") if body else asked(desk, term)
    )
    assert answer.status_code == 200
    assert 'role="status"' in answer.content.decode() or term == "…"


def test_a_row_that_may_not_be_seen_is_not_found(client: Client, world: World) -> None:
    trainee = User.objects.create(username="tom", is_staff=True)
    trainee.user_permissions.set(Permission.objects.filter(codename="view_search"))
    client.force_login(trainee)
    assert leads_to(client, str(world.search.pk)) == page_of(world.search)
    for term in (str(world.call.pk), world.call.provider_request_id, "Alice and Sons", world.key.prefix, "olive"):
        assert "No row that you may see" in shows(client, term)


def test_strangers_sign_in_first(client: Client, db: None) -> None:
    assert client.post(reverse("find"), {"q": ID}).headers["Location"].startswith("/admin/login/")


def test_the_box_is_on_every_page(desk: Client, world: World) -> None:
    pages = [reverse("admin:index"), address(Search, "changelist"), page_of(world.search), page_of(world.account)]
    assert [page for page in pages if f'action="{reverse("find")}"' not in desk.get(page).content.decode()] == []


def test_every_comparison_is_answered_by_an_index_and_there_are_few(desk: Client, world: World) -> None:
    def plans() -> Iterator[str]:
        for term in (ID, "ab" * 32, "sl_live_abcdef", f"lookup:{ID}"):
            for model, condition, _ in finder._comparisons(term):
                yield model._default_manager.filter(condition).order_by().explain()

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert [plan for plan in plans() if "Seq Scan" in plan] == []
    with CaptureQueriesContext(connection) as captured:
        shows(desk, "ab" * 32)
    assert len(captured) <= 20


def test_a_search_keeps_the_id_of_its_request_until_it_is_erased(desk: Client, operator: User) -> None:
    log_context.begin(request="req-of-the-shop")
    try:
        search = build("Alice").search
    finally:
        log_context.begin()
    assert leads_to(desk, "req-of-the-shop") == page_of(search)
    recall.erase(search)
    assert "No row" in shows(desk, "req-of-the-shop")


def test_an_alert_is_found_by_its_id_alone(desk: Client, world: World) -> None:
    assert leads_to(desk, str(ThresholdAlert.objects.get().pk)) == page_of(ThresholdAlert.objects.get())
