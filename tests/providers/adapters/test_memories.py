"""Tests the adapter for `public-videos` and `private-videos`: what it sends and what it reads, against answers recorded from
Memories' page and against the sandbox. Its failures are in `test_memories_failures`.
"""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from providers import registry
from providers.adapters.memories import PrivateVideos, PublicVideos, Videos
from providers.contract import Answer, Secret
from tests.providers.asking import answer_of, drawn, errors_of
from tests.providers.conftest import Provider, Site

PUBLIC, PRIVATE = PublicVideos(), PrivateVideos()
BOTH = pytest.mark.parametrize("adapter", [PUBLIC, PRIVATE], ids=["public", "private"])
SECRET = Secret(value="memories-key-of-alice")

# The document's own example.
FIRST: dict[str, Any] = {
    "videoNo": "PI-600947902470296459",
    "videoName": "Sample public video title",
    "startTime": "79",
    "endTime": "82",
    "score": 0.8631,
}
SECOND: dict[str, Any] = {
    "videoNo": "PI-600947902470296460",
    "videoName": "Another public video",
    "startTime": "32",
    "endTime": "35",
    "score": 0.8712,
}
ANSWER: dict[str, Any] = {
    "code": "0000",
    "msg": "success",
    "data": [FIRST, SECOND],
    "success": True,
    "failed": False,
}


def ask(url: str, adapter: Videos = PUBLIC, **question: Any) -> Answer:
    return answer_of(adapter, url, SECRET, **question)


def parts_of(provider: Provider) -> dict[str, Message]:
    """Returns the form as it arrived, read by a parser that neither the adapter nor the sandbox uses."""
    head = f"Content-Type: {provider.headers['CONTENT_TYPE']}\r\n\r\n".encode()
    form = message_from_bytes(head + provider.body)
    assert (form.get_content_type(), form.defects) == ("multipart/form-data", [])
    parts: Any = form.get_payload()
    return {part.get_param("name", header="content-disposition"): part for part in parts}


def fields_of(provider: Provider) -> dict[str, Any]:
    return {name: part.get_payload() for name, part in parts_of(provider).items() if name != "file"}


def frame(**changes: Any) -> dict[str, Any]:
    """Returns the example with changes. The value `...` removes a field."""
    return {name: value for name, value in (FIRST | changes).items() if value is not ...}


def moments_of(provider: Provider, *frames: dict[str, Any]) -> list[dict[str, Any]]:
    provider.answers(ANSWER | {"data": list(frames)})
    [hit] = ask(provider.url).hits
    moments: list[dict[str, Any]] = hit.detail["moments"]
    return moments


def test_the_registry_knows_both_sources_and_their_provider() -> None:
    assert isinstance(registry.adapter("public-videos"), PublicVideos)
    assert isinstance(registry.adapter("private-videos"), PrivateVideos)
    assert registry.PROVIDERS["memories"] is registry.ADAPTERS["public-videos"]
    assert PUBLIC.policy is PRIVATE.policy
    assert PUBLIC.picture_limits is PRIVATE.picture_limits


# Requests


def test_the_picture_arrives_as_a_file_with_extension_and_type(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(provider.url)
    assert b'name="file"; filename="picture.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + drawn() in provider.body
    file = parts_of(provider)["file"]
    assert (file.get_filename(), file.get_content_type()) == ("picture.jpg", "image/jpeg")
    assert int(provider.headers["CONTENT_LENGTH"]) == len(provider.body)


@pytest.mark.parametrize("format", PUBLIC.picture_limits.formats)
def test_every_format_has_its_extension(provider: Provider, format: str) -> None:
    provider.answers(ANSWER)
    ask(provider.url, picture=drawn(format), media_type=Image.MIME[format])
    file = parts_of(provider)["file"]
    assert file.get_filename() == f"picture.{format.lower().replace('jpeg', 'jpg')}"
    assert file.get_content_type() == Image.MIME[format]


def test_the_public_search_is_asked_with_every_parameter(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(f"{provider.url}/serve/api/", platform="YOUTUBE", similarity=0.5, unique_id="Team Ä")
    assert provider.headers["PATH_INFO"] == "/serve/api/v1/search_public_similar_images"
    assert 'name="unique_id"\r\n\r\nTeam Ä\r\n'.encode() in provider.body
    assert fields_of(provider) | {"unique_id": ...} == {"type": "YOUTUBE", "similarity": "0.5", "unique_id": ...}


def test_the_private_search_is_asked_without_a_type(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(f"{provider.url}/serve/api", PRIVATE, similarity=1, unique_id="Shelf 2")
    assert provider.headers["PATH_INFO"] == "/serve/api/v1/search_similar_images"
    assert fields_of(provider) == {"similarity": "1", "unique_id": "Shelf 2"}


def test_defaults_are_sent_and_not_left_to_memories(provider: Provider) -> None:
    provider.answers(ANSWER)
    ask(provider.url)
    assert fields_of(provider) == {"type": "TIKTOK", "similarity": "0.85", "unique_id": "default"}


@BOTH
def test_the_sandbox_accepts_the_largest_picture(site: Site, adapter: Videos) -> None:
    most = adapter.picture_limits.max_bytes
    padded = drawn() + bytes(most - len(drawn()))
    assert (len(padded), ask(f"{site.url}{adapter.sandbox_path}", adapter, picture=padded).status) == (20_000_000, 200)


@BOTH
def test_the_key_is_sent_without_bearer(provider: Provider, adapter: Videos) -> None:
    provider.answers(ANSWER)
    ask(provider.url, adapter)
    assert provider.headers["HTTP_AUTHORIZATION"] == SECRET.value


# Answers


def test_the_documents_example_is_read_field_by_field(provider: Provider) -> None:
    provider.answers(ANSWER, headers={"X-Request-Id": "r-17"})
    answer = ask(provider.url)
    assert (answer.billed_results, answer.total, answer.last) == (2, None, True)
    assert (answer.status, answer.request_id) == (200, "r-17")
    another, sample = answer.hits
    assert (sample.type, sample.external_id, sample.title) == ("video", FIRST["videoNo"], FIRST["videoName"])
    assert (sample.score, sample.url, sample.image_url) == (0.8631, None, None)
    assert sample.detail == {
        "video_no": "PI-600947902470296459",
        "name": "Sample public video title",
        "platform": "TIKTOK",
        "moments": [{"start_seconds": 79, "end_seconds": 82, "score": 0.8631}],
    }
    assert sample.raw == {"frames": [FIRST]}
    # The best frame is the second in the example, which is not in the order of the scores.
    assert (another.external_id, another.score) == ("PI-600947902470296460", 0.8712)


def test_the_platform_is_the_one_that_was_asked_and_of_private_videos_unknown(provider: Provider) -> None:
    provider.answers(ANSWER)
    assert ask(provider.url, platform="INSTAGRAM").hits[0].detail["platform"] == "INSTAGRAM"
    assert ask(provider.url, PRIVATE).hits[0].detail["platform"] is None


def test_frames_of_one_video_are_one_hit_with_the_best_moment_first(provider: Provider) -> None:
    low, best, middle = (frame(startTime=str(at), score=score) for at, score in ((10, 0.86), (20, 0.99), (30, 0.9)))
    provider.answers(ANSWER | {"data": [low, SECOND, best, middle]})
    answer = ask(provider.url)
    assert [hit.external_id for hit in answer.hits] == [FIRST["videoNo"], SECOND["videoNo"]]
    video = answer.hits[0]
    assert video.score == 0.99
    assert [(each["start_seconds"], each["score"]) for each in video.detail["moments"]] == [
        (20, 0.99),
        (30, 0.9),
        (10, 0.86),
    ]
    assert video.raw == {"frames": [low, best, middle]}
    # Memories lists frames, so it would bill frames.
    assert answer.billed_results == 4


def test_equal_scores_keep_their_order(provider: Provider) -> None:
    provider.answers(ANSWER | {"data": [frame(videoNo=f"PI-{number}", score=0.9) for number in range(9)]})
    assert [hit.external_id for hit in ask(provider.url).hits] == [f"PI-{number}" for number in range(9)]


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ("79", 79),
        ("0", 0),
        ("79.25", 79.25),
        (79, 79),
        (79.5, 79.5),
        ("null", None),
        (None, None),
        ("", None),
        (..., None),
        (-1, None),
        ("-1", None),
    ],
)
def test_seconds_are_texts_and_may_be_unknown(provider: Provider, sent: Any, seconds: float | None) -> None:
    [moment] = moments_of(provider, frame(startTime=sent, endTime="82"))
    assert moment == {"start_seconds": seconds, "end_seconds": 82, "score": 0.8631}
    [moment] = moments_of(provider, frame(endTime=sent))
    assert moment == {"start_seconds": 79, "end_seconds": seconds, "score": 0.8631}


def test_a_frame_without_a_score_comes_last(provider: Provider) -> None:
    unscored = frame(score=...)
    assert [each["score"] for each in moments_of(provider, unscored, FIRST)] == [0.8631, None]
    provider.answers(ANSWER | {"data": [unscored, SECOND]})
    assert [hit.score for hit in ask(provider.url).hits] == [0.8712, None]


@pytest.mark.parametrize("nameless", [..., None, ""])
def test_a_video_without_a_name_is_titled_by_its_number(provider: Provider, nameless: Any) -> None:
    provider.answers(ANSWER | {"data": [frame(videoName=nameless)]})
    [hit] = ask(provider.url).hits
    assert (hit.title, hit.detail["name"]) == (FIRST["videoNo"], None)


def test_a_name_that_one_frame_has_is_the_videos(provider: Provider) -> None:
    provider.answers(ANSWER | {"data": [frame(videoName=None), FIRST]})
    assert ask(provider.url).hits[0].title == FIRST["videoName"]


def test_newer_fields_stay_in_raw(provider: Provider) -> None:
    newer = frame(endTime=..., video_bucket="b", video_blob="v.mp4", keyframe_bucket="b", keyframe_blob=None, score=1)
    provider.answers(ANSWER | {"data": [newer]})
    [hit] = ask(provider.url, PRIVATE).hits
    assert hit.raw == {"frames": [newer]}
    assert set(hit.detail) == {"video_no", "name", "platform", "moments"}


@BOTH
def test_an_object_around_the_list_is_read_as_well(provider: Provider, adapter: Videos) -> None:
    provider.answers(ANSWER | {"data": {"results": [FIRST, SECOND], "total": 7}})
    answer = ask(provider.url, adapter)
    assert (len(answer.hits), answer.billed_results, answer.total, answer.last) == (2, 2, 7, True)


@pytest.mark.parametrize("total", [..., None, "7", -1, 1.5, {}])
def test_a_total_that_is_not_a_count_is_left_out(provider: Provider, total: Any) -> None:
    provider.answers(ANSWER | {"data": {"results": [FIRST]} | ({} if total is ... else {"total": total})})
    answer = ask(provider.url)
    assert (len(answer.hits), answer.total) == (1, None)


@pytest.mark.parametrize("data", [[], None, {"results": []}, {"results": None, "total": 0}])
def test_nothing_found_is_an_empty_answer(provider: Provider, data: Any) -> None:
    provider.answers(ANSWER | {"data": data})
    answer = ask(provider.url)
    assert (answer.hits, answer.billed_results, answer.last) == ((), 0, True)


@pytest.mark.parametrize("left_out", ["msg", "success", "failed"])
def test_a_success_need_not_say_more_than_its_code(provider: Provider, left_out: str) -> None:
    provider.answers({name: value for name, value in ANSWER.items() if name != left_out})
    assert len(ask(provider.url).hits) == 2


# Parameters


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ({"platform": "tiktok"}, "platform", 'one of "TIKTOK", "YOUTUBE", "INSTAGRAM"'),
        ({"platform": "FACEBOOK"}, "platform", "one of"),
        ({"platform": None}, "platform", "null"),
        ({"type": "TIKTOK"}, "type", "Unknown field; known here: platform, similarity, unique_id."),
        ({"similarity": 1.01}, "similarity", "less than or equal to 1"),
        ({"similarity": -0.1}, "similarity", "greater than or equal to 0"),
        ({"similarity": "0.85"}, "similarity", "number, without quotes"),
        ({"similarity": True}, "similarity", "number"),
        ({"similarity": float("nan")}, "similarity", "number"),
        ({"unique_id": ""}, "unique_id", "blank"),
        ({"unique_id": " default"}, "unique_id", "begin nor end with a space"),
        ({"unique_id": "default\n"}, "unique_id", "line break"),
        ({"unique_id": "a\nb"}, "unique_id", "line break"),
        ({"unique_id": "a" * 256}, "unique_id", "no more than 255"),
        ({"unique_id": 7}, "unique_id", "text in quotes"),
    ],
)
def test_bad_parameters_are_refused_by_name_and_with_a_hint(parameters: dict[str, Any], field: str, says: str) -> None:
    problem = errors_of(PUBLIC, parameters)
    assert set(problem) == {field}
    assert says in problem[field][0]


@pytest.mark.parametrize("similarity", [0, 0.0, 0.85, 1, 1.0])
def test_the_bounds_of_similarity_belong_to_it(similarity: float) -> None:
    assert errors_of(PRIVATE, {"similarity": similarity}) == {}


def test_private_videos_have_no_platform() -> None:
    assert set(errors_of(PRIVATE, {"platform": "TIKTOK"})) == {"platform"}
    assert errors_of(PRIVATE, {"similarity": 0.5, "unique_id": "Shelf 2"}) == {}


def test_effective_parameters_show_the_defaults_that_hold() -> None:
    assert PUBLIC.effective({}) == {"platform": "TIKTOK", "similarity": 0.85, "unique_id": "default"}
    assert PRIVATE.effective({}) == {"similarity": 0.85, "unique_id": "default"}
    given = {"platform": "YOUTUBE", "similarity": 0.0, "unique_id": "Default"}
    assert PUBLIC.effective(given) == given


# Against the sandbox


def sandbox(site: Site, adapter: Videos, **parameters: Any) -> Answer:
    """Asks with a picture that a creator of the sandbox posted as a video."""
    post = next(post for post in site.sandbox.catalogue.posts if post.content_type == "video")
    file = BytesIO()
    picture = site.sandbox.catalogue.picture(post.id)
    assert picture
    picture.save(file, "JPEG")
    return ask(f"{site.url}{adapter.sandbox_path}", adapter, picture=file.getvalue(), **parameters)


@BOTH
def test_the_adapter_reads_the_answer_of_the_sandbox(site: Site, adapter: Videos) -> None:
    answer = sandbox(site, adapter, similarity=0.0)
    scores = [hit.score or 0 for hit in answer.hits]
    assert len(answer.hits) > 100
    assert scores == sorted(scores, reverse=True)
    assert answer.billed_results > len(answer.hits)
    moments = [moment for hit in answer.hits for moment in hit.detail["moments"]]
    assert all(moment["start_seconds"] >= 0 and 0 <= moment["score"] <= 1 for moment in moments)
    assert None in [moment["end_seconds"] for moment in moments]


def test_a_video_of_the_sandbox_that_shows_the_picture_twice_has_two_moments(site: Site) -> None:
    first = sandbox(site, PUBLIC).hits[0]
    start, again = first.detail["moments"][:2]
    assert first.score == start["score"] == again["score"] > 0.95
    assert start["end_seconds"] <= again["start_seconds"]


@pytest.mark.parametrize("parameters", [{"platform": "YOUTUBE"}, {"platform": "INSTAGRAM"}, {"similarity": 0.95}])
def test_the_sandbox_accepts_every_parameter(site: Site, parameters: dict[str, Any]) -> None:
    answer = sandbox(site, PUBLIC, **parameters)
    assert {hit.detail["platform"] for hit in answer.hits} <= {parameters.get("platform", "TIKTOK")}
    assert min(hit.score or 0 for hit in answer.hits) >= parameters.get("similarity", 0.85)


def test_a_folder_of_ones_own_library_decides_nothing_about_public_videos() -> None:
    one, other = ({"similarity": 0.5, "unique_id": name, "platform": "TIKTOK"} for name in ("a", "b"))
    assert PUBLIC.deciding(one) == PUBLIC.deciding(other) == {"similarity": 0.5, "platform": "TIKTOK"}
    assert PRIVATE.deciding(one) != PRIVATE.deciding(other)
