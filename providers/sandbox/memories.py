"""Plays Memories' two searches for videos by a picture, as their pages describe them. The private search takes no `type`.

Other pages and Memories' own clients add these facts. Failures come with HTTP 200, unless the request has no key, and not all
of them have `success` and `failed`. Seconds are texts, sometimes the text "null". An unknown `type` is silently taken for the
default. Results of the private search have no `endTime`, and have fields that the page does not list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from PIL import Image

from providers.sandbox import videos
from providers.sandbox.catalogue import Catalogue
from providers.sandbox.multipart import Malformed, Part, parts
from providers.sandbox.played_provider import Address, BilledResponse, ErrorResponse, PlayedProvider, Search
from providers.sandbox.settings import SandboxSettings
from providers.sandbox.similarity import NotAPicture, decode, describe
from providers.sandbox.videos import SandboxVideo, Shot
from providers.sandbox.wsgi import Request, Response

PRICE = Decimal(1)
MOST_BYTES = 20 * 1024 * 1024
FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP"}
DEFAULT_TYPE, DEFAULT_UNIQUE_ID, DEFAULT_SIMILARITY = "TIKTOK", "default", "0.85"
# The distance at which two pictures score 0. With it a retouched copy scores 0.9, the next best 0.85, most others 0.7.
UNLIKE = 160
# Only these two codes come with `success` and `failed`.
SAID = {"0000": {"success": True, "failed": False}, "0401": {"success": False, "failed": True}}

Form = Mapping[str, Part]


class Memories(PlayedProvider):
    name = "memories"
    path = "/memories/serve/api"

    def __init__(self, catalogue: Catalogue, settings: SandboxSettings) -> None:
        super().__init__(catalogue, settings)
        self.public = videos.public(catalogue)

    def searches(self) -> Mapping[Address, Search]:
        return {
            ("POST", "/v1/search_public_similar_images"): self.search_public,
            ("POST", "/v1/search_similar_images"): self.search_private,
        }

    def sent_key(self, request: Request) -> str | None:
        """Returns the key, which the header has without a scheme before it."""
        key = request.authorization.strip()
        return key if key and " " not in key else None

    def rejected(self, key: str | None) -> ErrorResponse:
        return _error("0401", "Authorization is invalid or incorrect.", status=401 if key is None else 200)

    def no_credits(self) -> ErrorResponse:
        return _error("0402", "You don't have enough points.")

    def too_many_requests(self) -> ErrorResponse:
        return _error("0429", "Request is too busy.")

    def internal_error(self) -> ErrorResponse:
        return _error("9999", "Internal error.", status=500)

    def nothing_found(self) -> BilledResponse:
        return _success([])

    def search_public(self, key: str, request: Request) -> BilledResponse:
        form = _form(request)
        searched = self.public.get(_text(form, "type", DEFAULT_TYPE), self.public[DEFAULT_TYPE])
        frames = self._frames(form, searched)
        return _success([_public_frame(*frame) for frame in frames])

    def search_private(self, key: str, request: Request) -> BilledResponse:
        form = _form(request)
        searched = videos.library(self.catalogue, _text(form, "unique_id", DEFAULT_UNIQUE_ID))
        frames = self._frames(form, searched)
        return _success([_private_frame(*frame) for frame in frames])

    def _frames(self, form: Form, searched: Iterable[SandboxVideo]) -> Iterator[tuple[SandboxVideo, Shot, float]]:
        least = _similarity(form)
        distances = self.catalogue.gallery.distances(describe(_picture(form)))
        scores = {
            post.id: round(max(0.0, 1 - distance / UNLIKE), 4)
            for post, distance in zip(self.catalogue.posts, distances, strict=True)
        }
        for video in searched:
            for shot in video.shots:
                if scores[shot.post_id] >= least:
                    yield video, shot, scores[shot.post_id]


def _error(code: str, message: str, *, status: int = 200) -> ErrorResponse:
    return ErrorResponse(Response.of({"code": code, "msg": message, "data": None, **SAID.get(code, {})}, status))


def _success(frames: list[dict[str, Any]]) -> BilledResponse:
    answer = {"code": "0000", "msg": "success", "data": frames, **SAID["0000"]}
    return BilledResponse(response=Response.of(answer), credits=PRICE)


def _form(request: Request) -> Form:
    try:
        return parts(request.content_type, request.body)
    except Malformed as problem:
        raise _error("0001", f"Bad form: {problem}.") from None


def _text(form: Form, name: str, default: str) -> str:
    return form[name].text if name in form else default


def _similarity(form: Form) -> float:
    try:
        least = float(_text(form, "similarity", DEFAULT_SIMILARITY))
    except ValueError:
        least = math.nan
    if not 0 <= least <= 1:
        raise _error("0001", "similarity must be a number from 0 to 1.")
    return least


def _picture(form: Form) -> Image.Image:
    file = form.get("file")
    if file is None or file.filename is None:
        raise _error("0001", "file is required.")
    format = FORMATS.get(file.filename.rpartition(".")[2].lower())
    if format is None or not file.media_type.startswith("image/"):
        raise _error("0003", f"file must be an image: {', '.join(FORMATS)}.")
    if len(file.content) > MOST_BYTES:
        raise _error("0003", "file is larger than 20 MB.")
    try:
        return decode(file.content, format)
    except NotAPicture:
        raise _error("0003", f"file is no {format} image.") from None


def _frame(video: SandboxVideo, shot: Shot, score: float) -> dict[str, Any]:
    return {"videoNo": video.number, "videoName": video.name, "startTime": str(shot.start), "score": score}


def _public_frame(video: SandboxVideo, shot: Shot, score: float) -> dict[str, Any]:
    return {**_frame(video, shot, score), "endTime": "null" if shot.end is None else str(shot.end)}


def _private_frame(video: SandboxVideo, shot: Shot, score: float) -> dict[str, Any]:
    return {
        **_frame(video, shot, score),
        "video_bucket": "videos",
        "video_blob": f"{video.number}.mp4",
        "keyframe_bucket": "keyframes",
        "keyframe_blob": f"{video.number}/{shot.start}.jpg",
    }
