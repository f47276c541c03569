"""Memories: videos in which a frame looks like the picture, public ones and those of the account's own library.

Its document describes the public search and only names the private one, whose form and answer are inferred to be the
same, without `type`. An answer lists frames; a video is one hit here, its frames the moments of it.

Failures have a code and often come at HTTP 200: the code decides, the status where the code says nothing. Newer pages of
theirs write the same codes as numbers without the leading zero, so both are read. A search is paid by the call.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx

from providers.adapters import reading
from providers.adapters.memories_parameters import (
    DEFAULT_PLATFORM,
    DEFAULT_SIMILARITY,
    DEFAULT_UNIQUE_ID,
    PublicVideoParameters,
    VideoParameters,
)
from providers.adapters.reading import Fields, Unreadable
from providers.contract import (
    Adapter,
    Answer,
    BadCredential,
    Exhausted,
    Failure,
    Faulty,
    Garbled,
    Hit,
    PictureLimits,
    PolicyDefaults,
    PriceDefaults,
    Question,
    Refused,
    Secret,
    Throttled,
)

if TYPE_CHECKING:
    from providers.http import Door, Reply
    from providers.limiter import Token

# What a failure is, our code for it, and what the tenant is told.
Kind = tuple[type[Failure], str, str]

SUCCESS = "0000"
# They tell a picture by its name's extension as well as by its type.
EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/webp": "webp",
}
SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")

DEAD_KEY = (BadCredential, "credential_invalid", "Memories does not accept this key: store one that it accepts.")
# The account and not the key is disabled, but no call with the key helps until it is mended: the lookups wait for it.
DISABLED = (
    BadCredential,
    "account_disabled",
    "The Memories account of this key is disabled: ask Memories why, or store another account's key.",
)
NO_CREDITS = (
    Exhausted,
    "credential_exhausted",
    "The Memories account of this key has no credits left: add some there.",
)
REFUSED = (Refused, "refused", "Memories refused the request: it cannot be answered as it is.")
# It may be about this search alone, so the key's other searches go on.
NOT_PERMITTED = (
    Refused,
    "permission_denied",
    "This key may not make this search at Memories: ask Memories for it, or use another key.",
)
TOO_SOON = (Throttled, "rate_limited", "Memories asked to wait.")
THEIR_FAULT = (Faulty, "provider_error", "Memories could not answer for the moment.")
# A search changes nothing, so it can only repeat one that is still under way there, and later it repeats none.
DUPLICATE = (Faulty, "duplicate_request", "Memories took the search for a repetition of one that it still works on.")
UNREADABLE = (Garbled, "unreadable_answer", "Memories' answer cannot be read.")
BY_CODE: dict[str, Kind] = {
    "0001": REFUSED,
    "0003": REFUSED,
    "0401": DEAD_KEY,
    "0402": NO_CREDITS,
    "0403": DISABLED,
    "0409": DUPLICATE,
    "0429": TOO_SOON,
    "9009": NOT_PERMITTED,
}
BY_STATUS: dict[int, Kind] = {401: DEAD_KEY, 402: NO_CREDITS, 408: THEIR_FAULT, 409: DUPLICATE, 429: TOO_SOON}


class Videos(Adapter):
    """What the two searches share: all but the path, the platform and the parameters."""

    provider = "memories"
    result_type = "video"
    base_url_setting = "MEMORIES_BASE_URL"
    sandbox_path = "/memories/serve/api"
    picture_limits = PictureLimits(formats=("JPEG", "PNG", "WEBP", "GIF", "BMP"), max_bytes=20 * 1024 * 1024)
    # No page size is sent: were videos priced by the result, a hold would be for so many.
    policy = PolicyDefaults(calls=1, window_ms=1000, guard_ms=Decimal(3), page_size=100, attempts=4)
    price = PriceDefaults(per_call=Decimal(1))
    default_limit = None
    max_results = None
    paged = False
    score_range = (0.0, 1.0)
    caveats: tuple[str, ...] = (
        "The price of 1 credit a call is an assumption: Memories' document names none. Operators set it.",
        "Memories gives no address of a video, and often no end of a moment.",
    )
    path: str

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"similarity": DEFAULT_SIMILARITY, "unique_id": DEFAULT_UNIQUE_ID, **parameters}

    @abstractmethod
    def platform(self, parameters: Mapping[str, Any]) -> str | None:
        """Where the videos are that these effective parameters ask for."""

    def ask(self, question: Question, *, secret: Secret, base_url: str, door: Door, token: Token) -> Answer:
        wanted = self.effective(question.parameters)
        platform = self.platform(wanted)
        reply = door.send(
            _request(question, wanted, platform, secret, f"{base_url.rstrip('/')}{self.path}"), token=token
        )
        about = {"status": reply.status, "request_id": reply.headers.get("x-request-id", "")}
        body = reading.parse(reply.content)
        envelope = body if isinstance(body, dict) else {}
        if not 200 <= reply.status < 300 or _says_it_failed(envelope):
            raise _failure(reply, envelope, secret, about)
        try:
            return _answer(Fields(body), platform, about)
        except Unreadable as problem:
            raise Garbled(
                "unreadable_answer",
                f"Memories' answer cannot be read: {problem}.",
                excerpt=reading.excerpt(reply.content, secret.value),
                billed_results=_billed(envelope),
                **about,
            ) from None


class PublicVideos(Videos):
    source = "public-videos"
    title = "Public videos on TikTok, YouTube or Instagram that show what the picture shows"
    parameters = PublicVideoParameters
    path = "/v1/search_public_similar_images"

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"platform": DEFAULT_PLATFORM, **super().effective(parameters)}

    def platform(self, parameters: Mapping[str, Any]) -> str | None:
        return str(parameters["platform"])


class PrivateVideos(Videos):
    source = "private-videos"
    title = "Videos of your own Memories library that show what the picture shows"
    parameters = VideoParameters
    path = "/v1/search_similar_images"
    caveats = (
        *Videos.caveats,
        "Memories' document names this search without describing it: what is sent and read is inferred from the public one.",
    )

    def platform(self, parameters: Mapping[str, Any]) -> str | None:
        return None


def _request(
    question: Question, wanted: Mapping[str, Any], platform: str | None, secret: Secret, url: str
) -> httpx.Request:
    picture = question.picture
    fields = {"unique_id": str(wanted["unique_id"]), "similarity": str(wanted["similarity"])}
    return httpx.Request(
        "POST",
        url,
        headers={"Authorization": secret.value},
        data=fields if platform is None else {"type": platform, **fields},
        files={"file": (f"picture.{EXTENSIONS[picture.media_type]}", picture.content, picture.media_type)},
    )


def _says_it_failed(envelope: Mapping[str, Any]) -> bool:
    """An envelope without any code says neither: that is for the reading."""
    if envelope.get("success") is False or envelope.get("failed") is True:
        return True
    return envelope.get("code") not in (None, "", SUCCESS)


def _failure(reply: Reply, envelope: Mapping[str, Any], secret: Secret, about: dict[str, Any]) -> Failure:
    """By code first, by status second."""
    code = str(envelope.get("code") or "")
    kind, name, detail = BY_CODE.get(code.zfill(4)) or _by_status(reply.status)
    said = reading.excerpt(f"{code} {envelope.get('msg') or ''}".strip(), secret.value)[:200]
    detail = f'{detail} It answered {reply.status}: "{said}".' if said else f"{detail} It answered {reply.status}."
    if kind is Throttled:
        return Throttled(name, detail, retry_after=reading.retry_after(reply.headers), **about)
    if kind is Garbled:
        return Garbled(name, detail, excerpt=reading.excerpt(reply.content, secret.value), **about)
    return kind(name, detail, **about)


def _by_status(status: int) -> Kind:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status >= 500:
        return THEIR_FAULT
    # A success by its status that says by its envelope that it failed, for a reason that we don't know, is no success.
    return UNREADABLE if 300 <= status < 400 else REFUSED


def _answer(envelope: Fields, platform: str | None, about: dict[str, Any]) -> Answer:
    if envelope.text("code") != SUCCESS:
        raise Unreadable("code is empty")
    found = envelope.value
    # A list by the document. One client saw an object around it, and what is empty may be null.
    total = None
    if isinstance(found.get("data"), dict):
        found = found["data"]
        envelope, total = Fields(found, "data"), Fields(found, strict=False).count("total")
    name = "results" if envelope.path else "data"
    frames = [] if name in found and found[name] is None else envelope.objects(name)
    hits = _hits(frames, platform)
    return Answer(hits=hits, billed_results=len(frames), total=total, last=True, **about)


def _billed(envelope: Mapping[str, Any]) -> int | None:
    """What they took for a success they bill; where they didn't say whether it was one, nobody knows."""
    if envelope.get("code") != SUCCESS:
        return None
    data = envelope.get("data")
    frames = data.get("results") if isinstance(data, dict) else data
    return len(frames) if isinstance(frames, list) else 0


def _hits(frames: list[Fields], platform: str | None) -> tuple[Hit, ...]:
    """A video each, the most alike first: the document's own example is not in that order."""
    videos: dict[str, list[Fields]] = {}
    for frame in frames:
        videos.setdefault(frame.text("videoNo"), []).append(frame)
    hits = [_hit(number, of_it, platform) for number, of_it in videos.items()]
    return tuple(sorted(hits, key=lambda hit: -(hit.score or 0)))


def _hit(video_no: str, frames: list[Fields], platform: str | None) -> Hit:
    names = [frame.text("videoName", instead="") for frame in frames]
    moments = sorted((_moment(frame) for frame in frames), key=lambda moment: -moment["score"])
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
        "score": frame.number("score"),
    }


def _seconds(frame: Fields, name: str) -> float | None:
    """A text of seconds; missing, null, or the text "null" where they know none."""
    value = frame.value.get(name)
    if value is None or value in ("", "null"):
        return None
    if isinstance(value, str) and SECONDS.fullmatch(value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise Unreadable(f"{frame.path}.{name} is not a text of seconds")
