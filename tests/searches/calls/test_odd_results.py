"""Odd answers of providers are kept as results that the API can show. Items without an identity are counted and charged."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from accounts import clock, keys
from accounts.models import Mode, Tenant
from providers.contract import Answer, Hit
from searches import results
from searches.api.result_serializers import ResultSerializer
from searches.calls import outcomes
from searches.models import Call, Lookup, Result
from tests.providers.adapters.test_odd_answers import CASES, ODD, Case, ask, inside, paths
from tests.providers.conftest import Provider, provider
from tests.searches.lives import Submit, claim_next, money, states, submit

__all__ = ["provider", "submit"]
pytestmark = pytest.mark.django_db


def shown(answer: Answer, lookup: Lookup) -> list[dict[str, Any]]:
    """Returns the results as the API shows them, with raw objects, and rolls their rows back."""
    with transaction.atomic():
        results.keep(lookup, lookup.search, answer, came_at=clock.now())
        found = [dict(ResultSerializer(result).data) for result in Result.objects.order_by("rank")]
        transaction.set_rollback(True)
    lookup.refresh_from_db()
    lookup.search.refresh_from_db()
    shown: list[dict[str, Any]] = json.loads(json.dumps(found, default=str, allow_nan=False))
    return shown


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.source)
def test_whatever_is_odd_in_an_item_the_database_keeps_it_and_the_api_shows_it(
    submit: Submit, provider: Provider, case: Case
) -> None:
    lookup = submit().lookups.get()
    for field in filter(None, paths(case.answer[case.listed][1])):
        provider.answers(with_each_odd(case, field))
        answer = ask(provider, case)
        assert len(answer.hits) + answer.unreadable == len(ODD)
        found = {result["external_id"]: result for result in shown(answer, lookup)}
        assert found.keys() == {hit.external_id for hit in answer.hits}, field
        assert all(result["raw"] for result in found.values())


def with_each_odd(case: Case, field: tuple[Any, ...]) -> bytes:
    """Returns an answer with an item for each odd value, which has it in the field."""
    items = []
    for number, odd in enumerate(ODD.values()):
        item = copy.deepcopy(case.answer[case.listed][1])
        for path in case.identity:
            inside(item, path[:-1])[path[-1]] = f"id-{number}"
        items.append(with_a_mark(item, field, f"HERE {number}." if odd else ""))
    content = json.dumps(case.answer | {case.listed: items}).encode()
    for number, odd in enumerate(ODD.values()):
        content = content.replace(f'"HERE {number}."'.encode(), odd)
    return content


def with_a_mark(item: dict[str, Any], field: tuple[Any, ...], mark: str) -> dict[str, Any]:
    """Returns the item with the mark in the field; without a mark, without the field."""
    holder = inside(item, field[:-1])
    if mark:
        holder[field[-1]] = mark
    else:
        holder.pop(field[-1])
    return item


@pytest.mark.parametrize(
    "address",
    [
        "javascript:x",
        "data:text/html,x",
        "tos://a/b",
        "https:///x",
        "//host/x",
        "http://",
        "https://a\\@b/",
        " https://a",
    ],
)
@pytest.mark.parametrize("field", ["url", "image_url"])
def test_an_address_that_is_no_web_address_is_passed_on_only_as_data(submit: Submit, field: str, address: str) -> None:
    given: dict[str, Any] = {field: address}
    hit = Hit(type="product", external_id="1", title="x", detail={}, raw={"it": address}, **given)
    answer = Answer(hits=(hit,), billed_results=1, last=True, status=200)
    [result] = shown(answer, submit().lookups.get())
    assert (result["url"], result["image_url"], result["raw"]) == (None, None, {"it": address})


def test_what_cannot_be_identified_is_counted_charged_and_kept_for_operators(submit: Submit, alice: Tenant) -> None:
    search = submit(pages=2)
    hits = tuple(Hit(type="creator", external_id=str(n), title="x", detail={}, raw={}) for n in range(3))
    for page in range(2):
        found = hits if not page else ()
        answer = Answer(
            hits=found, billed_results=4 - page, unreadable=4 - page - len(found), excerpt="[7]", last=False, status=200
        )
        outcomes.answered(claim_next(), answer)
    assert states(search) == "succeeded: succeeded"
    assert money() == (100 - 7 * Decimal("0.025"), 0)
    assert list(Call.objects.values_list("returned", "unreadable", "excerpt")) == [(3, 1, "[7]"), (0, 3, "[7]")]
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {keys.issue(alice, Mode.LIVE)[1]}")
    shown = client.get(f"/v1/searches/{search.pk}").json()["lookups"][0]
    assert (shown["unreadable"], shown["result_count"], shown["credits"]["charged"]) == (4, 3, "0.175")
    assert [call["unreadable"] for call in client.get(f"/v1/searches/{search.pk}/calls").json()["data"]] == [1, 3]
