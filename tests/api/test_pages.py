"""Laws of pages: whatever arrives or goes between two pages, no row is shown twice, and none that stays is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts import webhooks
from accounts.models import Delivery, EventType, Mode, Tenant
from accounts.webhooks import endpoints
from searches.models import Image, Search
from tests.api.examples import add_results, lookup, made
from tests.api.test_results import results_of

law = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# What happens after each page: so many results arrive, for one of the lookups.
ARRIVALS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=8)
LIMITS = st.integers(1, 4)


def walk(api: APIClient, path: str, between: Callable[[], Any], **query: Any) -> list[dict[str, Any]]:
    """Reads page by page until there are no more, and does something after each."""
    rows: list[dict[str, Any]] = []
    while True:
        page = api.get(path, query).json()
        rows += page["data"]
        if not page["has_more"]:
            return rows
        query["cursor"] = page["next_cursor"]
        between()


def arrive(search: Search, arrivals: list[tuple[int, int]]) -> None:
    if arrivals:
        count, number = arrivals.pop()
        add_results(search, count, lookup=search.lookups.all()[number])


@law
@given(begun=ARRIVALS, arrivals=ARRIVALS, limit=LIMITS)
def test_by_arrival_nothing_is_skipped_or_shown_twice(
    api: APIClient, begun: list[tuple[int, int]], arrivals: list[tuple[int, int]], limit: int
) -> None:
    with transaction.atomic():
        search = made(api, lookups=[lookup()] * 3)
        while begun:
            arrive(search, begun)
        query: dict[str, Any] = {"order": "arrival", "limit": limit}
        seen: list[int] = []
        while True:
            page = api.get(results_of(search), query).json()
            seen += [row["sequence"] for row in page["data"]]
            query["cursor"] = page["next_cursor"]
            if query["cursor"] is None:
                del query["cursor"]
            if not page["has_more"] and not arrivals:
                break
            arrive(search, arrivals)
        assert seen == list(range(1, search.results.count() + 1))
        transaction.set_rollback(True)


@law
@given(begun=ARRIVALS, arrivals=ARRIVALS, limit=LIMITS)
def test_by_rank_a_walk_shows_what_had_arrived_when_it_began(
    api: APIClient, begun: list[tuple[int, int]], arrivals: list[tuple[int, int]], limit: int
) -> None:
    with transaction.atomic():
        search = made(api, lookups=[lookup()] * 3)
        while begun:
            arrive(search, begun)
        expected = search.results.order_by("lookup__ordinal", "rank").values_list("pk", flat=True)
        ids = [str(id) for id in expected]
        rows = walk(api, results_of(search), lambda: arrive(search, arrivals), limit=limit)
        assert [row["id"] for row in rows] == ids
        transaction.set_rollback(True)


# Lists of which rows come and go


def searches(api: APIClient, alice: Tenant) -> Search:
    return made(api)


def images(api: APIClient, alice: Tenant) -> Image:
    return Image.objects.create(
        tenant=alice, sha256=uuid4().hex, file=uuid4().hex, format="jpeg", width=1, height=1, bytes=1
    )


def deliveries(api: APIClient, alice: Tenant) -> Delivery:
    webhooks.record(alice.pk, Mode.LIVE, EventType.PING, {})
    return Delivery.objects.latest("id")


def remove(api: APIClient, row: Search | Image | Delivery) -> None:
    if isinstance(row, Search):
        assert api.delete(f"/v1/searches/{row.pk}").status_code == 204
    else:
        row.delete()


MAKERS: dict[str, Callable[[APIClient, Tenant], Search | Image | Delivery]] = {
    "/v1/searches": searches,
    "/v1/images": images,
    "/v1/webhook-deliveries": deliveries,
}
CHANGES = st.lists(st.tuples(st.sampled_from(["comes", "goes"]), st.integers(0, 5)), max_size=4)


@pytest.mark.parametrize("path", MAKERS)
@settings(law, max_examples=4)
@given(changes=CHANGES, tie=st.booleans())
def test_rows_that_stay_are_shown_once_while_others_come_and_go(
    api: APIClient, alice: Tenant, path: str, changes: list[tuple[str, int]], tie: bool
) -> None:
    with transaction.atomic():
        endpoints.create(alice, Mode.LIVE, url="https://hooks.example/a")
        rows = [MAKERS[path](api, alice) for _ in range(6)]
        if tie:
            Search.objects.update(created_at="2026-11-20T00:00:00Z")
        staying = {str(row.pk): row for row in reversed(rows)}

        def change() -> None:
            kind, number = changes.pop() if changes else ("", 0)
            if kind == "comes":
                MAKERS[path](api, alice)
            elif row := staying.pop(str(rows[number].pk), None) if kind else None:
                remove(api, row)

        shown = [row["id"] for row in walk(api, path, change, limit=2)]
        assert len(set(shown)) == len(shown)
        assert [id for id in shown if id in staying] == list(staying)
        transaction.set_rollback(True)
