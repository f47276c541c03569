"""The adapter for `tiktok-products`, against answers recorded from KeyAPI's page and against the sandbox."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest

from providers import registry, schema
from providers.adapters.keyapi import TikTokProducts
from providers.contract import (
    Answer,
    BadCredential,
    Exhausted,
    Failure,
    Faulty,
    Garbled,
    Lost,
    Picture,
    PriceDefaults,
    Question,
    Refused,
    Secret,
    Throttled,
    Unreachable,
)
from providers.http import Door
from tests.providers.conftest import Provider, Site
from tests.providers.lanes import any_token
from tests.searches.samples import jpeg

ADAPTER = TikTokProducts()
SECRET = Secret(value="sk_live_of_alice_with_her_products")
DOOR = Door(connect_seconds=2, total_seconds=5)

# The example of the page, as it stands there.
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
# Every error of the page, word by word: none has a requestId.
DOCUMENTED = [
    (400, "Missing required parameter: handle", Refused, "refused"),
    (401, "apiKey is null", BadCredential, "credential_invalid"),
    (402, "apiKey quota is not enough", Exhausted, "credential_exhausted"),
    (429, "qps limit exceeded", Throttled, "rate_limited"),
    (500, "Internal server error", Faulty, "provider_error"),
]


def ask(url: str, *, page_size: int = 30, picture: bytes = b"", **parameters: Any) -> Answer:
    question = Question(
        picture=Picture(content=picture or jpeg(), media_type="image/jpeg"),
        parameters=parameters,
        page=0,
        page_size=page_size,
    )
    return ADAPTER.ask(question, secret=SECRET, base_url=url, door=DOOR, token=any_token())


def failure(provider: Provider, **question: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        ask(provider.url, **question)
    return caught.value


def product(**source: Any) -> dict[str, Any]:
    """The page's product with other fields; one that is "missing" is left out."""
    fields = {name: value for name, value in (PRODUCT["_source"] | source).items() if value != "missing"}
    return PRODUCT | {"_source": fields}


def errors(parameters: Any) -> Any:
    checked = ADAPTER.parameters(data=parameters)
    return {} if checked.is_valid() else checked.errors


def test_the_registry_knows_the_source_and_its_provider() -> None:
    assert isinstance(registry.adapter("tiktok-products"), TikTokProducts)
    assert registry.PROVIDERS["keyapi"] is registry.ADAPTERS["tiktok-products"]


def test_its_defaults_are_those_of_the_page() -> None:
    assert (ADAPTER.default_limit, ADAPTER.max_results, ADAPTER.paged) == (30, 30, False)
    assert (ADAPTER.policy.calls, ADAPTER.policy.window_ms, ADAPTER.policy.attempts) == (1, 1000, 2)
    assert ADAPTER.price == PriceDefaults(per_call=Decimal(1))
    assert ADAPTER.score_range is None


# What it sends


def test_every_field_of_the_page_is_sent(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(provider.url, page_size=7, product_name="mug", region="US")
    picture = provider.asked.pop("image_base64")
    assert base64.b64decode(picture, validate=True) == jpeg()
    assert provider.asked == {"product_name": "mug", "region": "US", "size": 7}


@pytest.mark.parametrize("parameters", [{}, {"product_name": "", "region": ""}, {"product_name": "  "}], ids=str)
def test_optional_fields_that_are_empty_are_not_sent(provider: Provider, parameters: dict[str, Any]) -> None:
    provider.answers(ANSWER)
    ask(provider.url, **parameters)
    assert set(provider.asked) == {"image_base64", "size"}


def test_the_key_goes_as_a_bearer_token_to_the_path_of_the_page(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(f"{provider.url}/")
    assert provider.headers["REQUEST_METHOD"] == "POST"
    assert provider.headers["HTTP_AUTHORIZATION"] == f"Bearer {SECRET.value}"
    assert provider.headers["PATH_INFO"] == "/v1/tiktok/product/image-search/analytics"


def test_a_picture_is_a_jpeg_that_encodes_to_at_most_5_000_000_bytes() -> None:
    limits = ADAPTER.picture_limits
    assert limits.formats == ("JPEG",)
    assert len(base64.b64encode(bytes(limits.max_bytes))) == 5_000_000


# What it reads


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
def test_what_does_not_identify_a_product_may_be_missing(provider: Provider, absent: Any) -> None:
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


# What goes wrong


@pytest.mark.parametrize(("code", "message", "kind", "name"), DOCUMENTED)
@pytest.mark.parametrize("at_200", [False, True])
def test_every_documented_error_is_told_by_its_number(
    provider: Provider, code: int, message: str, kind: type[Failure], name: str, at_200: bool
) -> None:
    status = 200 if at_200 else code
    provider.answers({"code": code, "data": None, "message": message}, status)
    failed = failure(provider)
    assert type(failed) is kind
    assert (failed.code, failed.status, failed.request_id) == (name, status, "")
    assert f'It answered {status}: "{code} {message}".' in failed.detail


@pytest.mark.parametrize(
    ("status", "code", "kind", "name"),
    [
        # Never tried again, and not the key's end.
        (403, 403, Refused, "not_permitted"),
        (200, 403, Refused, "not_permitted"),
        (404, 404, Refused, "refused"),
        (413, 413, Refused, "refused"),
        (408, 408, Faulty, "provider_error"),
        (502, 502, Faulty, "provider_error"),
        (503, 0, Faulty, "provider_error"),
        (200, 503, Faulty, "provider_error"),
        (302, 0, Garbled, "unreadable_answer"),
        # The status goes before the code.
        (400, 402, Refused, "refused"),
        (401, 500, BadCredential, "credential_invalid"),
        (500, 0, Faulty, "provider_error"),
        # Anything but 0 is a failure.
        (200, 1, Refused, "refused"),
        (200, -1, Refused, "refused"),
        (200, 200, Refused, "refused"),
        (200, 302, Refused, "refused"),
        (200, 40001, Refused, "refused"),
        (200, 0.5, Refused, "refused"),
        (201, 429, Throttled, "rate_limited"),
    ],
)
def test_undocumented_errors_are_told_apart_too(
    provider: Provider, status: int, code: float, kind: type[Failure], name: str
) -> None:
    provider.answers(ANSWER | {"code": code}, status)
    failed = failure(provider)
    assert type(failed) is kind
    assert (failed.code, failed.status, failed.request_id) == (name, status, ANSWER["requestId"])


@pytest.mark.parametrize(("code", "_message", "kind", "name"), DOCUMENTED)
def test_a_code_in_quotes_means_the_same(
    provider: Provider, code: int, _message: str, kind: type[Failure], name: str
) -> None:
    provider.answers({"code": str(code), "data": None, "message": "…"})
    failed = failure(provider)
    assert (type(failed), failed.code) == (kind, name)
    provider.answers(ANSWER | {"code": "0"})
    assert len(ask(provider.url).hits) == 1


@pytest.mark.parametrize(("status", "kind"), [(502, Faulty), (403, Refused), (401, BadCredential), (429, Throttled)])
def test_a_failure_without_json_is_told_by_its_status(provider: Provider, status: int, kind: type[Failure]) -> None:
    provider.answers(b"<html>no</html>", status)
    assert type(failure(provider)) is kind


@pytest.mark.parametrize(("headers", "seconds"), [({}, None), ({"Retry-After": "7"}, 7.0)])
@pytest.mark.parametrize("status", [429, 200])
def test_a_retry_after_is_passed_on(
    provider: Provider, status: int, headers: dict[str, str], seconds: float | None
) -> None:
    provider.answers({"code": 429, "data": None, "message": "qps limit exceeded"}, status, headers)
    failed = failure(provider)
    assert isinstance(failed, Throttled)
    assert failed.retry_after == seconds


WHOLE = json.dumps(ANSWER).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is not a JSON object"),
        (b"OK", "it is not a JSON object"),
        (WHOLE[:-1], "it is not a JSON object"),
        (WHOLE[:200], "it is not a JSON object"),
        (b"[]", "it is not a JSON object"),
        (b"null", "it is not a JSON object"),
        (b"[" * 100_000, "it is not a JSON object"),
        (b'{"code": NaN, "data": []}', "it is not a JSON object"),
        (b'{"data": []}', "code is missing"),
        (b'{"code": "", "data": []}', "code is not a number"),
        (b'{"code": "0x0", "data": []}', "code is not a number"),
        (b'{"code": false, "data": []}', "code is not a number"),
        (b'{"code": null, "data": []}', "code is not a number"),
        (b'{"code": 1%s, "data": []}' % (b"0" * 400), "code is not a number"),
        (b'{"code": 0}', "data is missing"),
        (b'{"code": 0, "data": null}', "data is not a list"),
        (b'{"code": 0, "data": {}}', "data is not a list"),
        (b'{"code": 0, "data": [7]}', "data[0] is not a JSON object"),
        (b'{"code": 0, "data": [{}]}', "data[0]._source is not a JSON object"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_read_is_garbled(provider: Provider, content: bytes, says: str) -> None:
    provider.answers(content)
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert f"KeyAPI's answer cannot be read: {says}." in failed.detail
    assert failed.excerpt[:8] == content.decode()[:8]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("product_id", value) for value in ("missing", None, "", 1731083827559830517, ["1"])],
        *[("product_name", value) for value in (7, ["a"], {"a": 1}, True)],
        ("priority_region", 1),
        ("vector_source_image", ["tos://a"]),
    ],
)
def test_a_mistyped_product_garbles_the_whole_answer(provider: Provider, field: str, value: Any) -> None:
    provider.answers(ANSWER | {"data": [PRODUCT, product(**{field: value})]})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert f"data[1]._source.{field} is" in failed.detail
    assert (failed.billed_results, failed.request_id) == (2, ANSWER["requestId"])


@pytest.mark.parametrize("score", ["31.9", True, [31.9], 10**400])
def test_a_score_that_is_no_number_is_garbled(provider: Provider, score: Any) -> None:
    provider.answers(ANSWER | {"data": [PRODUCT | {"_score": score}]})
    assert "data[0]._score is not a number" in failure(provider).detail


def test_more_products_than_can_be_kept_at_once_are_garbled_and_billed(provider: Provider) -> None:
    found = [{"_source": {"product_id": str(number)}} for number in range(6000)]
    provider.answers({"code": 0, "message": "success", "data": found})
    garbled = failure(provider)
    assert isinstance(garbled, Garbled)
    assert garbled.billed_results is not None


def test_what_may_have_been_billed_is_unknown_where_no_product_can_be_counted(provider: Provider) -> None:
    provider.answers(b"<html>so sorry</html>")
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert failed.billed_results is None


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"data": "none", "message": "success"}])
@pytest.mark.parametrize("code", [0, "0"])
def test_a_success_that_cannot_be_read_was_billed(provider: Provider, code: Any, body: dict[str, Any]) -> None:
    provider.answers({"code": code, **body})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert failed.billed_results == 0


def test_neither_key_nor_picture_is_quoted(provider: Provider) -> None:
    picture = base64.b64encode(jpeg()).decode()
    answer = {"code": 400, "message": f"key {SECRET.value}, image {picture}"}
    for status, body in ((400, answer), (200, answer), (200, {"sent": picture, "by": SECRET.value})):
        provider.answers(body, status)
        failed = failure(provider)
        told = failed.detail + getattr(failed, "excerpt", "")
        assert SECRET.value not in told
        assert picture[:60] not in told


def test_an_answer_that_ends_half_way_is_lost(provider: Provider) -> None:
    provider.reply = (200, [("Content-Length", "1000")], WHOLE)
    assert isinstance(failure(provider), Lost)


def test_a_huge_answer_is_not_read_to_its_end(provider: Provider) -> None:
    provider.answers(b'{"code": 0, "data": [' + b" " * 11_000_000 + b"]}")
    assert isinstance(failure(provider), Garbled)


def test_a_provider_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        ask("http://127.0.0.1:9")


# What it may be asked


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
def test_what_the_page_takes_is_taken(parameters: dict[str, str]) -> None:
    assert errors(parameters) == {}


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ({"product_name": 7}, "product_name", "Must be a text in quotes."),
        ({"product_name": None}, "product_name", "may not be null"),
        ({"product_name": "x" * 256}, "product_name", "no more than 255"),
        ({"product_name": "a\0b"}, "product_name", "Null characters"),
        ({"region": 1}, "region", "Must be a text in quotes."),
        ({"region": ["US"]}, "region", "Must be a text in quotes."),
        ({"region": "us"}, "region", "two capital letters, such as US"),
        ({"region": "USA"}, "region", "two capital letters, such as US"),
        ({"region": "U1"}, "region", "two capital letters, such as US"),
        ({"region": "US\n"}, "region", "two capital letters, such as US"),
        ({"region": " US"}, "region", "two capital letters, such as US"),
        ({"region": "US,GB"}, "region", "two capital letters, such as US"),
        ({"size": 5}, "size", "Unknown field; known here: product_name, region."),
    ],
)
def test_bad_parameters_are_refused_by_name_and_with_the_mend(
    parameters: dict[str, Any], field: str, says: str
) -> None:
    [problem] = errors(parameters)[field]
    assert says in problem


def test_what_is_empty_is_not_effective() -> None:
    assert ADAPTER.effective({"product_name": " tea  cup ", "region": ""}) == {"product_name": "tea  cup"}
    assert ADAPTER.effective({}) == {}


def test_the_published_schema_says_the_same() -> None:
    published = schema.of(ADAPTER.parameters)
    assert published["properties"]["region"]["pattern"] == "^([A-Z]{2})?$"
    assert published["properties"]["product_name"]["maxLength"] == 255
    assert "required" not in published


# Against the sandbox


def sandbox(site: Site) -> str:
    return f"{site.url}{ADAPTER.sandbox_path}"


def test_the_sandbox_answers_what_the_adapter_reads(site: Site) -> None:
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
