"""`tiktok-products` over HTTP: what may be asked of a source that has no pages, and its results in each form."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from accounts.models import Tenant
from providers import policies, registry
from providers.keyring import credentials
from providers.models import Policy
from searches.models import Search
from tests.api.examples import add_results, create, lookup, made, nothing_left

DETAIL = {
    "product_id": "1731083827559830517",
    "name": "Bibliophobia: A Memoir",
    "region": "US",
    "source_image": "tos://echosell-images/product-cover/649/1731083827559830517_0.jpeg",
}
FOUND: dict[str, Any] = {
    "type": "product",
    "external_id": "1731083827559830517",
    "title": "Bibliophobia: A Memoir",
    "url": "https://www.tiktok.com/shop/pdp/1731083827559830517",
    "image_url": None,
    "score": 31.961123,
    "detail": DETAIL,
    "raw": {"_score": 31.961123},
}


def products(**changes: Any) -> dict[str, Any]:
    return lookup(source="tiktok-products", **changes)


@pytest.fixture
def shopper(alice: Tenant, api: APIClient) -> APIClient:
    """Alice, with a key to KeyAPI too."""
    credentials.store(alice, "keyapi", "sk_live_of_alice")
    return api


def test_a_search_of_products_is_taken_and_one_credit_held_for_it(shopper: APIClient) -> None:
    response = create(shopper, lookups=[products(parameters={"product_name": "mug", "region": ""}, offset=0)])
    [shown] = response.json()["lookups"]
    assert (response.status_code, shown["provider"], shown["status"]) == (202, "keyapi", "queued")
    assert (shown["parameters"], shown["effective_parameters"]) == (
        {"product_name": "mug", "region": ""},
        {"product_name": "mug"},
    )
    assert shown["credits"]["held"] == "1"


@pytest.mark.parametrize(("limit", "size"), [({}, 30), ({"limit": 1}, 1), ({"limit": 30}, 30)])
def test_products_are_asked_for_in_one_call(shopper: APIClient, limit: dict[str, int], size: int) -> None:
    only = made(shopper, lookups=[products(**limit)]).lookups.get()
    assert (only.pages, only.page_size, only.first_page) == (1, size, 0)


def test_there_is_no_second_call_however_small_operators_make_a_page(shopper: APIClient) -> None:
    policies.of("keyapi")
    Policy.objects.update(page_size=10)
    only = made(shopper, lookups=[products()]).lookups.get()
    assert (only.pages, only.page_size) == (1, 30)


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"offset": 30}, "offset", "leave offset out"),
        ({"offset": 30.0}, "offset", "leave offset out"),
        ({"limit": 31}, "limit", "from 1 to 30"),
        ({"limit": 31.0}, "limit", "from 1 to 30"),
        ({"limit": 0}, "limit", "Must be at least 1."),
        ({"parameters": {"region": "usa"}}, "parameters.region", "two capital letters, such as US"),
        ({"parameters": {"gender": "FEMALE"}}, "parameters.gender", "Unknown field"),
    ],
)
def test_what_cannot_be_asked_of_it_is_named(
    shopper: APIClient, changes: dict[str, Any], field: str, says: str
) -> None:
    response = create(shopper, lookups=[products(**changes)])
    [error] = response.json()["errors"]
    assert (response.status_code, error["field"]) == (400, f"lookups[0].{field}")
    assert says in error["detail"]
    assert nothing_left()


PARAMETERS: list[dict[str, Any]] = [
    {},
    {"product_name": "mug", "region": "US"},
    {"product_name": "", "region": ""},
    {"region": "us"},
]
PARAMETERS += [{"region": "USA"}, {"product_name": 7}, {"product_name": "x" * 256}, {"size": 3}]


def test_the_source_says_what_it_takes_and_what_it_leaves_out(shopper: APIClient) -> None:
    [shown] = [each for each in shopper.get("/v1/sources").json()["data"] if each["source"] == "tiktok-products"]
    assert (shown["provider"], shown["result_type"], shown["score_range"]) == ("keyapi", "product", None)
    assert (shown["default_limit"], shown["max_results"]) == (30, 30)
    assert shown["price"] == {"per_call": "1", "per_result": "0"}
    assert shown["caveats"] == list(registry.adapter("tiktok-products").caveats)
    for parameters in PARAMETERS:
        taken = create(shopper, lookups=[products(parameters=parameters)]).status_code == 202
        assert Draft202012Validator(shown["parameters"]).is_valid(parameters) == taken


@pytest.fixture
def search(shopper: APIClient) -> Search:
    """A product found, and a creator beside it."""
    search = made(shopper, lookups=[products(), lookup()])
    first, second = search.lookups.all()
    add_results(search, 1, lookup=first, **FOUND)
    add_results(search, 1, lookup=second)
    return search


def test_a_product_looks_as_the_contract_says(shopper: APIClient, search: Search) -> None:
    path = f"/v1/searches/{search.pk}/results"
    [shown] = shopper.get(path, {"type": "product"}).json()["data"]
    assert shown["product"] == DETAIL
    assert "creator" not in shown
    assert (shown["source"], shown["score"], shown["image_url"]) == ("tiktok-products", 31.961123, None)


def test_products_and_creators_share_a_table(shopper: APIClient, search: Search) -> None:
    response = shopper.get(f"/v1/searches/{search.pk}/results", headers={"Accept": "text/csv"})
    product, creator = csv.DictReader(io.StringIO(response.getvalue().decode()))
    assert {name: product[f"product.{name}"] for name in DETAIL} == DETAIL
    assert (product["creator.username"], creator["product.product_id"]) == ("", "")
    assert creator["creator.username"] == "creator1"


def test_a_line_holds_what_json_does(shopper: APIClient, search: Search) -> None:
    path = f"/v1/searches/{search.pk}/results"
    response = shopper.get(path, headers={"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in response.getvalue().decode().splitlines()]
    assert lines == shopper.get(path).json()["data"]
