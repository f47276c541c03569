"""A search's page says what became of it: why it failed or waits, what was found, and each lookup's time line with its money."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from django.utils.html import escape
from uuid_utils.compat import uuid7

from accounts.models import Delivery, Event
from billing.models import Entry, Hold
from providers.failures import Failure, Lost, Refused
from providers.models import Credential
from searches.lanes import pauses
from searches.lifecycle import completion
from searches.models import Call, Lane, Lookup, Result, Search, Status
from searches.orders import recall
from tests.admin.conftest import World, called
from tests.admin.test_pages import page_of, queries

REFUSED = Refused("refused", "Modash refused the request: it cannot be answered as it is.", status=400)
TAG = re.compile(r"<[^>]+>|\s+")


def html_of(desk: Client, row: Any, **query: Any) -> str:
    response = desk.get(page_of(row), query)
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    """Returns the page's own part as its reader sees it."""
    return " ".join(TAG.sub(" ", html[html.index('id="content-main"') :]).split())


def ended(lookup: Lookup, status: Status, failure: Failure | None = None, *, cost: Decimal = Decimal(0)) -> Lookup:
    """Ends a lookup as a settlement does, with its money and its events."""
    Lookup.objects.filter(pk=lookup.pk).update(status=Status.RUNNING, queue_state="none")
    lookup.refresh_from_db()
    with transaction.atomic():
        search = completion.lock(lookup.search_id)
        completion.finish(lookup, search, status, failure, cost=cost, key=str(lookup.calls.latest("pk").pk))
    lookup.refresh_from_db()
    return lookup


def failed_call(lookup: Lookup, state: Call.State, **values: Any) -> Call:
    """Puts a call that failed in the place of the one that was answered."""
    Call.objects.all().delete()
    moment = timezone.now()
    times = {"armed_at": moment, "leased_until": moment, "sent_at": moment, "finished_at": moment}
    return Call.objects.create(**{"lookup": lookup, "page": 0, "state": state, "returned": 0, **times, **values})


def another(lookup: Lookup, **other: Any) -> Lookup:
    left_out = ("id", "search", *other)
    fields = [field.name for field in Lookup._meta.concrete_fields if field.name not in left_out]
    return lookup.search.lookups.create(**{name: getattr(lookup, name) for name in fields} | other)


def filled(lookup: Lookup, count: int) -> None:
    """Gives a lookup so many results, none of which has a picture."""
    rows = [
        Result(
            search_id=lookup.search_id,
            lookup=lookup,
            rank=rank,
            sequence=rank + 10_000 * lookup.ordinal,
            type="product",
            external_id=str(uuid7()),
            title=f"Mug {rank}.",
            detail={"source_image": f"tos://sandbox-images/{rank}.jpeg", "region": "US"},
            observed_at=timezone.now(),
        )
        for rank in range(1, count + 1)
    ]
    Result.objects.bulk_create(rows)
    Lookup.objects.filter(pk=lookup.pk).update(result_count=count)


def test_a_failed_search_says_why_before_anything_else(desk: Client, world: World) -> None:
    call = failed_call(world.lookup, Call.State.FAILED, status=400, error_code="refused", error_detail=REFUSED.detail)
    ended(world.lookup, Status.FAILED, REFUSED)
    html = html_of(desk, world.search)
    for part in (escape(REFUSED.detail), "Asking again would fail again.", "HTTP 400 to <a"):
        assert html.index(part) < html.index('id="results"') < html.index('id="time-lines"')
    assert "refused" in html
    assert page_of(call) in html[: html.index('id="results"')]
    assert words(html_of(desk, world.lookup)).index(escape(REFUSED.detail)) < 200


def test_an_outcome_that_is_unknown_says_that_it_may_be_billed(desk: Client, world: World) -> None:
    failed_call(world.lookup, Call.State.UNKNOWN)
    Lookup.objects.update(unknown_calls=1)
    ended(world.lookup, Status.FAILED, Lost("lost", "The answer was cut off."))
    said = words(html_of(desk, world.search))
    assert "The answer was cut off." in said
    assert "No answer to the call for page 0" in said
    assert "lost" in said


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (Status.EXPIRED, "It had not started by"),
        (Status.CANCELED, "It was canceled before it had ended."),
        (Status.SUCCEEDED, "It found nothing. Profiles are refreshed every four weeks"),
    ],
)
def test_every_end_is_said_in_words(desk: Client, world: World, status: Status, sentence: str) -> None:
    Result.objects.all().delete()
    ended(world.lookup, status)
    said = words(html_of(desk, world.search))
    assert sentence in said
    assert "This source has no results." in said


def test_a_waiting_lookup_says_on_what(desk: Client, world: World) -> None:
    """The reason, the position and the time are those that its tenant is told."""
    waiting = words(html_of(desk, world.search))
    assert "rate: it is next, as soon as the provider&#x27;s limit allows a call. It is number 1 in line." in waiting
    lane = Lane.objects.get()
    pauses.pause(lane)
    paused = html_of(desk, world.search)
    assert "Operators have paused this lane." in paused
    assert page_of(lane) in paused
    pauses.resume(lane)
    Lookup.objects.update(queue_state="blocked")
    Credential.objects.update(state=Credential.State.INVALID)
    blocked = html_of(desk, world.search)
    assert "refused by the provider" in blocked
    assert page_of(world.credential) in blocked
    Lookup.objects.update(queue_state="ready")
    Lookup.objects.update(status="running", queue_state="none")
    assert "A call is under way" in html_of(desk, world.search)


def test_a_time_line_has_each_step_with_its_credits(desk: Client, world: World) -> None:
    """The first call was asked to wait, and the second was answered."""
    start = timezone.now() - timedelta(minutes=10)
    Lookup.objects.update(created_at=start)
    sent, answered = start + timedelta(seconds=3), start + timedelta(seconds=4)
    times = {"armed_at": sent, "sent_at": sent, "finished_at": answered}
    first = failed_call(world.lookup, Call.State.FAILED, status=429, error_code="rate_limited", **times)
    second = called(world.lookup)
    again = start + timedelta(seconds=64)
    Call.objects.filter(pk=second.pk).update(armed_at=again, sent_at=again, finished_at=again + timedelta(seconds=1))
    ended(world.lookup, Status.SUCCEEDED, cost=Decimal("0.025"))
    for page in (world.search, world.lookup):
        html = html_of(desk, page)
        said = words(html)
        steps = [
            *(
                "submitted",
                "3.0 s, for its turn in the lane",
                "The call for page 0",
                "HTTP 429, in 1.0 s. rate_limited",
            ),
            *(
                "1 min 0 s, to try again after rate_limited",
                "HTTP 200, in 1.0 s, 1 result",
                "charged",
                "0.025",
                "released",
            ),
            *("lookup.finished", "to shop.example"),
        ]
        places = [said.index(step, said.rindex("Time line")) for step in steps]
        assert places == sorted(places), dict(zip(steps, places, strict=True))
        rows = [first, second, *Entry.objects.filter(reference=world.lookup.reference)]
        rows += [Event.objects.get(type="lookup.finished"), Delivery.objects.get(event__type="lookup.finished")]
        assert [row for row in rows if page_of(row) not in html] == []
    assert page_of(Event.objects.get(type="search.succeeded")) in html_of(desk, world.search)


def test_what_a_lookup_made_leads_back_to_it(desk: Client, world: World) -> None:
    held = Hold.objects.get()
    assert page_of(held) in html_of(desk, world.lookup)
    assert page_of(world.lookup) in (html := html_of(desk, held))
    assert page_of(world.search) in html
    ended(world.lookup, Status.SUCCEEDED, cost=Decimal("0.025"))
    event = Event.objects.get(type="lookup.finished")
    charge = Entry.objects.get(kind="charge")
    rows = [charge, event, Delivery.objects.get(event=event), world.call, world.result]
    for row in rows:
        html = html_of(desk, row)
        assert page_of(world.lookup) in html, row
        assert page_of(world.search) in html, row
    assert page_of(world.call) in html_of(desk, charge)
    assert page_of(world.search) in html_of(desk, Event.objects.get(type="search.succeeded"))


def test_a_repeat_names_the_lookup_whose_answer_it_takes(desk: Client, world: World) -> None:
    leader = another(world.lookup, ordinal=1)
    Lookup.objects.filter(pk=leader.pk).update(has_followers=True)
    follower = another(world.lookup, ordinal=2, repeat="coalesced", repeat_of=leader, queue_state="following")
    html = html_of(desk, follower)
    assert "It follows" in html
    assert page_of(leader) in html
    Lookup.objects.filter(pk=follower.pk).update(repeat="hit")
    assert "It takes the answer of" in html_of(desk, world.search)


def test_an_erased_search_says_so_and_keeps_its_costs(desk: Client, world: World) -> None:
    ended(world.lookup, Status.FAILED, REFUSED, cost=Decimal("0.025"))
    recall.erase(Search.objects.get())
    html = html_of(desk, world.search)
    said = words(html)
    for part in (
        "It was erased on",
        "The picture is erased.",
        "The detail was erased with the search.",
        "0.025 charged",
    ):
        assert part in said
    assert "/picture/" not in html
    assert Event.objects.filter(reference=f"search:{world.search.pk}").count() == 0


def test_results_past_their_retention_are_said_to_be_erased(desk: Client, world: World) -> None:
    Result.objects.all().delete()
    Lookup.objects.update(result_count=7)
    Search.objects.update(results_erased_at=timezone.now(), finished_at=timezone.now(), status="succeeded", image=None)
    said = words(html_of(desk, world.search))
    assert "Its results were erased on" in said
    assert "The results of this source are erased." in said


def test_each_source_has_a_tab_and_creators_are_first(desk: Client, world: World) -> None:
    products = another(world.lookup, ordinal=1, source="tiktok-products")
    Lookup.objects.filter(pk=world.lookup.pk).update(ordinal=2, result_count=1)
    filled(products, 60)
    first = html_of(desk, world.search)
    assert first.index("?lookup=2#results") < first.index("?lookup=1#results")
    assert world.result.title in first
    assert "Mug 1." not in first
    second = html_of(desk, world.search, lookup=1)
    assert "Mug 24." in second
    assert "Mug 25." not in second
    assert "own storage (tos://), which no browser opens" in words(second)
    for odd in ("9" * 40, "²", "x", "-1", "nul\0", ""):
        assert desk.get(page_of(world.search), {"lookup": odd, "results": odd}).status_code in (200, 400)


def test_a_thousand_results_are_paged(desk: Client, world: World) -> None:
    Result.objects.all().delete()
    filled(world.lookup, 1000)
    last = html_of(desk, world.search, lookup=0, results=42)
    assert "985 to 1000 of 1000" in words(last)
    assert "Mug 1000." in last
    assert "?lookup=0&amp;results=41#results" in last
    assert "Later" not in words(last)
    assert "985 to 1000" in words(html_of(desk, world.search, results=9999))


def test_a_creator_shows_the_matched_post_and_the_portrait(desk: Client, world: World) -> None:
    posts = [
        {"thumbnail": f"https://pictures.example/post{number}.jpeg", "url": f"https://www.tiktok.com/post{number}"}
        for number in (1, 2)
    ]
    Result.objects.update(detail={"username": "one", "matched_posts": [*posts, {"thumbnail": "javascript:1"}, 7]})
    Lookup.objects.update(result_count=1)
    html = html_of(desk, world.search)
    for address in (posts[0]["thumbnail"], posts[1]["thumbnail"], world.result.image_url):
        assert f'<img src="{address}" alt="" loading="lazy" referrerpolicy="no-referrer"' in html
    assert f'href="{posts[1]["url"]}" rel="noreferrer"' in html
    assert "javascript:1" not in html


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"image_url": None}, "The provider sent no picture."),
        ({"image_url": "tos://bucket/1.jpeg"}, "own storage (tos://), which no browser opens"),
        ({"image_url": "javascript:alert(1)"}, "address is none that a browser may open"),
        ({"media_expires_at": timezone.now() - timedelta(days=1)}, "The address of the picture ended on"),
    ],
)
def test_a_tile_without_a_picture_says_why(desk: Client, world: World, values: dict[str, Any], sentence: str) -> None:
    Result.objects.update(**values)
    Lookup.objects.update(result_count=1)
    html = html_of(desk, world.search)
    assert sentence in words(html)
    assert "<img src" not in html[html.index('id="results"') :]
    assert sentence in words(html_of(desk, world.result))


def test_a_large_search_takes_as_many_queries_as_a_small_one(desk: Client, world: World) -> None:
    ended(world.lookup, Status.SUCCEEDED, cost=Decimal("0.025"))
    Lookup.objects.update(result_count=1)
    desk.get(page_of(world.search))
    few = {row: queries(desk, page_of(row)) for row in (world.search, world.lookup)}
    moment = timezone.now()
    for ordinal in range(1, 20):
        other = another(world.lookup, ordinal=ordinal)
        calls = [Call(lookup=other, page=page, armed_at=moment, leased_until=moment) for page in range(30)]
        Call.objects.bulk_create(calls)
        filled(other, 100)
    for row, count in few.items():
        assert queries(desk, page_of(row)) == count <= 20, row
    assert "18 earlier calls" in html_of(desk, world.search)
