"""Searches Memories for videos in which a frame looks like the picture: public videos, and those of the account's own library.

The private search takes no `type`, and its answer often has no `endTime`. An answer lists frames. Here a video is one hit,
and its frames are the moments of the hit. Memories' pages say that repeated breaches of the limit may suspend the key.

Failures have a code and often come with HTTP 200. The code decides, and the status only if there is no known code. Newer
pages write the same codes as numbers without the leading zero, so both forms are read. A search is billed by the call.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import httpx
from django.core.validators import RegexValidator

from accounts.web.strict_fields import StrictChoice, StrictNumber, StrictSerializer, StrictText
from providers.adapters.failure_kinds import FailureKind, FailureKinds
from providers.adapters.fields import Fields, has_objects, items
from providers.adapters.replies import ParsedReply
from providers.contract import Access, Adapter, Answer, Hit, PictureLimits, PolicyDefaults, PriceDefaults, Question
from providers.failures import BadCredential, Duplicate, Failure, Refused

DEFAULT_PLATFORM = "TIKTOK"
DEFAULT_SIMILARITY = 0.85
DEFAULT_UNIQUE_ID = "default"

SUCCESS = "0000"
# Memories looks at the extension of a file's name as well as at its type.
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/bmp": "bmp"}
# The page says "Max 20 MB", and not whether MB or MiB. The smaller one is right in both cases.
MOST_BYTES = 20_000_000
SECONDS = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")

KINDS = FailureKinds("Memories")
# The account is disabled and not the key. No call with the key succeeds until the account is enabled, so its lookups wait.
DISABLED = FailureKind(
    BadCredential,
    "account_disabled",
    "The Memories account of this key is disabled: ask Memories why, or store another account's key.",
)
# The code may concern this search alone, so the key's other lookups continue.
NOT_PERMITTED = FailureKind(
    Refused,
    "permission_denied",
    "This key may not make this search at Memories: ask Memories for it, or use another key.",
)
# A search changes nothing at Memories, so it can only be a duplicate of one that is still under way. A later try is none.
DUPLICATE = FailureKind(
    Duplicate,
    "duplicate_request",
    "Memories took the search for a repetition of one that it still works on.",
)
BY_CODE: dict[str, FailureKind] = {
    "0001": KINDS.refused,
    "0003": KINDS.refused,
    "0401": KINDS.dead_key,
    "0402": KINDS.no_credits,
    "0403": DISABLED,
    "0409": DUPLICATE,
    "0429": KINDS.too_soon,
    "9009": NOT_PERMITTED,
}


class VideoParameters(StrictSerializer):
    """The filters of videos."""

    similarity = StrictNumber(
        required=False,
        min_value=0,
        max_value=1,
        help_text=f"Frames with a lower score are left out. The default is {DEFAULT_SIMILARITY}.",
    )
    unique_id = StrictText(
        required=False,
        max_length=255,
        trim_whitespace=False,
        validators=[
            RegexValidator(r"\A\S(.*\S)?\Z", "Must neither begin nor end with a space, nor hold a line break."),
        ],
        help_text=f"Names a part of your Memories library, case-sensitively. The default is "
        f'"{DEFAULT_UNIQUE_ID}". It does not affect a search for public videos, and does not make it another question.',
    )


class PublicVideoParameters(VideoParameters):
    """The filters of videos of the platforms."""

    # Memories would silently search another platform in place of an unknown one.
    platform = StrictChoice(
        ("TIKTOK", "YOUTUBE", "INSTAGRAM"),
        required=False,
        help_text=f"The platform whose videos are searched. The default is {DEFAULT_PLATFORM}.",
    )


class Videos(Adapter):
    """The common part of the two searches. A subclass adds the path and the parameters."""

    provider = "memories"
    result_type = "video"
    base_url = "https://api.memories.ai/serve/api"
    sandbox_path = "/memories/serve/api"
    picture_limits = PictureLimits(formats=("JPEG", "PNG", "WEBP", "GIF", "BMP"), max_bytes=MOST_BYTES)
    # No page size is sent. If operators set a price a result, a hold is for this many results.
    policy = PolicyDefaults(calls=1, window_ms=1000, guard_ms=Decimal(3), page_size=100, attempts=4)
    price = PriceDefaults(per_call=Decimal(1))
    default_limit = None
    max_results = None
    score_range = (0.0, 1.0)
    key_prefix = "sk-mavi-"
    caveats: ClassVar[tuple[str, ...]] = (
        "The price of 1 credit a call is an assumption: Memories' document names none. Operators set it.",
        "Memories gives no address of a video, and often no end of a moment.",
        "A video is found once Memories has processed it (state PARSE).",
    )
    path: ClassVar[str]

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"similarity": DEFAULT_SIMILARITY, "unique_id": DEFAULT_UNIQUE_ID, **parameters}

    def ask(self, question: Question, access: Access) -> Answer:
        wanted = self.effective(question.parameters)
        reply = ParsedReply.to(_request(question, wanted, access, self.path), access)
        if not reply.has_success_status or _is_failure(reply.envelope):
            raise _failure(reply)
        found = items(_frames(reply), lambda frame: frame.identity("videoNo"))
        total = Fields(reply.envelope).object("data").count("total")
        return reply.answer(found, _hits(found.known, wanted.get("platform")), total=total, last=True)


class PublicVideos(Videos):
    source = "public-videos"
    lag = "How far its public videos are behind is not documented."
    title = "Public videos on TikTok, YouTube or Instagram that show what the picture shows"
    parameters = PublicVideoParameters
    path = "/v1/search_public_similar_images"

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"platform": DEFAULT_PLATFORM, **super().effective(parameters)}

    def deciding(self, effective: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leaves out `unique_id`: it names a folder of the account's own library, and does not change a search for public
        videos.
        """
        return {name: value for name, value in effective.items() if name != "unique_id"}


class PrivateVideos(Videos):
    source = "private-videos"
    title = "Videos of your own Memories library that show what the picture shows"
    parameters = VideoParameters
    path = "/v1/search_similar_images"
    own_library = True
    lag = "A video is found as soon as Memories has processed it (state PARSE); nothing else is documented."
    caveats = (
        *Videos.caveats,
        "A unique_id that does not exist finds nothing, and Memories does not say that it does not exist.",
    )


def _request(question: Question, wanted: Mapping[str, Any], access: Access, path: str) -> httpx.Request:
    """Returns the request. Only a search for public videos names a platform."""
    picture = question.picture
    fields = {"unique_id": str(wanted["unique_id"]), "similarity": str(wanted["similarity"])}
    return httpx.Request(
        "POST",
        access.url(path),
        headers={"Authorization": access.secret.value},
        data={"type": wanted["platform"], **fields} if "platform" in wanted else fields,
        files={"file": (f"picture.{EXTENSIONS[picture.media_type]}", picture.content, picture.media_type)},
    )


def _is_failure(envelope: Mapping[str, Any]) -> bool:
    """Returns whether an envelope reports a failure. One without a code reports nothing, and is unreadable."""
    if envelope.get("success") is False or envelope.get("failed") is True:
        return True
    return _code(envelope) not in ("", SUCCESS)


def _code(envelope: Mapping[str, Any]) -> str:
    """Returns the code as the document writes it, with leading zeros; empty if it is neither a text nor a number."""
    code = envelope.get("code")
    if code == "" or isinstance(code, bool) or not isinstance(code, str | int):
        return ""
    return str(code).zfill(len(SUCCESS))


def _failure(reply: ParsedReply) -> Failure:
    """Classifies by the code, or else by the status. An unknown code with HTTP 200 is a failure too.

    Memories' gateway answers in another form: timestamp, path, status, error and requestId.
    """
    envelope = reply.envelope
    kind = BY_CODE.get(_code(envelope)) or KINDS.by_status(reply.status)
    message = f"{envelope.get('code') or ''} {envelope.get('msg') or envelope.get('error') or ''}".strip()
    return reply.failure(kind, message=message)


def _frames(reply: ParsedReply) -> list[Any]:
    """Returns the listed frames. The list may be inside an object, as one client saw, and null if nothing was found."""
    if not isinstance(reply.body, dict):
        raise _unreadable(reply, "it is not a JSON object")
    data = reply.body.get("data", ...)
    path, frames = ("data.results", data.get("results", ...)) if isinstance(data, dict) else ("data", data)
    if _code(reply.body) != SUCCESS and not has_objects(frames):
        raise _unreadable(reply, "code is neither a text nor a number" if "code" in reply.body else "code is missing")
    if frames is None:
        return []
    if not isinstance(frames, list):
        raise _unreadable(reply, f"{path} is {'missing' if frames is ... else 'not a list'}")
    return frames


def _unreadable(reply: ParsedReply, problem: str) -> Failure:
    """Returns the failure of an unreadable answer. It bills no results if its code says success, which bills the call itself.
    Without such a code the bill is unknown.
    """
    billed = 0 if _code(reply.envelope) == SUCCESS else None
    return reply.failure(KINDS.unreadable(problem), billed_results=billed)


def _hits(frames: list[tuple[str, Fields]], platform: str | None) -> tuple[Hit, ...]:
    """Returns a hit for each video, the most similar first. The document's own example is not in that order."""
    videos: dict[str, list[Fields]] = {}
    for number, frame in frames:
        videos.setdefault(number, []).append(frame)
    hits = [_hit(number, own, platform) for number, own in videos.items()]
    return tuple(sorted(hits, key=lambda hit: _rank(hit.score), reverse=True))


def _hit(video_no: str, frames: list[Fields], platform: str | None) -> Hit:
    names = [frame.text("videoName") for frame in frames]
    moments = sorted((_moment(frame) for frame in frames), key=lambda each: _rank(each["score"]), reverse=True)
    name = next(filter(None, names), None)
    return Hit(
        type="video",
        external_id=video_no,
        title=name or video_no,
        score=moments[0]["score"],
        detail={"video_no": video_no, "name": name, "platform": platform, "moments": moments},
        raw={"frames": [frame.value for frame in frames]},
    )


def _moment(frame: Fields) -> dict[str, Any]:
    return {
        "start_seconds": _seconds(frame, "startTime"),
        "end_seconds": _seconds(frame, "endTime"),
        "score": frame.score("score"),
    }


def _rank(score: float | None) -> float:
    """Returns the value to sort by. A missing score is last."""
    return -math.inf if score is None else score


def _seconds(frame: Fields, name: str) -> float | None:
    """Returns seconds, which come as a text or a number; None if they are negative or the text "null"."""
    text = frame.text(name) or ""
    seconds = float(text) if SECONDS.fullmatch(text) else frame.score(name)
    return None if seconds is None or seconds < 0 else seconds
