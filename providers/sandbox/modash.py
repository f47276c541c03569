"""Modash's TikTok image search, as its page describes it. What the page leaves open is chosen here, on the strict side:
the status of each error code, and that unknown fields are refused.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from providers.sandbox.catalogue import SMALL, Catalogue, Creator, Post
from providers.sandbox.drawing import draw
from providers.sandbox.exchange import Request, Response
from providers.sandbox.forms import Misfit
from providers.sandbox.limit import Meter, fingerprint
from providers.sandbox.modash_filters import FORM, eligible, meant
from providers.sandbox.similarity import Gallery, NoPicture, decode, describe

PRICE = Decimal("0.025")
DEEPEST = 1500
ENCODED_BYTES = 5_000_000
SHOWN_POSTS = 3


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.response = Response.of({"error": True, "code": code, "message": message}, status)


@dataclass(frozen=True)
class Match:
    """A creator, and the posts that count, the most alike first."""

    distance: float
    creator: Creator
    posts: list[Post]


class Modash:
    def __init__(self, catalogue: Catalogue, meter: Meter, *, credits: Decimal) -> None:
        self.catalogue = catalogue
        self.meter = meter
        self.credits = credits
        self.gallery = Gallery(describe(draw(post.scene, SMALL)) for post in catalogue.posts)

    def image_search(self, request: Request) -> Response:
        try:
            key = _key(request)
        except Refusal as refusal:
            return refusal.response
        admitted = self.meter.admit(key, request.arrived)
        try:
            if not admitted:
                raise Refusal(429, "too_many_requests", "Only so many searches a second.")
            return self._search(key, request)
        except Refusal as refusal:
            self.meter.refuse(key)
            return refusal.response

    def user_info(self, request: Request) -> Response:
        """Free, and outside the limit of searches."""
        try:
            key = _key(request)
        except Refusal as refusal:
            return refusal.response
        tally = self.meter.tally(key)
        return Response.of(
            {
                "error": False,
                "user": {"id": fingerprint(key)},
                "billing": {"credits": float(self.credits - tally.credits), "rawRequests": tally.calls},
                "rateLimits": {"imageSearch": {"calls": self.meter.calls, "seconds": self.meter.window}},
            }
        )

    def health(self, request: Request) -> Response:
        return Response.of({"status": "ok"})

    def _search(self, key: str, request: Request) -> Response:
        wanted = _wanted(request.body)
        page, size = wanted.get("page", 0), wanted.get("pageSize", 10)
        if (page + 1) * size > DEEPEST:
            raise Refusal(400, "page_limit", f"Paging ends at {DEEPEST} results.")
        matches = sorted(self._matches(wanted), key=lambda match: match.distance)
        if not matches:
            raise Refusal(404, "no_result", "No profile fits the filters.")
        profiles = [_profile(match, request.origin) for match in matches[page * size : (page + 1) * size]]
        if not self.meter.bill(key, PRICE * len(profiles), of=self.credits):
            raise Refusal(402, "not_enough_credits", "There are not enough credits left.")
        return Response.of({"error": False, "total": len(matches), "profiles": profiles})

    def _matches(self, wanted: dict[str, Any]) -> Iterator[Match]:
        filters = wanted.get("filters", {})
        distances = self.gallery.distances(describe(_picture(wanted)))
        distance = {post.id: far for post, far in zip(self.catalogue.posts, distances, strict=True)}
        for creator in self.catalogue.creators:
            posts = [post for post in creator.posts if eligible(post, filters)]
            if posts and meant(creator, filters):
                posts.sort(key=lambda post: distance[post.id])
                yield Match(distance[posts[0].id], creator, posts)


def _key(request: Request) -> str:
    scheme, _, key = request.authorization.partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refusal(401, "api_token_invalid", "Send your access token as a bearer token.")
    return key.strip()


def _wanted(body: bytes) -> dict[str, Any]:
    try:
        wanted: dict[str, Any] = json.loads(body)
        FORM(wanted, "")
    except Misfit as misfit:
        raise Refusal(400, "invalid_body_params", f"{misfit}.") from None
    except (ValueError, RecursionError):
        raise Refusal(400, "bad_request", "The body is not JSON.") from None
    return wanted


def _picture(wanted: dict[str, Any]) -> Any:
    encoded, format = wanted["base64Image"], wanted["imageType"].removeprefix("image/").upper()
    if len(encoded) > ENCODED_BYTES:
        raise Refusal(400, "invalid_body_params", "base64Image is larger than 5MB.")
    try:
        return decode(b64decode(encoded, validate=True), format)
    except (ValueError, NoPicture):
        raise Refusal(400, "bad_request", f"base64Image is not a base64 encoded {format} image.") from None


def _profile(match: Match, origin: str) -> dict[str, Any]:
    creator = match.creator
    profile = {
        "userId": creator.user_id,
        "fullName": creator.full_name,
        "username": creator.username,
        "profilePicture": _picture_url(creator.portrait, origin),
        "followersCount": creator.followers,
        "engagementRate": creator.engagement_rate,
        "matchedPosts": [_post(post, creator, origin) for post in match.posts[:SHOWN_POSTS]],
        "recentPosts": [_post(post, creator, origin) for post in sorted(creator.posts, key=lambda post: post.age_days)],
        "accountCategory": creator.category,
    }
    return {name: value for name, value in profile.items() if value is not None}


def _post(post: Post, creator: Creator, origin: str) -> dict[str, Any]:
    kind = "video" if post.content_type == "video" else "photo"
    return {
        "id": post.id,
        "url": f"https://www.tiktok.com/@{creator.username}/{kind}/{post.id}",
        "thumbnail": _picture_url(post, origin),
        "stats": {
            "likesCount": post.likes,
            "commentsCount": post.comments,
            "sharesCount": post.shares,
            "playsCount": post.plays,
            "collectsCount": post.collects,
        },
    }


def _picture_url(post: Post, origin: str) -> str:
    return f"{origin}/pictures/{post.id}.jpg"
