"""Tests the sandbox's Modash as a client of Modash's meets it, over real sockets."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from providers import media_expiry
from providers.sandbox.catalogue_pictures import MOTIFS
from providers.sandbox.meter import fingerprint
from providers.sandbox.modash_filters import creator_matches
from providers.sandbox.settings import SandboxSettings
from tests.providers.conftest import Site, sandbox_site

SEARCH = "/modash/v1/ai/tiktok/image-search"


def file_of(picture: Image.Image, format: str = "JPEG") -> bytes:
    file = BytesIO()
    picture.save(file, format)
    return file.getvalue()


def square_png(side: int) -> bytes:
    """Writes a white PNG of a few kilobytes without holding its pixels in memory."""
    squeeze = zlib.compressobj()
    row = b"\0" + b"\xff" * (side // 8)
    pixels = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", pixels), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


LOCATIONS = "/modash/v1/tiktok/locations"
PICTURE = file_of(Image.new("RGB", (40, 40), "orange"))


def body(picture: bytes = PICTURE, format: str = "jpeg", **fields: Any) -> dict[str, Any]:
    return {"imageType": f"image/{format}", "base64Image": base64.b64encode(picture).decode()} | fields


def search(site: Site, key: str = "alice", **fields: Any) -> httpx.Response:
    sent = body() | fields
    return site.client.post(SEARCH, json=sent, headers={"Authorization": f"Bearer {key}"})


def profiles(site: Site, **fields: Any) -> list[dict[str, Any]]:
    answer = search(site, pageSize=240, **fields)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["profiles"]
    return found


def refusal(answer: httpx.Response) -> tuple[int, str]:
    problem = answer.json()
    assert set(problem) == {"error", "code", "message"}
    assert problem["error"] is True
    return answer.status_code, problem["code"]


# Ranking


def test_a_picture_of_the_catalogue_finds_its_creator_first(site: Site) -> None:
    for creator in site.sandbox.catalogue.creators[::12]:
        post = creator.posts[-1]
        seen = site.client.get(f"/pictures/{post.id}.jpg")
        assert seen.headers["content-type"] == "image/jpeg"
        first = profiles(site, **body(seen.content))[0]
        assert first["username"] == creator.username
        assert first["matchedPosts"][0]["id"] == post.id


@pytest.mark.parametrize("format", ["png", "webp"])
def test_another_format_and_size_of_a_picture_finds_the_same_creator(site: Site, format: str) -> None:
    creator = site.sandbox.catalogue.creators[3]
    picture = site.sandbox.catalogue.picture(creator.posts[0].id)
    assert picture
    smaller = file_of(picture.resize((150, 200)), format)
    assert profiles(site, **body(smaller, format))[0]["username"] == creator.username


@pytest.mark.parametrize("colour", ["red", "limegreen", "blue"])
def test_a_plain_colour_finds_pictures_of_that_colour(site: Site, colour: str) -> None:
    wanted = Image.new("RGB", (50, 50), colour)
    channel = max(range(3), key=lambda index: wanted.tobytes()[index])
    for profile in profiles(site, **body(file_of(wanted)))[:3]:
        seen = Image.open(BytesIO(site.client.get(profile["matchedPosts"][0]["thumbnail"]).content))
        means = seen.resize((1, 1), Image.Resampling.BOX).tobytes()
        assert max(range(3), key=lambda index: means[index]) == channel


def test_posts_of_a_creator_are_ordered_by_likeness(site: Site) -> None:
    post = site.sandbox.catalogue.creators[0].posts[1]
    picture = site.sandbox.catalogue.picture(post.id)
    assert picture
    first, *rest = profiles(site, **body(file_of(picture)))[0]["matchedPosts"]
    assert first["id"] == post.id
    assert post.id not in [other["id"] for other in rest]


def test_the_catalogue_is_the_same_at_every_start_and_shows_every_motif(site: Site) -> None:
    catalogue = site.sandbox.catalogue
    again = type(catalogue)()
    assert again.creators == catalogue.creators
    assert len(catalogue.creators) == 240
    assert {post.scene.motif for post in catalogue.posts} == set(MOTIFS)
    names = [creator.username for creator in catalogue.creators]
    assert len(set(names)) == len(names)
    assert len({post.id for post in catalogue.posts}) == len(catalogue.posts)


# Filters


def test_a_profile_has_the_fields_of_the_page(site: Site) -> None:
    every = {"userId", "fullName", "username", "profilePicture", "followersCount", "engagementRate", "matchedPosts"}
    every |= {"recentPosts", "accountCategory"}
    found = profiles(site)
    assert all(every - {"userId", "fullName"} <= set(profile) <= every for profile in found)
    assert {len(every) - len(profile) for profile in found} >= {0, 1}
    stats = {"likesCount", "commentsCount", "sharesCount", "playsCount", "collectsCount"}
    posts = [post for profile in found for post in profile["matchedPosts"] + profile["recentPosts"]]
    assert all(set(post["stats"]) == stats for post in posts)
    assert -1 in {post["stats"]["likesCount"] for post in posts}


def test_some_portraits_have_an_address_that_ends(site: Site) -> None:
    addresses = [profile["profilePicture"] for profile in profiles(site)]
    ends = [at for at in map(media_expiry.of, addresses) if at]
    assert 0 < len(ends) < len(addresses)
    assert all(timedelta(days=1) < at - datetime.now(UTC) <= timedelta(days=2) for at in ends)


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"followersCount": {"min": 13000}}, lambda creator: creator.followers >= 10000),
        ({"followersCount": {"max": 13000}}, lambda creator: creator.followers <= 15000),
        ({"followersCount": {"max": 3_000_001}}, lambda creator: True),
        ({"locations": [148838, 51477]}, lambda creator: creator.location in (148838, 51477)),
        ({"gender": "FEMALE"}, lambda creator: creator.gender == "FEMALE"),
        ({"gender": "KNOWN"}, lambda creator: creator.gender in ("MALE", "FEMALE")),
        ({"gender": "UNKNOWN"}, lambda creator: creator.gender == "UNKNOWN"),
        ({"lastPostedInDays": 30}, lambda creator: any(post.age_days <= 30 for post in creator.posts)),
        ({"accountType": "brand"}, lambda creator: creator.account_type == "brand"),
        ({"language": "es"}, lambda creator: creator.language == "es"),
        ({"age": {"min": "25", "max": "35"}}, lambda creator: 25 <= creator.age <= 35),
        ({"engagementRate": {"min": 0.1}}, lambda creator: creator.engagement_rate >= 0.1),
        ({"hasEmail": False}, lambda creator: not creator.has_email),
        ({"brands": ["Lumo", "Tidewater"]}, lambda creator: {"Lumo", "Tidewater"} & set(creator.brands)),
        ({"username": "Mira"}, lambda creator: "mira" in creator.username),
        ({"maxPostAgeMonths": 3}, lambda creator: any(post.age_days <= 90 for post in creator.posts)),
        ({"contentType": "image"}, lambda creator: any(post.content_type == "image" for post in creator.posts)),
    ],
)
def test_a_filter_selects_the_creators_that_fulfil_it(
    site: Site, filters: dict[str, Any], holds: Callable[[Any], object]
) -> None:
    expected = {creator.username for creator in site.sandbox.catalogue.creators if holds(creator)}
    assert 0 < len(expected) <= 240
    assert {profile["username"] for profile in profiles(site, filters=filters)} == expected


def test_filters_hold_together(site: Site) -> None:
    filters = {"gender": "MALE", "hasEmail": True, "followersCount": {"min": 100_000}}
    found = {profile["username"] for profile in profiles(site, filters=filters)}
    creators = site.sandbox.catalogue.creators
    assert found == {creator.username for creator in creators if creator_matches(creator, filters)}
    assert 0 < len(found) < 100


def test_posts_that_are_too_old_or_of_another_kind_are_not_matched(site: Site) -> None:
    found = profiles(site, filters={"maxPostAgeMonths": 6, "contentType": "image"})
    matched = {post["id"] for profile in found for post in profile["matchedPosts"]}
    posts = [post for post in site.sandbox.catalogue.posts if post.id in matched]
    assert len(posts) == len(matched) > 10
    assert all(post.age_days <= 180 and post.content_type == "image" for post in posts)


def test_a_search_that_finds_no_creator_is_no_result(site: Site) -> None:
    assert refusal(search(site, filters={"username": "nobody.at.all"})) == (404, "no_result")


# Pages and the bill


def test_a_page_is_the_window_at_page_times_page_size(site: Site) -> None:
    creators = [profile["username"] for profile in profiles(site)]
    answer = search(site, page=3, pageSize=7).json()
    assert [profile["username"] for profile in answer["profiles"]] == creators[21:28]
    assert answer["total"] == 240
    assert search(site, page=40, pageSize=7).json()["profiles"] == []


def test_paging_ends_at_1500_results(site: Site) -> None:
    assert search(site, page=29, pageSize=50).status_code == 200
    assert refusal(search(site, page=30, pageSize=50)) == (400, "page_limit")


def test_each_profile_costs_0_025_credits_and_a_refusal_nothing(site: Site) -> None:
    search(site, key="alice", pageSize=7)
    search(site, key="alice", pageSize=0)
    search(site, key="bob", pageSize=3)
    stats = site.client.get("/_stats").json()["modash"]
    assert (stats["calls"], stats["refusals"], stats["breaches"], stats["credits"]) == (3, 1, 0, "0.250")
    alice = stats["keys"][fingerprint("alice")]
    assert (alice["calls"], alice["refusals"], alice["credits"]) == (2, 1, "0.175")
    assert "alice" not in str(stats)


def test_user_info_shows_the_credits_left(site: Site) -> None:
    search(site, pageSize=4)
    info = site.client.get("/modash/v1/user/info", headers={"Authorization": "Bearer alice"}).json()
    assert info["error"] is False
    assert info["billing"] == {"credits": 999_999.9, "rawRequests": 1}
    assert {"user", "rateLimits"} <= set(info)


@pytest.mark.parametrize("limit", ["x", "0", "-1", "1.5", " 1", "٣", "1" * 5000])
def test_a_limit_of_terms_that_is_no_number_of_any_is_refused(site: Site, limit: str) -> None:
    bearer = {"Authorization": "Bearer alice"}
    assert refusal(site.client.get(LOCATIONS, params={"limit": limit}, headers=bearer)) == (400, "bad_request")
    assert len(site.client.get(LOCATIONS, params={"limit": 2}, headers=bearer).json()["locations"]) == 2


def test_a_key_without_credits_is_refused() -> None:
    with sandbox_site(SandboxSettings(calls=1_000_000, latency=0, credits=Decimal("0.1"))) as poor:
        assert search(poor, pageSize=4).status_code == 200
        assert refusal(search(poor, pageSize=1)) == (402, "not_enough_credits")


# Refusals


@pytest.mark.parametrize("authorization", [None, "alice", "Bearer", "Basic YTpi"])
def test_a_call_without_a_bearer_token_is_refused(site: Site, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    assert refusal(site.client.post(SEARCH, json=body(), headers=headers)) == (401, "api_token_invalid")
    assert refusal(site.client.get("/modash/v1/user/info", headers=headers)) == (401, "api_token_invalid")


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"page": -1}, "page"),
        ({"page": 0.5}, "page"),
        ({"page": True}, "page"),
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": "5"}, "pageSize"),
        ({"page_size": 5}, "page_size"),
        ({"imageType": "image/gif"}, "imageType"),
        ({"imageType": None}, "imageType"),
        ({"base64Image": ""}, "base64Image"),
        ({"base64Image": "A" * 5_000_004}, "base64Image"),
        ({"filters": []}, "filters"),
        ({"filters": {"colour": "red"}}, "filters.colour"),
        ({"filters": {"followersCount": {"min": "13000"}}}, "filters.followersCount.min"),
        ({"filters": {"followersCount": {"least": 1}}}, "filters.followersCount.least"),
        ({"filters": {"locations": [148838, "51477"]}}, "filters.locations[1]"),
        ({"filters": {"gender": "female"}}, "filters.gender"),
        ({"filters": {"lastPostedInDays": "90"}}, "filters.lastPostedInDays"),
        ({"filters": {"accountType": "shop"}}, "filters.accountType"),
        ({"filters": {"language": 1}}, "filters.language"),
        ({"filters": {"age": {"min": 18}}}, "filters.age.min"),
        ({"filters": {"age": {"max": "13"}}}, "filters.age.max"),
        ({"filters": {"engagementRate": {"min": -1}}}, "filters.engagementRate.min"),
        ({"filters": {"hasEmail": "yes"}}, "filters.hasEmail"),
        ({"filters": {"brands": "Lumo"}}, "filters.brands"),
        ({"filters": {"username": 3}}, "filters.username"),
        ({"filters": {"maxPostAgeMonths": 4}}, "filters.maxPostAgeMonths"),
        ({"filters": {"contentType": "audio"}}, "filters.contentType"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_name(site: Site, fields: dict[str, Any], names: str) -> None:
    answer = search(site, **fields)
    assert refusal(answer) == (400, "invalid_body_params")
    assert answer.json()["message"].startswith(f"{names} ")


@pytest.mark.parametrize("field", ["imageType", "base64Image"])
def test_a_required_field_must_be_there(site: Site, field: str) -> None:
    sent = {name: value for name, value in body().items() if name != field}
    answer = site.client.post(SEARCH, json=sent, headers={"Authorization": "Bearer alice"})
    assert answer.json()["message"] == f"{field} is required."


@pytest.mark.parametrize(
    "encoded",
    [
        "no base64!",
        "data:image/jpeg;base64," + base64.b64encode(PICTURE).decode(),
        base64.b64encode(b"not a picture").decode(),
        base64.b64encode(PICTURE[:300]).decode(),
        base64.b64encode(file_of(Image.new("RGB", (9, 9)), "PNG")).decode(),
    ],
)
def test_a_file_that_is_not_of_its_stated_type_is_refused(site: Site, encoded: str) -> None:
    assert refusal(search(site, base64Image=encoded)) == (400, "bad_request")


def test_a_picture_of_400_megapixels_is_refused_undecoded(site: Site) -> None:
    file = square_png(20_000)
    assert refusal(search(site, **body(file, "png"))) == (400, "bad_request")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(site: Site, content: bytes) -> None:
    answer = site.client.post(SEARCH, content=content, headers={"Authorization": "Bearer alice"})
    assert refusal(answer)[0] == 400
