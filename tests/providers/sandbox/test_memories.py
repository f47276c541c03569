"""Tests the sandbox's Memories as a client of Memories' meets it, over real sockets."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from providers.sandbox import videos
from providers.sandbox.catalogue import SandboxPost
from providers.sandbox.meter import fingerprint
from providers.sandbox.multipart import Malformed, parts
from providers.sandbox.settings import SandboxSettings
from tests.providers.conftest import Site, sandbox_site

PUBLIC = "/memories/serve/api/v1/search_public_similar_images"
PRIVATE = "/memories/serve/api/v1/search_similar_images"


def file_of(picture: Image.Image, format: str = "JPEG") -> bytes:
    file = BytesIO()
    picture.save(file, format)
    return file.getvalue()


PICTURE = file_of(Image.new("RGB", (40, 40), "orange"))
FILE = ("picture.jpg", PICTURE, "image/jpeg")


def search(
    site: Site, path: str = PUBLIC, *, key: str | None = "alice", file: Any = FILE, **fields: str
) -> httpx.Response:
    headers = {} if key is None else {"Authorization": key}
    return site.client.post(path, data=fields, files={"file": file} if file else {"none": b""}, headers=headers)


def frames(answer: httpx.Response) -> list[dict[str, Any]]:
    body = answer.json()
    assert (answer.status_code, body["code"], body["msg"]) == (200, "0000", "success")
    assert (body["success"], body["failed"]) == (True, False)
    found: list[dict[str, Any]] = body["data"]
    return found


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert {"code", "msg", "data"} <= set(body)
    assert body["data"] is None
    return answer.status_code, body["code"]


def posted(site: Site, content_type: str = "video") -> SandboxPost:
    return next(post for post in site.sandbox.catalogue.posts if post.content_type == content_type)


def shown(site: Site, post: SandboxPost, format: str = "jpg") -> tuple[str, bytes, str]:
    picture = site.sandbox.catalogue.picture(post.id)
    assert picture
    kind = {"jpg": "JPEG"}.get(format, format.upper())
    return f"a.b.{format}", file_of(picture, kind), Image.MIME[kind]


# Finding


def test_a_posted_picture_finds_the_video_that_shows_it_by_its_likeness(site: Site) -> None:
    post = posted(site)
    found = frames(search(site, file=shown(site, post)))
    best = max(found, key=lambda frame: float(frame["score"]))
    [video] = [each for each in videos.public(site.sandbox.catalogue)["TIKTOK"] if each.number == best["videoNo"]]
    assert best["score"] > 0.96
    assert post.id in {shot.post_id for shot in video.shots}


def test_a_frame_has_the_fields_of_the_page(site: Site) -> None:
    found = frames(search(site, similarity="0"))
    assert all(set(frame) == {"videoNo", "videoName", "startTime", "endTime", "score"} for frame in found)
    assert all(frame["videoNo"].startswith("PI-") and frame["startTime"].isdigit() for frame in found)
    assert {frame["endTime"].isdigit() for frame in found} == {True, False}
    assert {frame["endTime"] for frame in found if not frame["endTime"].isdigit()} == {"null"}
    assert max(Counter(frame["videoNo"] for frame in found).values()) > 1


def test_frames_of_lower_similarity_are_left_out(site: Site) -> None:
    everything = frames(search(site, similarity="0"))
    scores = sorted(float(frame["score"]) for frame in everything)
    assert 0 <= scores[0] < 0.6 < 0.85 < scores[-1] <= 1
    for least in ("0.7", "0.85", "1"):
        found = frames(search(site, similarity=least))
        assert found == [frame for frame in everything if frame["score"] >= float(least)]
    assert frames(search(site)) == frames(search(site, similarity="0.85")) != []


def test_each_platform_has_videos_of_its_own_and_an_unknown_one_is_silently_the_default(site: Site) -> None:
    found = {
        platform: {frame["videoNo"] for frame in frames(search(site, similarity="0", type=platform))}
        for platform in ("TIKTOK", "YOUTUBE", "INSTAGRAM", "tiktok", "FACEBOOK")
    }
    assert found["TIKTOK"] == found["tiktok"] == found["FACEBOOK"]
    assert not found["TIKTOK"] & found["YOUTUBE"]
    assert not found["YOUTUBE"] & found["INSTAGRAM"]


def test_each_unique_id_has_a_library_of_its_own(site: Site) -> None:
    found = {
        name: {frame["videoNo"] for frame in frames(search(site, PRIVATE, similarity="0", unique_id=name))}
        for name in ("default", "Default", "shelf 2")
    }
    assert len(set.union(*found.values())) == 3 * videos.LIBRARY
    assert found["default"] == {frame["videoNo"] for frame in frames(search(site, PRIVATE, similarity="0"))}


def test_a_private_frame_has_no_end_and_fields_that_the_page_does_not_know(site: Site) -> None:
    for frame in frames(search(site, PRIVATE, similarity="0", type="YOUTUBE")):
        assert frame["videoNo"].startswith("VI-")
        assert "endTime" not in frame
        assert {"video_bucket", "video_blob", "keyframe_bucket", "keyframe_blob"} < set(frame)


def test_unique_id_has_no_effect_on_public_videos(site: Site) -> None:
    assert frames(search(site, unique_id="shelf 2")) == frames(search(site))


@pytest.mark.parametrize("format", ["jpg", "jpeg", "png", "gif", "bmp", "webp", "PNG"])
def test_every_format_of_the_page_is_accepted(site: Site, format: str) -> None:
    assert len(frames(search(site, file=shown(site, posted(site), format)))) >= 2


# Refusals


@pytest.mark.parametrize("key", [None, "", "Bearer alice"])
def test_a_call_without_the_key_alone_in_the_header_is_401(site: Site, key: str | None) -> None:
    for path in (PUBLIC, PRIVATE):
        assert refusal(search(site, path, key=key)) == (401, "0401")


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (None, "0001"),
        (("picture", PICTURE, "image/jpeg"), "0003"),
        (("picture.tiff", PICTURE, "image/tiff"), "0003"),
        (("picture.jpg", PICTURE, "application/octet-stream"), "0003"),
        (("picture.jpg", b"no picture", "image/jpeg"), "0003"),
        (("picture.jpg", PICTURE[:300], "image/jpeg"), "0003"),
        (("picture.png", PICTURE, "image/png"), "0003"),
        (("picture.jpg", PICTURE + bytes(20 * 1024 * 1024 + 1 - len(PICTURE)), "image/jpeg"), "0003"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else value,
)
def test_a_file_that_the_page_does_not_allow_is_refused_with_200(site: Site, file: Any, code: str) -> None:
    for path in (PUBLIC, PRIVATE):
        assert refusal(search(site, path, file=file)) == (200, code)


def test_a_picture_of_20_mb_is_accepted(site: Site) -> None:
    largest = PICTURE + bytes(20 * 1024 * 1024 - len(PICTURE))
    assert frames(search(site, file=("picture.jpg", largest, "image/jpeg"))) == frames(search(site))


@pytest.mark.parametrize("similarity", ["1.01", "-0.1", "nan", "high", ""])
def test_an_invalid_similarity_is_refused(site: Site, similarity: str) -> None:
    assert refusal(search(site, similarity=similarity)) == (200, "0001")


@pytest.mark.parametrize("content", [b"", b"{}", b"--x\r\n\r\n--x--"])
@pytest.mark.parametrize("media_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_body_that_is_no_form_is_refused(site: Site, content: bytes, media_type: str) -> None:
    headers = {"Authorization": "alice", "Content-Type": media_type}
    assert refusal(site.client.post(PUBLIC, content=content, headers=headers)) == (200, "0001")


def test_both_searches_are_under_one_limit_a_key() -> None:
    with sandbox_site(SandboxSettings(window=60, latency=0)) as site:
        assert frames(search(site))
        assert refusal(search(site, PRIVATE)) == (200, "0429")
        assert frames(search(site, PRIVATE, key="bob", similarity="0"))
        assert site.sandbox.stats()["memories"]["breaches"] == 1


def test_a_search_costs_a_credit_whatever_it_finds_and_an_error_costs_none() -> None:
    with sandbox_site(SandboxSettings(calls=1000, latency=0, credits=Decimal(2))) as site:
        assert frames(search(site, similarity="1")) == []
        assert refusal(search(site, similarity="2")) == (200, "0001")
        assert frames(search(site, PRIVATE, similarity="0"))
        assert refusal(search(site)) == (200, "0402")
        alice = site.sandbox.stats()["memories"]["keys"][fingerprint("alice")]
        assert (alice["calls"], alice["refusals"], alice["credits"]) == (4, 2, "2")


# Forms


def test_a_part_is_cut_out_to_the_byte() -> None:
    content = random.Random(7).randbytes(50_000) + b"\r\n--\r\n\n\r"
    request = httpx.Request(
        "POST", "http://x", data={"a": "1\r\n2 Ä"}, files={"f": ('q"uote.png', content, "image/png")}
    )
    found = parts(request.headers["content-type"], request.read())
    assert (found["a"].text, found["a"].filename, found["a"].media_type) == ("1\r\n2 Ä", None, "")
    assert (found["f"].content, found["f"].media_type) == (content, "image/png")
    assert (found["f"].filename or "").endswith(".png")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n--x--"),
        ("multipart/form-data", b"--x--"),
        ("multipart/mixed; boundary=x", b"--x--"),
        ("", b""),
    ],
)
def test_a_form_that_is_cut_off_or_nameless_is_malformed(content_type: str, body: bytes) -> None:
    with pytest.raises(Malformed):
        parts(content_type, body)
