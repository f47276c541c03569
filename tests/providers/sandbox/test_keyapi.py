"""Tests the sandbox's KeyAPI as a client of KeyAPI's meets it, over real sockets."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import httpx
import pytest
from PIL import Image

from providers.sandbox.catalogue import Catalogue
from providers.sandbox.catalogue_pictures import MOTIFS
from providers.sandbox.settings import SandboxSettings
from tests.providers.conftest import Site, sandbox_site
from tests.searches.samples import jpeg, png, written

SEARCH = "/keyapi/v1/tiktok/product/image-search/analytics"
BEARER = {"Authorization": "Bearer sk_live_alice"}


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


PICTURE = encoded(jpeg())


def search(site: Site, *, headers: dict[str, str] = BEARER, **fields: Any) -> httpx.Response:
    """Sends a search. A field that is None is left out."""
    body = {"image_base64": PICTURE, "size": 30, **fields}
    sent = {name: value for name, value in body.items() if value is not None}
    return site.client.post(SEARCH, json=sent, headers=headers)


def products(site: Site, **fields: Any) -> list[dict[str, Any]]:
    answer = search(site, **fields)
    assert answer.status_code == 200, answer.text
    envelope = answer.json()
    assert (set(envelope), envelope["code"], envelope["message"]) == (
        {"code", "message", "data", "requestId"},
        0,
        "success",
    )
    found: list[dict[str, Any]] = envelope["data"]
    return found


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Checks the form of an error, which has the status twice and no requestId, and returns status and message."""
    problem = answer.json()
    assert set(problem) == {"code", "data", "message"}
    assert (problem["code"], problem["data"]) == (answer.status_code, None)
    return answer.status_code, problem["message"]


# Results


def test_a_picture_of_the_catalogue_finds_its_product_first(site: Site) -> None:
    for product in site.sandbox.catalogue.products[::12]:
        seen = site.client.get(f"/pictures/{product.id}.jpg").content
        first = products(site, image_base64=encoded(seen))[0]
        assert (first["_id"], first["_source"]["product_name"]) == (product.id, product.name)


def test_another_size_of_a_picture_finds_the_same_product(site: Site) -> None:
    product = site.sandbox.catalogue.products[5]
    picture = site.sandbox.catalogue.picture(product.id)
    assert picture
    smaller = written(picture.resize((150, 200), Image.Resampling.BOX), "JPEG")
    assert products(site, image_base64=encoded(smaller))[0]["_id"] == product.id


def test_scores_fall_with_likeness(site: Site) -> None:
    scores = [product["_score"] for product in products(site)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] > 0


def test_size_is_the_number_of_products(site: Site) -> None:
    assert [len(products(site, size=size)) for size in (1, 7, 30)] == [1, 7, 30]


def test_a_region_restricts_to_it(site: Site) -> None:
    found = products(site, region="GB")
    assert {product["_source"]["priority_region"] for product in found} == {"GB"}
    every = [product for product in site.sandbox.catalogue.products if product.region == "GB"]
    assert len(found) == min(30, len(every))


def test_a_name_is_looked_for_word_by_word(site: Site) -> None:
    found = products(site, product_name="mug COFFEE")
    assert found
    assert all("Coffee Mug" in product["_source"]["product_name"] for product in found)


@pytest.mark.parametrize("fields", [{"product_name": "submarine"}, {"region": "ZZ"}])
def test_nothing_found_is_an_empty_success(site: Site, fields: dict[str, str]) -> None:
    assert products(site, **fields) == []


def test_the_products_are_the_same_at_every_start_and_show_every_motif(site: Site) -> None:
    catalogue = site.sandbox.catalogue
    assert Catalogue().products == catalogue.products
    assert len({product.id for product in catalogue.products}) == len(catalogue.products) == 180
    assert {product.scene.motif for product in catalogue.products} == set(MOTIFS)


# Errors


@pytest.mark.parametrize("headers", [{}, {"Authorization": "sk_live_alice"}, {"Authorization": "Bearer"}])
def test_without_a_bearer_token_there_is_no_key(site: Site, headers: dict[str, str]) -> None:
    assert refusal(search(site, headers=headers)) == (401, "apiKey is null")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_base64": None}, "Missing required parameter: image_base64"),
        ({"size": None}, "Missing required parameter: size"),
        ({"size": 0}, "size must be at least 1"),
        ({"size": 31}, "size must be at most 30"),
        ({"size": "30"}, "size must be a whole number"),
        ({"image_base64": "no picture!"}, "image_base64 is not a base64 encoded image"),
        ({"image_base64": f"data:image/jpeg;base64,{PICTURE}"}, "image_base64 is not a base64 encoded image"),
        ({"image_base64": encoded(png())}, "image_base64 is not a base64 encoded image"),
        ({"product_name": ""}, "product_name must be a string"),
        ({"region": ""}, "region must be a string"),
        ({"page": 1}, "page is not allowed"),
    ],
)
def test_a_wrong_field_is_named(site: Site, fields: dict[str, Any], message: str) -> None:
    assert refusal(search(site, **fields)) == (400, message)


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(site: Site, body: bytes) -> None:
    answer = site.client.post(SEARCH, content=body, headers=BEARER)
    assert refusal(answer) == (400, "The body is not JSON")


def test_a_call_too_early_is_refused_in_its_words() -> None:
    with sandbox_site(SandboxSettings(window=60, latency=0)) as site:
        assert search(site).status_code == 200
        assert refusal(search(site)) == (429, "qps limit exceeded")


def test_a_search_costs_a_credit_whatever_it_finds_and_an_error_costs_none() -> None:
    with sandbox_site(SandboxSettings(calls=100, latency=0, credits=Decimal(2))) as site:
        products(site)
        search(site, size=31)
        products(site, product_name="submarine")
        assert refusal(search(site)) == (402, "apiKey quota is not enough")
        counted = site.client.get("/_stats").json()["keyapi"]
        assert (counted["calls"], counted["refusals"], counted["credits"]) == (4, 2, "2")
