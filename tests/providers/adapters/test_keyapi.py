"""Tests the adapter for `tiktok-products`, against answers recorded from KeyAPI's page and against the sandbox."""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from typing import Any

import pytest

from providers import json_schema, registry
from providers.adapters.keyapi import TikTokProducts
from providers.contract import Answer, PriceDefaults, Secret
from providers.failures import BadCredential, Exhausted, Faulty, Refused, Throttled
from tests.providers.asking import answer_of, drawn, errors_of
from tests.providers.conftest import Provider, Site

ADAPTER = TikTokProducts()
SECRET = Secret(value="sk_live_of_alice_with_her_products")

# The page's own example.
PRODUCT: dict[str, Any] = {
    "_index": "product_image_search",
    "_id": "1731083827559830517",
    "_score": 31.961123,
    "_source": {
        "product_id": "1731083827559830517",
        "priority_region": "US",
        "vector_source_image": "tos://echosell-images/product-cover/649/1731083827559830517_0.jpeg",
        "product_name": "Bibliophobia: A Memoir",
    },
}
ANSWER: dict[str, Any] = {
    "code": 0,
    "message": "success",
    "data": [PRODUCT],
    "requestId": "79e17592-5dc7-42ed-97f9-a0929413d230",
}
# Every error of the page, word by word. No error has a requestId.
DOCUMENTED = [
    (400, "Missing required parameter: handle", Refused, "refused"),
    (401, "apiKey is null", BadCredential, "credential_invalid"),
    (402, "apiKey quota is not enough", Exhausted, "credential_exhausted"),
    (429, "qps limit exceeded", Throttled, "rate_limited"),
    (500, "Internal server error", Faulty, "provider_error"),
]


def ask(url: str, **question: Any) -> Answer:
    return answer_of(ADAPTER, url, SECRET, **question)


def product(**source: Any) -> dict[str, Any]:
    """Returns the page's product with other fields. The value "missing" leaves a field out."""
    fields = {name: value for name, value in (PRODUCT["_source"] | source).items() if value != "missing"}
    return PRODUCT | {"_source": fields}


def test_the_registry_knows_the_source_and_its_provider() -> None:
    assert isinstance(registry.adapter("tiktok-products"), TikTokProducts)
    assert registry.PROVIDERS["keyapi"] is registry.ADAPTERS["tiktok-products"]


def test_the_defaults_are_those_of_the_page() -> None:
    assert (ADAPTER.default_limit, ADAPTER.max_results, ADAPTER.paged) == (30, 30, False)
    assert (ADAPTER.policy.calls, ADAPTER.policy.window_ms, ADAPTER.policy.attempts) == (1, 1000, 2)
    assert ADAPTER.price == PriceDefaults(per_call=Decimal(1))
    assert ADAPTER.score_range is None


# Requests


def test_every_field_of_the_page_is_sent(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(provider.url, page_size=7, product_name="mug", region="US")
    picture = provider.asked.pop("image_base64")
    assert base64.b64decode(picture, validate=True) == drawn()
    assert provider.asked == {"product_name": "mug", "region": "US", "size": 7}


@pytest.mark.parametrize("parameters", [{}, {"product_name": "", "region": ""}, {"product_name": "  "}], ids=str)
def test_optional_fields_that_are_empty_are_not_sent(provider: Provider, parameters: dict[str, Any]) -> None:
    provider.answers(ANSWER)
    ask(provider.url, **parameters)
    assert set(provider.asked) == {"image_base64", "size"}


def test_the_key_is_a_bearer_token_and_the_path_is_the_pages(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(f"{provider.url}/")
    assert provider.headers["REQUEST_METHOD"] == "POST"
    assert provider.headers["HTTP_AUTHORIZATION"] == f"Bearer {SECRET.value}"
    assert provider.headers["PATH_INFO"] == "/v1/tiktok/product/image-search/analytics"


def test_a_picture_is_a_jpeg_that_encodes_to_at_most_5_000_000_bytes() -> None:
    limits = ADAPTER.picture_limits
    assert limits.formats == ("JPEG",)
    assert len(base64.b64encode(bytes(limits.max_bytes))) == 5_000_000


# Answers


def test_the_example_of_the_page_is_read_field_by_field(provider: Provider) -> None:
    provider.answers(ANSWER)
    answer = ask(provider.url)
    assert (answer.billed_results, answer.total, answer.last) == (1, None, True)
    assert (answer.status, answer.request_id) == (200, "79e17592-5dc7-42ed-97f9-a0929413d230")
    [hit] = answer.hits
    assert (hit.type, hit.external_id, hit.title) == ("product", "1731083827559830517", "Bibliophobia: A Memoir")
    assert hit.score == 31.961123
    assert hit.url == "https://www.tiktok.com/shop/pdp/1731083827559830517"
    assert hit.detail == {
        "product_id": "1731083827559830517",
        "name": "Bibliophobia: A Memoir",
        "region": "US",
        "source_image": "tos://echosell-images/product-cover/649/1731083827559830517_0.jpeg",
    }
    assert hit.raw == PRODUCT


def test_an_address_that_no_browser_opens_is_no_link(provider: Provider) -> None:
    provider.answers(ANSWER)
    [hit] = ask(provider.url).hits
    assert hit.image_url is None
    assert not (hit.url or "").startswith("tos:")


@pytest.mark.parametrize("request_id", ["missing", None, "", 7, {"a": 1}])
def test_a_request_id_may_be_missing(provider: Provider, request_id: Any) -> None:
    answer = ANSWER | {"requestId": request_id}
    if request_id == "missing":
        del answer["requestId"]
    provider.answers(answer)
    assert ask(provider.url).request_id == ""


def test_nothing_found_is_an_empty_success(provider: Provider) -> None:
    provider.answers(ANSWER | {"data": []})
    answer = ask(provider.url)
    assert (answer.hits, answer.billed_results, answer.last) == ((), 0, True)


@pytest.mark.parametrize("code", [0, "0"])
@pytest.mark.parametrize("data", [{"data": None}, {}], ids=["null", "missing"])
def test_a_success_without_data_is_one_that_found_nothing(provider: Provider, data: dict[str, Any], code: Any) -> None:
    provider.answers({"code": code, "message": "success", **data})
    answer = ask(provider.url)
    assert (answer.hits, answer.billed_results, answer.last) == ((), 0, True)


def test_more_products_than_asked_for_are_all_read(provider: Provider) -> None:
    provider.answers(ANSWER | {"data": [product(product_id=str(number)) for number in range(40)]})
    assert len(ask(provider.url, page_size=3).hits) == 40


@pytest.mark.parametrize("absent", ["missing", None, ""])
def test_every_field_but_the_identity_may_be_missing(provider: Provider, absent: Any) -> None:
    bare = product(product_name=absent, priority_region=absent, vector_source_image=absent)
    provider.answers(ANSWER | {"data": [bare]})
    [hit] = ask(provider.url).hits
    assert hit.title == "1731083827559830517"
    assert (hit.detail["name"], hit.detail["region"], hit.detail["source_image"]) == (None, None, None)


@pytest.mark.parametrize(("given", "kept"), [(None, None), (0, 0.0), (-1.5, -1.5), (12345.5, 12345.5)])
def test_a_score_is_kept_as_it_came(provider: Provider, given: float | None, kept: float | None) -> None:
    provider.answers(ANSWER | {"data": [PRODUCT | {"_score": given}]})
    assert ask(provider.url).hits[0].score == kept


def test_an_id_cannot_lead_to_another_page(provider: Provider) -> None:
    provider.answers(ANSWER | {"data": [product(product_id="../../@someone?x=1")]})
    [hit] = ask(provider.url).hits
    assert hit.url == "https://www.tiktok.com/shop/pdp/..%2F..%2F%40someone%3Fx%3D1"


# Parameters


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"product_name": "mug", "region": "US"},
        {"product_name": "", "region": ""},
        {"product_name": "Bibliophobia: A Memoir", "region": "GB"},
        {"product_name": "x" * 255},
    ],
)
def test_parameters_of_the_page_are_accepted(parameters: dict[str, str]) -> None:
    assert errors_of(ADAPTER, parameters) == {}


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ({"product_name": 7}, "product_name", "Must be a text in quotes."),
        ({"product_name": None}, "product_name", "may not be null"),
        ({"product_name": "x" * 256}, "product_name", "no more than 255"),
        ({"product_name": "a\0b"}, "product_name", "Null characters"),
        ({"region": 1}, "region", "Must be a text in quotes."),
        ({"region": ["US"]}, "region", "Must be a text in quotes."),
        ({"region": "us"}, "region", "Must be US: an ISO 3166 region code of two capital letters, such as US"),
        *(({"region": code}, "region", "Must be GB: an ISO 3166") for code in ("UK", "uk", "Uk", "gb")),
        ({"region": "EL"}, "region", "Must be GR: an ISO 3166"),
        *(({"region": code}, "region", "ISO 3166 region code") for code in ("XX", "EU", "EN", "ZZ", "GBR")),
        ({"region": "USA"}, "region", "two capital letters, such as US"),
        ({"region": "U1"}, "region", "two capital letters, such as US"),
        ({"region": "US\n"}, "region", "two capital letters, such as US"),
        ({"region": " US"}, "region", "two capital letters, such as US"),
        ({"region": "US,GB"}, "region", "two capital letters, such as US"),
        ({"size": 5}, "size", "Unknown field; known here: product_name, region."),
    ],
)
def test_bad_parameters_are_refused_by_name_and_with_a_hint(parameters: dict[str, Any], field: str, says: str) -> None:
    [problem] = errors_of(ADAPTER, parameters)[field]
    assert says in problem


def test_an_empty_parameter_is_not_effective() -> None:
    assert ADAPTER.effective({"product_name": " tea  cup ", "region": ""}) == {"product_name": "tea  cup"}
    assert ADAPTER.effective({}) == {}


def test_the_published_schema_agrees() -> None:
    published = json_schema.of(ADAPTER.parameters)
    region = re.compile(published["properties"]["region"]["pattern"])
    assert all(region.search(code) for code in ("US", "GB", ""))
    assert not any(region.search(code) for code in ("UK", "us", "XX", "USGB", "A"))
    assert published["properties"]["product_name"]["maxLength"] == 255
    assert "required" not in published


# Against the sandbox


def sandbox(site: Site) -> str:
    return f"{site.url}{ADAPTER.sandbox_path}"


def test_the_adapter_reads_the_answer_of_the_sandbox(site: Site) -> None:
    answer = ask(sandbox(site))
    assert (len(answer.hits), answer.last, answer.status) == (30, True, 200)
    assert len({hit.external_id for hit in answer.hits}) == 30
    scores = [hit.score or 0 for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert answer.request_id
    assert all(hit.detail["source_image"].startswith("tos://") for hit in answer.hits)


def test_the_sandbox_takes_every_parameter_and_none_that_is_empty(site: Site) -> None:
    found = ask(sandbox(site), product_name="mug", region="US").hits
    assert found
    assert all("Mug" in hit.title and hit.detail["region"] == "US" for hit in found)
    assert len(ask(sandbox(site), product_name="", region="").hits) == 30


def test_the_sandbox_finds_nothing_where_nothing_fits(site: Site) -> None:
    answer = ask(sandbox(site), product_name="submarine")
    assert (answer.hits, answer.status) == ((), 200)


def test_fields_of_the_sandbox_are_those_of_the_page(site: Site) -> None:
    shown = [hit.raw for hit in ask(sandbox(site)).hits]
    assert all(set(each) == set(PRODUCT) and set(each["_source"]) == set(PRODUCT["_source"]) for each in shown)
