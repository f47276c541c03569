"""Results are stored as they came, to the last character, and copied as they were stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from providers.contract import Answer, Hit
from searches import results
from searches.lifecycle import completion
from searches.models import Lookup, Result, Search
from tests.searches.lives import Submit

pytestmark = pytest.mark.django_db

ODD = 'it\'s "quoted" \\ \\n %s {} → Zoë 🎈\n\t'
DETAIL: dict[str, Any] = {
    "name": ODD,
    ODD: [1, 1.5, -0.1, 1e-7, 2**70, True, None, {}, []],
    "moments": [{"score": 0.1 + 0.2}],
}
CAME_AT = datetime(2026, 11, 20, 12, 30, 15, 123457, tzinfo=UTC)


def hit(number: int, **values: Any) -> Hit:
    said: dict[str, Any] = {"type": "creator", "external_id": str(number), "title": "…", "detail": {}, "raw": {}}
    return Hit(**said | values)


def keep(*hits: Hit) -> Lookup:
    lookup = Lookup.objects.get()
    with transaction.atomic():
        search = completion.lock(lookup.search_id)
        results.keep(
            lookup, search, Answer(hits=hits, billed_results=len(hits), last=True, status=200), came_at=CAME_AT
        )
        completion.recount(search)
        lookup.save()
    return lookup


def test_a_result_is_kept_to_the_last_character_and_microsecond(submit: Submit) -> None:
    submit()
    url = "https://p.example/?q=%20\\'\""
    keep(hit(1, external_id=ODD, title=ODD, url=url, image_url=url, score=0.1 + 0.2, detail=DETAIL, raw=DETAIL))
    kept = Result.objects.get()
    assert (kept.external_id, kept.title, kept.url, kept.image_url) == (ODD, ODD, url, url)
    assert (kept.score, kept.detail, kept.raw) == (0.1 + 0.2, DETAIL, DETAIL)
    assert (kept.observed_at, kept.media_expires_at) == (CAME_AT, None)


def test_an_address_that_says_when_it_ends_is_kept_with_its_end(submit: Submit) -> None:
    submit()
    keep(hit(1, image_url="https://p.example/p.jpg?x-expires=1764590400&x-signature=s"))
    assert Result.objects.get().media_expires_at == datetime.fromtimestamp(1_764_590_400, UTC)


def test_what_the_provider_does_not_return_is_none(submit: Submit) -> None:
    submit()
    keep(hit(1), hit(2, url="https://p.example/" + "long" * 600, title="long" * 200))
    first, second = Result.objects.order_by("rank")
    assert (first.url, first.image_url, first.score) == (None, None, None)
    assert (second.url, len(second.title)) == (None, 500)


def test_a_later_page_continues_where_the_first_ended(submit: Submit) -> None:
    search = submit(pages=2)
    keep(hit(1), hit(2))
    lookup = keep(hit(2), hit(3), hit(3))
    ranks = Result.objects.order_by("rank").values_list("external_id", "rank", "sequence")
    assert list(ranks) == [("1", 1, 1), ("2", 2, 2), ("3", 3, 3)]
    assert (lookup.result_count, lookup.duplicates, Search.objects.get(pk=search.pk).results_count) == (3, 2, 3)


def test_a_copy_says_the_same_in_another_search(submit: Submit) -> None:
    submit()
    keep(hit(1, title=ODD, score=0.1, detail=DETAIL, raw=DETAIL), hit(2))
    Result.objects.update(media_expires_at=CAME_AT)
    other = submit().lookups.get()
    with transaction.atomic():
        search = completion.lock(other.search_id)
        results.copy(list(Result.objects.order_by("rank")), other, search)
    own = ("id", "search_id", "lookup_id")
    first, copied = (
        [{name: value for name, value in row.items() if name not in own} for row in of.order_by("rank").values()]
        for of in (Result.objects.exclude(lookup=other), other.results)
    )
    assert copied == first
    assert (search.results_count, other.result_count) == (2, 2)
    assert {result.search_id for result in other.results.all()} == {search.pk}
