"""The adapter for `tiktok-creators`, against answers recorded from Modash's page and against the sandbox."""

from __future__ import annotations

import base64
import copy
import time
from email.utils import formatdate
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from providers import registry
from providers.adapters.modash import TikTokCreators
from providers.adapters.modash_parameters import FOLLOWER_RANGES, rounded
from providers.contract import (
    Answer,
    BadCredential,
    Exhausted,
    Failure,
    Faulty,
    Garbled,
    Picture,
    Question,
    Refused,
    Secret,
    Throttled,
    Unreachable,
)
from providers.http import Door
from tests.providers.conftest import Provider, Site
from tests.providers.lanes import any_token

ADAPTER = TikTokCreators()
SECRET = Secret(value="modash-key-of-alice")
DOOR = Door(connect_seconds=2, total_seconds=5)

POST: dict[str, Any] = {
    "id": "7012",
    "url": "https://www.tiktok.com/@instagram/video/7012",
    "thumbnail": "https://imgigp.modash.io/7012.jpg",
    "stats": {"likesCount": -1, "commentsCount": 3, "sharesCount": 0, "playsCount": 9, "collectsCount": 0},
}
PROFILE: dict[str, Any] = {
    "userId": "173560420",
    "fullName": "Instagram",
    "username": "instagram",
    "profilePicture": "https://imgigp.modash.io/22159423_1794482210565499_9190891265074397184_n.jpg",
    "followersCount": 313560626,
    "engagementRate": 0.01,
    "matchedPosts": [POST],
    "recentPosts": [],
    "accountCategory": "Sportsperson / Digital creator etc.",
}
ANSWER: dict[str, Any] = {"error": False, "total": 120, "profiles": [PROFILE]}
EVERY_PARAMETER: dict[str, Any] = {
    "followers_count": {"min": 13000, "max": 500000},
    "locations": [148838],
    "gender": "FEMALE",
    "last_posted_in_days": 90,
    "account_type": "creator",
    "language": "en",
    "age": {"min": 18, "max": 35},
    "engagement_rate": {"min": 0.04},
    "has_email": True,
    "brands": ["Kite Coffee"],
    "username": "insta",
    "max_post_age_months": 3,
    "content_type": "video",
}


def jpeg(colour: str = "teal") -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "JPEG")
    return file.getvalue()


def ask(url: str, *, page: int = 0, page_size: int = 50, picture: bytes = b"", **parameters: Any) -> Answer:
    question = Question(
        picture=Picture(content=picture or jpeg(), media_type="image/jpeg"),
        parameters=parameters,
        page=page,
        page_size=page_size,
    )
    return ADAPTER.ask(question, secret=SECRET, base_url=url, door=DOOR, token=any_token())


def failure(provider: Provider, **question: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        ask(provider.url, **question)
    return caught.value


def errors(parameters: Any) -> Any:
    checked = ADAPTER.parameters(data=parameters)
    return {} if checked.is_valid() else checked.errors


def test_the_registry_knows_the_source_and_its_provider() -> None:
    assert isinstance(registry.adapter("tiktok-creators"), TikTokCreators)
    assert registry.PROVIDERS["modash"] is registry.ADAPTERS["tiktok-creators"]


# What it sends


def test_every_parameter_becomes_its_filter(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(provider.url, page=2, page_size=40, **EVERY_PARAMETER)
    assert provider.asked.pop("filters") == {
        "followersCount": {"min": 13000, "max": 500000},
        "locations": [148838],
        "gender": "FEMALE",
        "lastPostedInDays": 90,
        "accountType": "creator",
        "language": "en",
        "age": {"min": "18", "max": "35"},
        "engagementRate": {"min": 0.04},
        "hasEmail": True,
        "brands": ["Kite Coffee"],
        "username": "insta",
        "maxPostAgeMonths": 3,
        "contentType": "video",
    }
    picture = provider.asked.pop("base64Image")
    assert base64.b64decode(picture, validate=True) == jpeg()
    assert provider.asked == {"page": 2, "pageSize": 40, "imageType": "image/jpeg"}


def test_without_parameters_no_filters_are_sent(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(provider.url)
    assert "filters" not in provider.asked


def test_the_key_goes_as_a_bearer_token_to_the_path_below_the_base_url(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(f"{provider.url}/v1/")
    assert provider.headers["HTTP_AUTHORIZATION"] == "Bearer modash-key-of-alice"
    assert provider.headers["PATH_INFO"] == "/v1/ai/tiktok/image-search"


def test_the_largest_picture_encodes_to_at_most_5_000_000_bytes() -> None:
    most = ADAPTER.picture_limits.max_bytes
    assert len(base64.b64encode(bytes(most))) == 5_000_000


# What it reads


def test_a_profile_is_read_field_by_field(provider: Provider) -> None:
    provider.answers(ANSWER, headers={"X-Request-Id": "r-17"})
    answer = ask(provider.url)
    assert (answer.billed_results, answer.total, answer.last) == (1, 120, False)
    assert (answer.status, answer.request_id) == (200, "r-17")
    hit = answer.hits[0]
    assert (hit.type, hit.external_id, hit.title, hit.score) == ("creator", "173560420", "Instagram", None)
    assert hit.url == "https://www.tiktok.com/@instagram"
    assert hit.image_url == PROFILE["profilePicture"]
    assert hit.raw == PROFILE
    assert hit.detail == {
        "username": "instagram",
        "followers_count": 313560626,
        "engagement_rate": 0.01,
        "account_category": "Sportsperson / Digital creator etc.",
        "matched_posts": [
            {
                "id": "7012",
                "url": "https://www.tiktok.com/@instagram/video/7012",
                "thumbnail": "https://imgigp.modash.io/7012.jpg",
                "likes_count": None,
                "comments_count": 3,
                "shares_count": 0,
                "plays_count": 9,
                "collects_count": 0,
            }
        ],
        "recent_posts": [],
    }


@pytest.mark.parametrize("absent", [{}, {"userId": None, "fullName": None}, {"userId": "", "fullName": ""}])
def test_the_username_stands_in_for_an_absent_id_and_name(provider: Provider, absent: dict[str, Any]) -> None:
    profile = {name: value for name, value in PROFILE.items() if name not in ("userId", "fullName")} | absent
    provider.answers(ANSWER | {"profiles": [profile]})
    hit = ask(provider.url).hits[0]
    assert (hit.external_id, hit.title) == ("instagram", "instagram")


def test_an_engagement_rate_in_percent_is_passed_on_as_it_came(provider: Provider) -> None:
    provider.answers(ANSWER | {"profiles": [PROFILE | {"engagementRate": 1.47}]})
    assert ask(provider.url).hits[0].detail["engagement_rate"] == 1.47


def test_a_recent_post_of_another_form_is_read_as_far_as_it_goes(provider: Provider) -> None:
    posts = [POST, {"id": "1", "url": 5, "stats": {"likesCount": 4}}]
    provider.answers(ANSWER | {"profiles": [PROFILE | {"recentPosts": posts}]})
    hit = ask(provider.url).hits[0]
    whole, part = hit.detail["recent_posts"]
    assert whole == hit.detail["matched_posts"][0]
    assert (part["id"], part["url"], part["likes_count"], part["plays_count"]) == ("1", None, 4, None)
    assert hit.raw["recentPosts"] == posts


def test_more_profiles_than_asked_for_are_all_read_and_counted(provider: Provider) -> None:
    provider.answers(ANSWER | {"profiles": [PROFILE | {"userId": str(number)} for number in range(5)]})
    answer = ask(provider.url, page_size=3)
    assert (len(answer.hits), answer.billed_results) == (5, 5)


def test_what_a_database_cannot_keep_is_left_out_of_texts(provider: Provider) -> None:
    profile = b'{"error":false,"total":1,"profiles":[%s]}' % (
        b'{"username":"a","fullName":"A\\u0000B\\ud800 \\ud83c\\udf75","profilePicture":"","followersCount":1,'
        b'"engagementRate":0,"matchedPosts":[],"recentPosts":[],"accountCategory":""}'
    )
    provider.answers(profile)
    assert ask(provider.url).hits[0].title == "AB? 🍵"


@pytest.mark.parametrize(
    ("page", "page_size", "total", "profiles", "last"),
    [
        (0, 50, 120, 50, False),
        (1, 50, 120, 50, False),
        (2, 50, 120, 20, True),
        (0, 50, 50, 50, True),
        # A short page does not end it while the total says that there is more; an empty one does.
        (0, 50, 120, 48, False),
        (0, 50, 120, 0, True),
        # A hidden total says nothing.
        (0, 50, -1, 50, False),
        # The next page would lie beyond 1,500 results.
        (28, 50, 9000, 50, False),
        (29, 50, 9000, 50, True),
        (20, 70, 9000, 70, True),
    ],
)
def test_paging_ends_where_nothing_can_come(
    provider: Provider, page: int, page_size: int, total: int, profiles: int, last: bool
) -> None:
    provider.answers({"total": total, "profiles": [PROFILE] * profiles})
    assert ask(provider.url, page=page, page_size=page_size).last is last


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize("code", ["no_result", "page_limit"])
def test_no_result_and_the_page_limit_are_empty_answers(provider: Provider, code: str, status: int) -> None:
    provider.answers({"error": True, "code": code, "message": "…"}, status)
    answer = ask(provider.url, page=3)
    assert (answer.hits, answer.billed_results, answer.last) == ((), 0, True)


def test_no_result_on_the_first_page_is_a_total_of_none(provider: Provider) -> None:
    provider.answers({"error": True, "code": "no_result", "message": "…"}, 404)
    assert (ask(provider.url).total, ask(provider.url, page=1).total) == (0, None)


def test_the_page_limit_says_nothing_of_the_total(provider: Provider) -> None:
    provider.answers({"error": True, "code": "page_limit", "message": "…"}, 400)
    assert (ask(provider.url).total, ask(provider.url, page=1).total) == (None, None)


# What goes wrong


@pytest.mark.parametrize(
    ("status", "code", "kind", "name"),
    [
        (401, "api_token_invalid", BadCredential, "credential_invalid"),
        (400, "api_token_invalid", BadCredential, "credential_invalid"),
        (402, "not_enough_credits", Exhausted, "credential_exhausted"),
        (403, "not_enough_credits", Exhausted, "credential_exhausted"),
        (401, "feature_not_available", Refused, "feature_not_available"),
        (403, "feature_not_available", Refused, "feature_not_available"),
        (400, "bad_request", Refused, "refused"),
        (500, "bad_request", Refused, "refused"),
        (400, "invalid_body_params", Refused, "refused"),
        (404, "entity_not_found", Refused, "refused"),
        (503, "retry_later", Faulty, "provider_error"),
        (400, "retry_later", Faulty, "provider_error"),
        (500, "internal_server_error", Faulty, "provider_error"),
        (429, "retry_later", Throttled, "rate_limited"),
        (429, "internal_server_error", Throttled, "rate_limited"),
        (429, "bad_request", Throttled, "rate_limited"),
        (429, "feature_not_available", Throttled, "rate_limited"),
        (429, "no_result", Throttled, "rate_limited"),
        (429, "page_limit", Throttled, "rate_limited"),
        # That a key is at its end is more than that it is to wait.
        (429, "not_enough_credits", Exhausted, "credential_exhausted"),
        (429, "api_token_invalid", BadCredential, "credential_invalid"),
        # Without a code that says it, the status does.
        (429, "", Throttled, "rate_limited"),
        (429, "too_fast", Throttled, "rate_limited"),
        (401, "", BadCredential, "credential_invalid"),
        (402, "", Exhausted, "credential_exhausted"),
        (403, "account_private", Refused, "refused"),
        (404, "", Refused, "refused"),
        (408, "", Faulty, "provider_error"),
        (413, "", Refused, "refused"),
        (422, "never_heard_of", Refused, "refused"),
        (500, "never_heard_of", Faulty, "provider_error"),
        (502, "", Faulty, "provider_error"),
        (302, "", Garbled, "unreadable_answer"),
        # An error at 200 is one all the same.
        (200, "api_token_invalid", BadCredential, "credential_invalid"),
        (200, "retry_later", Faulty, "provider_error"),
        (200, "invalid_body_params", Refused, "refused"),
        (200, "never_heard_of", Refused, "refused"),
        (200, "", Refused, "refused"),
        (201, "never_heard_of", Refused, "refused"),
    ],
)
def test_failures_are_told_apart_by_code_then_by_status(
    provider: Provider, status: int, code: str, kind: type[Failure], name: str
) -> None:
    provider.answers({"error": True, "code": code, "message": "Said so."} | ANSWER | {"error": True}, status)
    failed = failure(provider)
    assert type(failed) is kind
    assert (failed.code, failed.status) == (name, status)


@pytest.mark.parametrize(("status", "kind"), [(502, Faulty), (403, Refused), (401, BadCredential), (429, Throttled)])
def test_a_failure_without_json_is_told_by_its_status(provider: Provider, status: int, kind: type[Failure]) -> None:
    provider.answers(b"<html>no</html>", status)
    assert type(failure(provider)) is kind


@pytest.mark.parametrize("code", [None, 7, ["no_result"], {"a": 1}])
def test_a_code_that_is_no_text_is_as_good_as_none(provider: Provider, code: Any) -> None:
    provider.answers({"error": True, "code": code, "message": {"a": 1}}, 503)
    assert type(failure(provider)) is Faulty


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"}, None),
        ({"Retry-After": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
    ],
)
def test_a_retry_after_is_passed_on(provider: Provider, headers: dict[str, str], seconds: float | None) -> None:
    provider.answers({"error": True, "code": "slow_down"}, 429, headers)
    failed = failure(provider)
    assert isinstance(failed, Throttled)
    assert failed.retry_after == seconds


def test_a_date_to_retry_after_counts_from_now_where_the_answer_has_none(provider: Provider) -> None:
    provider.answers(b"", 429, {"Retry-After": formatdate(time.time() + 60, usegmt=True), "Date": "unknown"})
    failed = failure(provider)
    assert isinstance(failed, Throttled)
    assert 57 < (failed.retry_after or 0) <= 60


@pytest.mark.parametrize("field", ["total", "profiles"])
def test_an_answer_without_a_required_field_is_garbled(provider: Provider, field: str) -> None:
    provider.answers({name: value for name, value in ANSWER.items() if name != field})
    assert f"{field} is missing" in failure(provider).detail


REQUIRED = [name for name in PROFILE if name not in ("userId", "fullName")]


@pytest.mark.parametrize("field", REQUIRED)
@pytest.mark.parametrize("value", ["missing", None, {"a": 1}])
def test_a_profile_without_a_required_field_is_garbled(provider: Provider, field: str, value: Any) -> None:
    profile = PROFILE | {field: value}
    if value == "missing":
        del profile[field]
    provider.answers(ANSWER | {"profiles": [PROFILE, profile]})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert f"profiles[1].{field} is" in failed.detail
    assert failed.billed_results == 2


@pytest.mark.parametrize("field", ["id", "url", "thumbnail", "stats"])
def test_a_matched_post_without_a_required_field_is_garbled(provider: Provider, field: str) -> None:
    answer = copy.deepcopy(ANSWER)
    del answer["profiles"][0]["matchedPosts"][0][field]
    provider.answers(answer)
    assert f"profiles[0].matchedPosts[0].{field} is" in failure(provider).detail


@pytest.mark.parametrize("field", list(POST["stats"]))
@pytest.mark.parametrize("value", ["missing", "3", True, 1.5])
def test_a_count_that_is_no_whole_number_is_garbled(provider: Provider, field: str, value: Any) -> None:
    answer = copy.deepcopy(ANSWER)
    stats = answer["profiles"][0]["matchedPosts"][0]["stats"]
    stats[field] = value
    if value == "missing":
        del stats[field]
    provider.answers(answer)
    assert f"stats.{field} is" in failure(provider).detail


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OK",
        b'{"total": 1, "profi',
        b"[]",
        b"null",
        b'{"total": NaN, "profiles": []}',
        b'{"total": 1e999, "profiles": []}',
        b'\xff{"total": 1}',
        b"[" * 100_000,
        b'{"total": 1, "profiles": {}}',
        b'{"total": 1, "profiles": [7]}',
        b'{"total": "1", "profiles": []}',
    ],
)
def test_what_cannot_be_read_is_garbled(provider: Provider, content: bytes) -> None:
    provider.answers(content)
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert failed.excerpt == content.decode("utf-8", "replace")[:2048]


def test_a_garbled_answer_quotes_neither_key_nor_picture(provider: Provider) -> None:
    picture = base64.b64encode(jpeg()).decode()
    provider.answers({"oops": SECRET.value, "sent": picture, "escaped": picture.replace("/", "\\/")})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert SECRET.value not in failed.excerpt
    assert picture[:60] not in failed.excerpt
    assert '"oops": "…"' in failed.excerpt


def test_a_failure_tells_what_they_said_but_not_what_they_quoted(provider: Provider) -> None:
    message = f"age.min is odd; key {SECRET.value}, image {base64.b64encode(jpeg()).decode()}"
    provider.answers({"error": True, "code": "invalid_body_params", "message": message}, 400)
    detail = failure(provider).detail
    assert 'It answered 400: "invalid_body_params age.min is odd; key …, image …' in detail
    assert SECRET.value not in detail
    assert len(detail) < 500


def test_a_provider_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        ask("http://127.0.0.1:9")


# What it may be asked


def test_every_parameter_of_the_contract_is_accepted_as_given() -> None:
    checked = ADAPTER.parameters(data=EVERY_PARAMETER)
    assert checked.is_valid(), checked.errors
    assert checked.validated_data == EVERY_PARAMETER


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"followers_count": {"min": 0}},
        {"followers_count": {"max": 100_000_000}},
        {"followers_count": {"min": 5000, "max": 5000}},
        {"locations": [148838, 62149]},
        *({"gender": gender} for gender in ("MALE", "FEMALE", "KNOWN", "UNKNOWN")),
        {"last_posted_in_days": 1},
        {"account_type": "brand"},
        {"language": "zh-Hans"},
        *({"age": {"min": age}} for age in (13, 18, 25, 35, 45, 65)),
        *({"age": {"max": age}} for age in (18, 25, 35, 45, 65)),
        {"age": {"min": 65, "max": 65}},
        {"engagement_rate": {"min": 0}},
        {"engagement_rate": {"min": 1}},
        {"has_email": False},
        {"brands": ["Papel & Co"]},
        {"username": "khaby.lame_1"},
        *({"max_post_age_months": months} for months in (3, 6, 9, 12)),
        {"content_type": "image"},
    ],
)
def test_good_parameters_are_accepted(parameters: dict[str, Any]) -> None:
    assert errors(parameters) == {}


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ([], "non_field_errors", "object with named fields"),
        ({"followers": 1}, "followers", "Unknown field; known here: account_type, age,"),
        ({"followersCount": {"min": 1}}, "followersCount", "Unknown field"),
        ({"followers_count": 13000}, "followers_count.non_field_errors", "object with named fields"),
        ({"followers_count": {}}, "followers_count.non_field_errors", "Give min, max or both"),
        ({"followers_count": {"min": "13000"}}, "followers_count.min", "whole number, without quotes"),
        ({"followers_count": {"min": 1.5}}, "followers_count.min", "whole number"),
        ({"followers_count": {"min": True}}, "followers_count.min", "whole number"),
        ({"followers_count": {"min": None}}, "followers_count.min", "null"),
        ({"followers_count": {"min": -1}}, "followers_count.min", "greater than or equal to 0"),
        ({"followers_count": {"max": 10**11}}, "followers_count.max", "less than or equal to 10000000000"),
        ({"followers_count": {"min": 9, "max": 8}}, "followers_count.min", "not be greater than max"),
        ({"followers_count": {"low": 9}}, "followers_count.low", "Unknown field; known here: max, min."),
        ({"locations": 148838}, "locations", "list"),
        ({"locations": []}, "locations", "empty"),
        ({"locations": ["148838"]}, "locations.0", "whole number, without quotes"),
        ({"locations": [0]}, "locations.0", "greater than or equal to 1"),
        ({"locations": list(range(1, 102))}, "locations", "no more than 100"),
        ({"gender": "female"}, "gender", 'one of "MALE", "FEMALE", "KNOWN", "UNKNOWN"'),
        ({"gender": ["FEMALE"]}, "gender", "one of"),
        ({"last_posted_in_days": 0}, "last_posted_in_days", "greater than or equal to 1"),
        ({"last_posted_in_days": 4000}, "last_posted_in_days", "less than or equal to 3650"),
        ({"last_posted_in_days": "90"}, "last_posted_in_days", "whole number"),
        ({"account_type": "shop"}, "account_type", 'one of "creator", "brand"'),
        ({"language": "english"}, "language", "language code such as en"),
        ({"language": 5}, "language", "text in quotes"),
        ({"language": ""}, "language", "blank"),
        ({"age": {"min": 20}}, "age.min", "one of 13, 18, 25, 35, 45, 65"),
        ({"age": {"min": "18"}}, "age.min", "one of 13, 18"),
        ({"age": {"min": 18.0}}, "age.min", "one of 13, 18"),
        ({"age": {"max": 13}}, "age.max", "one of 18, 25, 35, 45, 65"),
        ({"age": {"min": 35, "max": 25}}, "age.min", "not be greater than max"),
        ({"age": {}}, "age.non_field_errors", "Give min, max or both"),
        ({"engagement_rate": {}}, "engagement_rate.min", "required"),
        ({"engagement_rate": {"min": 4}}, "engagement_rate.min", "less than or equal to 1"),
        ({"engagement_rate": {"min": -0.1}}, "engagement_rate.min", "greater than or equal to 0"),
        ({"engagement_rate": {"min": "0.04"}}, "engagement_rate.min", "number, without quotes"),
        ({"engagement_rate": {"min": float("nan")}}, "engagement_rate.min", "number"),
        ({"engagement_rate": {"min": 10**400}}, "engagement_rate.min", "number"),
        ({"engagement_rate": {"min": 0.1, "max": 1}}, "engagement_rate.max", "Unknown field"),
        ({"has_email": "yes"}, "has_email", "true or false, without quotes"),
        ({"has_email": 1}, "has_email", "true or false"),
        ({"brands": "Nike"}, "brands", "list"),
        ({"brands": [7]}, "brands.0", "text in quotes"),
        ({"brands": [" "]}, "brands.0", "blank"),
        ({"brands": []}, "brands", "empty"),
        ({"username": "@khaby.lame"}, "username", "without the @"),
        ({"username": "a" * 51}, "username", "no more than 50"),
        ({"username": 12}, "username", "text in quotes"),
        ({"max_post_age_months": 4}, "max_post_age_months", "one of 3, 6, 9, 12"),
        ({"max_post_age_months": "3"}, "max_post_age_months", "one of 3, 6, 9, 12"),
        ({"content_type": "Video"}, "content_type", 'one of "video", "image"'),
    ],
)
def test_bad_parameters_are_refused_by_name_and_with_the_mend(parameters: Any, field: str, says: str) -> None:
    problem = errors(parameters)
    for step in field.split("."):
        problem = problem[int(step) if step.isdigit() else step]
    assert len(problem) == 1
    assert says in problem[0]


def test_every_wrong_parameter_is_named_at_once() -> None:
    assert set(errors({"colour": 1, "gender": "x", "age": {"min": 1, "max": 1}})) == {"colour", "gender", "age"}


@pytest.mark.parametrize(
    ("given", "effective"),
    [
        ({"min": 13000}, {"min": 10000}),
        ({"min": 10000}, {"min": 10000}),
        ({"min": 1000}, {"min": 1000}),
        ({"min": 2999}, {"min": 1000}),
        ({"min": 999_999}, {"min": 500_000}),
        ({"min": 90_000_000}, {"min": 3_000_000}),
        ({"max": 13000}, {"max": 15000}),
        ({"max": 15000}, {"max": 15000}),
        ({"max": 500_001}, {"max": 1_000_000}),
        ({"max": 3_000_000}, {"max": 3_000_000}),
        ({"max": 7}, {"max": 1000}),
        # No range lower, and none higher: the bound binds nobody.
        ({"min": 999}, {}),
        ({"max": 3_000_001}, {}),
        ({"min": 13000, "max": 16000}, {"min": 10000, "max": 20000}),
    ],
)
def test_follower_bounds_are_rounded_outwards_to_the_ranges(given: dict[str, int], effective: dict[str, int]) -> None:
    assert rounded(given) == effective


def test_the_ranges_are_those_of_the_page() -> None:
    page = (
        "1000, 3000, 5000, 10000, 15000, 20000, 25000, 35000, 50000, 75000, 100000, 125000, 150000, 175000, 200000, "
        "250000, 300000, 350000, 500000, 1000000, 2000000, 3000000"
    )
    assert ", ".join(map(str, FOLLOWER_RANGES)) == page


def test_effective_parameters_differ_in_what_is_rounded_only() -> None:
    effective = ADAPTER.effective(EVERY_PARAMETER)
    assert effective == EVERY_PARAMETER | {"followers_count": {"min": 10000, "max": 500000}}
    assert ADAPTER.effective({"followers_count": {"min": 5}, "language": "en"}) == {"language": "en"}
    assert ADAPTER.effective({}) == {}


# Against the sandbox


def test_the_sandbox_answers_what_the_adapter_reads(site: Site) -> None:
    answer = ask(f"{site.url}{ADAPTER.sandbox_path}", page_size=100)
    assert (len(answer.hits), answer.billed_results, answer.total, answer.last) == (100, 100, 240, False)
    assert all(hit.detail["matched_posts"] and hit.detail["recent_posts"] for hit in answer.hits)


def test_every_parameter_is_taken_by_the_sandbox(site: Site) -> None:
    answer = ask(f"{site.url}{ADAPTER.sandbox_path}", **EVERY_PARAMETER)
    assert (answer.status, answer.hits, answer.last) == (404, (), True)


def test_pages_of_the_sandbox_join_without_gap_or_overlap(site: Site) -> None:
    pages = [ask(f"{site.url}{ADAPTER.sandbox_path}", page=page, page_size=90) for page in range(3)]
    found = [hit.external_id for page in pages for hit in page.hits]
    assert len(found) == len(set(found)) == 240
    assert [page.last for page in pages] == [False, False, True]


def test_an_effective_bound_means_what_the_sandbox_finds(site: Site) -> None:
    answer = ask(f"{site.url}{ADAPTER.sandbox_path}", page_size=240, followers_count={"min": 13000, "max": 16000})
    counts = [hit.detail["followers_count"] for hit in answer.hits]
    assert answer.total == len(counts)
    assert 10000 <= min(counts) < 13000
    assert 16000 < max(counts) <= 20000
