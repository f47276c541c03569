"""Tests the adapter for `tiktok-creators`, against answers recorded from Modash's page and against the sandbox."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from providers import registry
from providers.adapters.modash import TikTokCreators
from providers.contract import Answer, Secret
from tests.providers.asking import answer_of, drawn
from tests.providers.conftest import Provider, Site

ADAPTER = TikTokCreators()
SECRET = Secret(value="modash-key-of-alice")

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


def ask(url: str, **question: Any) -> Answer:
    return answer_of(ADAPTER, url, SECRET, **question)


def test_the_registry_knows_the_source_and_its_provider() -> None:
    assert isinstance(registry.adapter("tiktok-creators"), TikTokCreators)
    assert registry.PROVIDERS["modash"] is registry.ADAPTERS["tiktok-creators"]


# Requests


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
    assert base64.b64decode(picture, validate=True) == drawn()
    assert provider.asked == {"page": 2, "pageSize": 40, "imageType": "image/jpeg"}


def test_without_parameters_no_filters_are_sent(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(provider.url)
    assert "filters" not in provider.asked


def test_the_key_is_a_bearer_token_and_the_path_is_below_the_base_url(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(f"{provider.url}/v1/")
    assert provider.headers["HTTP_AUTHORIZATION"] == "Bearer modash-key-of-alice"
    assert provider.headers["PATH_INFO"] == "/v1/ai/tiktok/image-search"


def test_the_largest_picture_encodes_to_at_most_5_000_000_bytes() -> None:
    most = ADAPTER.picture_limits.max_bytes
    assert len(base64.b64encode(bytes(most))) == 5_000_000


# Answers


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
        "views_count_median": None,
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
def test_the_username_replaces_an_absent_id_and_name(provider: Provider, absent: dict[str, Any]) -> None:
    profile = {name: value for name, value in PROFILE.items() if name not in ("userId", "fullName")} | absent
    provider.answers(ANSWER | {"profiles": [profile]})
    hit = ask(provider.url).hits[0]
    assert (hit.external_id, hit.title) == ("instagram", "instagram")


def test_an_engagement_rate_in_percent_is_passed_on_as_it_came(provider: Provider) -> None:
    provider.answers(ANSWER | {"profiles": [PROFILE | {"engagementRate": 1.47}]})
    assert ask(provider.url).hits[0].detail["engagement_rate"] == 1.47


def test_a_recent_post_of_another_form_keeps_its_readable_fields(provider: Provider) -> None:
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


def test_characters_that_a_database_cannot_keep_are_left_out(provider: Provider) -> None:
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
        # A short page does not end paging while the total says that there is more. An empty page does.
        (0, 50, 120, 48, False),
        (0, 50, 120, 0, True),
        # A hidden total is ignored.
        (0, 50, -1, 50, False),
        # The next page would be beyond 1,500 results.
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


def test_no_result_on_the_first_page_is_a_total_of_zero(provider: Provider) -> None:
    provider.answers({"error": True, "code": "no_result", "message": "…"}, 404)
    assert (ask(provider.url).total, ask(provider.url, page=1).total) == (0, None)


def test_the_page_limit_says_nothing_of_the_total(provider: Provider) -> None:
    provider.answers({"error": True, "code": "page_limit", "message": "…"}, 400)
    assert (ask(provider.url).total, ask(provider.url, page=1).total) == (None, None)


# Against the sandbox


def test_the_adapter_reads_the_answer_of_the_sandbox(site: Site) -> None:
    answer = ask(f"{site.url}{ADAPTER.sandbox_path}", page_size=100)
    assert (len(answer.hits), answer.billed_results, answer.total, answer.last) == (100, 100, 240, False)
    assert all(hit.detail["matched_posts"] and hit.detail["recent_posts"] for hit in answer.hits)


def test_the_sandbox_accepts_every_parameter(site: Site) -> None:
    answer = ask(f"{site.url}{ADAPTER.sandbox_path}", **EVERY_PARAMETER)
    assert (answer.status, answer.hits, answer.last) == (404, (), True)


def test_pages_of_the_sandbox_join_without_gap_or_overlap(site: Site) -> None:
    pages = [ask(f"{site.url}{ADAPTER.sandbox_path}", page=page, page_size=90) for page in range(3)]
    found = [hit.external_id for page in pages for hit in page.hits]
    assert len(found) == len(set(found)) == 240
    assert [page.last for page in pages] == [False, False, True]


def test_an_effective_bound_agrees_with_the_results_of_the_sandbox(site: Site) -> None:
    answer = ask(f"{site.url}{ADAPTER.sandbox_path}", page_size=240, followers_count={"min": 13000, "max": 16000})
    counts = [hit.detail["followers_count"] for hit in answer.hits]
    assert answer.total == len(counts)
    assert 10000 <= min(counts) < 13000
    assert 16000 < max(counts) <= 20000
