"""Memories: videos in which a frame looks like the picture, public ones and those of the account's own library.

Both searches are documented: the private one takes no `type`, and its answer often has no `endTime`. An answer lists frames; a
video is one hit here, its frames the moments of it. Repeated breaches of their limit may suspend the key, say their pages.

Failures have a code and often come at HTTP 200: the code decides, the status where the code says nothing. Newer pages of
theirs write the same codes as numbers without the leading zero, so both are read. A search is paid by the call.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import httpx

from providers.adapters import reading
from providers.adapters.failures import Kind, Kinds, failure
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
    Hit,
    KeyForm,
    Picture,
    PictureLimits,
    PolicyDefaults,
    PriceDefaults,
    Question,
    Secret,
)
from providers.failures import BadCredential, Duplicate, Failure, Refused

if TYPE_CHECKING:
    from providers.http import ProviderClient, Reply
    from providers.limiter import Token

SUCCESS = "0000"
# They tell a picture by the extension of its name as well as by its type.
EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/bmp": "bmp"}
# "Max 20 MB" does not say of which: of the smaller ones it is right either way.
MOST_BYTES = 20_000_000
SECONDS = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")

KINDS = Kinds("Memories")
# The account and not the key is disabled, but no call with the key helps until it is mended: its lookups wait for that.
DISABLED: Kind = (
    BadCredential,
    "account_disabled",
    "The Memories account of this key is disabled: ask Memories why, or store another account's key.",
)
# It may be about this search alone, so the key's other lookups go on.
NOT_PERMITTED: Kind = (
    Refused,
    "permission_denied",
    "This key may not make this search at Memories: ask Memories for it, or use another key.",
)
# A search changes nothing there, so it can only repeat one that is still under way, and later it repeats none.
DUPLICATE: Kind = (
    Duplicate,
    "duplicate_request",
    "Memories took the search for a repetition of one that it still works on.",
)
BY_CODE: dict[str, Kind] = {
    "0001": KINDS.refused,
    "0003": KINDS.refused,
    "0401": KINDS.dead_key,
    "0402": KINDS.no_credits,
    "0403": DISABLED,
    "0409": DUPLICATE,
    "0429": KINDS.too_soon,
    "9009": NOT_PERMITTED,
}


class Videos(Adapter):
    """What the two searches share: all but the path, the platform and the parameters."""

    provider = "memories"
    result_type = "video"
    base_url = "https://api.memories.ai/serve/api"
    sandbox_path = "/memories/serve/api"
    picture_limits = PictureLimits(formats=("JPEG", "PNG", "WEBP", "GIF", "BMP"), max_bytes=MOST_BYTES)
    # No page size is sent: were videos priced by the result, a hold would be for so many.
    policy = PolicyDefaults(calls=1, window_ms=1000, guard_ms=Decimal(3), page_size=100, attempts=4)
    price = PriceDefaults(per_call=Decimal(1))
    default_limit = None
    max_results = None
    score_range = (0.0, 1.0)
    key_form = KeyForm(begins="sk-mavi-")
    caveats: ClassVar[tuple[str, ...]] = (
        "The price of 1 credit a call is an assumption: Memories' document names none. Operators set it.",
        "Memories gives no address of a video, and often no end of a moment.",
        "A video is found once Memories has processed it (state PARSE).",
    )
    path: ClassVar[str]

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"similarity": DEFAULT_SIMILARITY, "unique_id": DEFAULT_UNIQUE_ID, **parameters}

    @abstractmethod
    def platform(self, parameters: Mapping[str, Any]) -> str | None:
        """Where the videos are that these effective parameters ask for."""

    def ask(self, question: Question, *, secret: Secret, base_url: str, client: ProviderClient, token: Token) -> Answer:
        wanted = self.effective(question.parameters)
        platform = self.platform(wanted)
        url = f"{base_url.rstrip('/')}{self.path}"
        reply = client.send(_request(question.picture, wanted, platform, secret, url), token=token)
        body = reading.parse(reply.content, reply.headers.get("Content-Type", ""))
        envelope = body if isinstance(body, dict) else {}
        # What stands before their service answers in a form of its own: timestamp, path, status, error and requestId.
        given = reply.headers.get("x-request-id") or envelope.get("requestId")
        request_id = reading.request_id(given, secret.value)
        if not 200 <= reply.status < 300 or _says_it_failed(envelope):
            raise _failure(reply, envelope, secret, request_id)
        try:
            frames = _frames(body)
        except Unreadable as problem:
            kind, billed = KINDS.unreadable(str(problem)), _billed(envelope)
            raise failure(kind, reply, secret, billed_results=billed, request_id=request_id) from None
        found = reading.items(frames, lambda frame: frame.identity("videoNo"))
        return Answer(
            hits=_hits(found.known, platform),
            billed_results=len(frames),
            total=Fields(envelope).object("data").count("total"),
            last=True,
            status=reply.status,
            request_id=request_id,
            unreadable=len(found.others),
            excerpt=found.excerpt(secret.value),
        )


class PublicVideos(Videos):
    source = "public-videos"
    lag = "How far its public videos are behind is not documented."
    title = "Public videos on TikTok, YouTube or Instagram that show what the picture shows"
    parameters = PublicVideoParameters
    path = "/v1/search_public_similar_images"

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"platform": DEFAULT_PLATFORM, **super().effective(parameters)}

    def platform(self, parameters: Mapping[str, Any]) -> str | None:
        return str(parameters["platform"])

    def deciding(self, effective: Mapping[str, Any]) -> Mapping[str, Any]:
        """Without `unique_id`, which names a folder of the account's own library: it is sent, and changes nothing here."""
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

    def platform(self, parameters: Mapping[str, Any]) -> str | None:
        return None


def _request(
    picture: Picture, wanted: Mapping[str, Any], platform: str | None, secret: Secret, url: str
) -> httpx.Request:
    fields = {"unique_id": str(wanted["unique_id"]), "similarity": str(wanted["similarity"])}
    return httpx.Request(
        "POST",
        url,
        headers={"Authorization": secret.value},
        data=fields if platform is None else {"type": platform, **fields},
        files={"file": (f"picture.{EXTENSIONS[picture.media_type]}", picture.content, picture.media_type)},
    )


def _says_it_failed(envelope: Mapping[str, Any]) -> bool:
    """One that names no code at all says neither: it is for the reading to complain."""
    if envelope.get("success") is False or envelope.get("failed") is True:
        return True
    return _code(envelope) not in ("", SUCCESS)


def _code(envelope: Mapping[str, Any]) -> str:
    """As their document writes it: a number is the same without its leading zeros. Empty, where it is neither."""
    code = envelope.get("code")
    if code == "" or isinstance(code, bool) or not isinstance(code, str | int):
        return ""
    return str(code).zfill(len(SUCCESS))


def _failure(reply: Reply, envelope: Mapping[str, Any], secret: Secret, request_id: str) -> Failure:
    """By code first, by status second. One at HTTP 200 that nobody has heard of is no success either, and brought nothing."""
    kind = BY_CODE.get(_code(envelope)) or KINDS.by_status(reply.status)
    said = f"{envelope.get('code') or ''} {envelope.get('msg') or envelope.get('error') or ''}".strip()
    return failure(kind, reply, secret, said=said, request_id=request_id)


def _frames(body: Any) -> list[Any]:
    """One client saw an object around the document's list. What found nothing may be null."""
    if not isinstance(body, dict):
        raise Unreadable("it is not a JSON object")
    if _code(body) != SUCCESS and not _brought_frames(body):
        raise Unreadable("code is neither a text nor a number" if "code" in body else "code is missing")
    path, holder, name = _place_of_frames(body)
    frames = holder.get(name, ...)
    if frames is None:
        return []
    if not isinstance(frames, list):
        raise Unreadable(f"{path} is {'missing' if frames is ... else 'not a list'}")
    return frames


def _place_of_frames(envelope: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], str]:
    data = envelope.get("data")
    return ("data.results", data, "results") if isinstance(data, dict) else ("data", envelope, "data")


def _brought_frames(envelope: Mapping[str, Any]) -> bool:
    _, holder, name = _place_of_frames(envelope)
    return reading.brought_something(holder.get(name))


def _billed(envelope: Mapping[str, Any]) -> int | None:
    """What they took for a success they bill; where they didn't say whether it was one, nobody knows."""
    return 0 if _code(envelope) == SUCCESS else None


def _hits(frames: list[tuple[str, Fields]], platform: str | None) -> tuple[Hit, ...]:
    """A video each, the most alike first: the document's own example is not in that order."""
    videos: dict[str, list[Fields]] = {}
    for number, frame in frames:
        videos.setdefault(number, []).append(frame)
    hits = [_hit(number, of_it, platform) for number, of_it in videos.items()]
    return tuple(sorted(hits, key=lambda hit: _likeness(hit.score), reverse=True))


def _hit(video_no: str, frames: list[Fields], platform: str | None) -> Hit:
    names = [frame.text("videoName") for frame in frames]
    moments = sorted((_moment(frame) for frame in frames), key=lambda each: _likeness(each["score"]), reverse=True)
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


def _likeness(score: float | None) -> float:
    """To order by: what has no score comes last."""
    return -math.inf if score is None else score


def _seconds(frame: Fields, name: str) -> float | None:
    """A text of seconds, or a number; negative, or the text "null", where they know none."""
    text = frame.text(name) or ""
    seconds = float(text) if SECONDS.fullmatch(text) else frame.score(name)
    return None if seconds is None or seconds < 0 else seconds
