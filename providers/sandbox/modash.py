"""Plays Modash's TikTok image search as its page describes it.

The page leaves some points open. They are decided here on the strict side: each error code has a status, and unknown fields are
refused.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from providers.sandbox import modash_dictionaries
from providers.sandbox.catalogue import SandboxCreator, SandboxPost
from providers.sandbox.meter import fingerprint
from providers.sandbox.modash_filters import FORM, creator_matches, post_matches
from providers.sandbox.played_provider import Address, BilledResponse, ErrorResponse, PlayedProvider, Route, Search
from providers.sandbox.similarity import NotAPicture, decode, describe
from providers.sandbox.validation import InvalidBody
from providers.sandbox.wsgi import Request, Response

PRICE = Decimal("0.025")
DEEPEST = 1500
ENCODED_BYTES = 5_000_000
SHOWN_POSTS = 3


@dataclass(frozen=True)
class MatchedCreator:
    """A creator who matches the filters, with the matching posts, the most similar one first."""

    distance: float
    creator: SandboxCreator
    posts: list[SandboxPost]


class Modash(PlayedProvider):
    name = "modash"
    path = "/modash/v1"

    def searches(self) -> Mapping[Address, Search]:
        return {("POST", "/ai/tiktok/image-search"): self.image_search}

    def free_calls(self) -> Mapping[Address, Route]:
        return {
            ("GET", "/user/info"): self.user_info,
            ("GET", "/health"): self.health,
            ("GET", "/tiktok/locations"): self._for_customers(modash_dictionaries.locations),
            ("GET", "/tiktok/languages"): self._for_customers(modash_dictionaries.languages),
            ("GET", "/tiktok/users"): self._for_customers(self.users),
            ("GET", "/tiktok/brands"): self._for_customers(modash_dictionaries.brands),
        }

    def sent_key(self, request: Request) -> str | None:
        return request.bearer

    def rejected(self, key: str | None) -> ErrorResponse:
        return _error(401, "api_token_invalid", "Send an access token of yours as a bearer token.")

    def no_credits(self) -> ErrorResponse:
        return _error(402, "not_enough_credits", "There are not enough credits left.")

    def too_many_requests(self) -> ErrorResponse:
        return _error(429, "too_many_requests", "Only so many searches a second.")

    def internal_error(self) -> ErrorResponse:
        return _error(500, "internal_server_error", "Something went wrong.")

    def nothing_found(self) -> BilledResponse:
        response = _error(404, "no_result", "No profile fits the filters.").response
        return BilledResponse(response=response, credits=Decimal(0))

    def image_search(self, key: str, request: Request) -> BilledResponse:
        wanted = _checked_body(request.body)
        page, size = wanted.get("page", 0), wanted.get("pageSize", 10)
        if (page + 1) * size > DEEPEST:
            raise _error(400, "page_limit", f"Paging ends at {DEEPEST} results.")
        matches = sorted(self._matches(wanted), key=lambda match: match.distance)
        if not matches:
            return self.nothing_found()
        listed = matches[page * size : (page + 1) * size + self.settings.surplus]
        profiles = [_profile(match, request.origin) for match in listed]
        answer = {"error": False, "total": len(matches), "profiles": profiles}
        return BilledResponse(response=Response.of(answer), credits=PRICE * len(profiles))

    def user_info(self, request: Request) -> Response:
        key = self.key(request)
        return Response.of(
            {
                "error": False,
                "user": {"id": fingerprint(key)},
                "billing": {"credits": float(self.credits_left(key)), "rawRequests": self.meter.tally(key).calls},
                "rateLimits": {"imageSearch": {"calls": self.meter.calls, "seconds": self.meter.window}},
            }
        )

    def users(self, request: Request) -> Response:
        return modash_dictionaries.users(request, self.catalogue.creators)

    def health(self, request: Request) -> Response:
        return Response.of({"status": "ok"})

    def _for_customers(self, free_call: Route) -> Route:
        def answer(request: Request) -> Response:
            self.key(request)
            return free_call(request)

        return answer

    def _matches(self, wanted: dict[str, Any]) -> Iterator[MatchedCreator]:
        filters = wanted.get("filters", {})
        distances = self.catalogue.gallery.distances(describe(_picture(wanted)))
        distance = {post.id: far for post, far in zip(self.catalogue.posts, distances, strict=True)}
        for creator in self.catalogue.creators:
            posts = [post for post in creator.posts if post_matches(post, filters)]
            if posts and creator_matches(creator, filters):
                posts.sort(key=lambda post: distance[post.id])
                yield MatchedCreator(distance[posts[0].id], creator, posts)


def _error(status: int, code: str, message: str) -> ErrorResponse:
    return ErrorResponse(Response.of({"error": True, "code": code, "message": message}, status))


def _checked_body(body: bytes) -> dict[str, Any]:
    try:
        wanted: dict[str, Any] = json.loads(body)
        FORM(wanted, "")
    except InvalidBody as problem:
        raise _error(400, "invalid_body_params", f"{problem}.") from None
    except (ValueError, RecursionError):
        raise _error(400, "bad_request", "The body is not JSON.") from None
    return wanted


def _picture(wanted: dict[str, Any]) -> Any:
    encoded, format = wanted["base64Image"], wanted["imageType"].removeprefix("image/").upper()
    if len(encoded) > ENCODED_BYTES:
        raise _error(400, "invalid_body_params", "base64Image is larger than 5MB.")
    try:
        return decode(b64decode(encoded, validate=True), format)
    except (ValueError, NotAPicture):
        raise _error(400, "bad_request", f"base64Image is not a base64 encoded {format} image.") from None


def _profile(match: MatchedCreator, origin: str) -> dict[str, Any]:
    creator = match.creator
    profile = {
        "userId": creator.user_id,
        "fullName": creator.full_name,
        "username": creator.username,
        "profilePicture": _portrait_url(creator, origin),
        "followersCount": creator.followers,
        "engagementRate": creator.engagement_rate,
        "matchedPosts": [_post(post, creator, origin) for post in match.posts[:SHOWN_POSTS]],
        "recentPosts": [_post(post, creator, origin) for post in sorted(creator.posts, key=lambda post: post.age_days)],
        "accountCategory": creator.category,
    }
    return {name: value for name, value in profile.items() if value is not None}


def _post(post: SandboxPost, creator: SandboxCreator, origin: str) -> dict[str, Any]:
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


def _portrait_url(creator: SandboxCreator, origin: str) -> str:
    """Returns the address of a portrait. Every second one is signed for two days, in the form of TikTok's own servers."""
    address, number = _picture_url(creator.portrait, origin), int(creator.portrait.id)
    if number % 2:
        return address
    expires = (int(time.time()) // 3600 + 48) * 3600
    return f"{address}?x-expires={expires}&x-signature={number % 10**9:09}%3D"


def _picture_url(post: SandboxPost, origin: str) -> str:
    return f"{origin}/pictures/{post.id}.jpg"
