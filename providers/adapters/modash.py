"""Modash: creators on TikTok who have posted what a picture shows.

Modash names its errors by `code` and documents no status for them: the code decides, the status where the code says
nothing. It does not say either how many results a page may have or how deep paging goes; both are inferred, from
its sibling endpoints, and an answer that says otherwise is obeyed.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from providers.adapters import reading
from providers.adapters.failures import Kind, Kinds, failure
from providers.adapters.modash_parameters import CreatorParameters, filters, rounded
from providers.adapters.reading import Fields
from providers.contract import Adapter, Answer, Hit, PictureLimits, PolicyDefaults, PriceDefaults, Question, Secret
from providers.failures import Failure, Faulty, Refused

if TYPE_CHECKING:
    from providers.http import ProviderClient, Reply
    from providers.limiter import Token

# Results that paging reaches: (page + 1) * pageSize, by the sibling text search.
DEEPEST = 1500
# "Max size 5MB" does not say of what: the base64 text is kept below it, so the file is right either way.
ENCODED_BYTES = 5_000_000

# An empty success, and the end of paging.
NO_RESULT, PAGE_LIMIT = "no_result", "page_limit"
NOTHING_MORE = (NO_RESULT, PAGE_LIMIT)
TOO_MANY = 429
KINDS = Kinds("Modash")
NOT_INCLUDED: Kind = (
    Refused,
    "feature_not_available",
    "The Modash plan of this key does not include image search: ask Modash for it, or use another key.",
)
# It means hours by their pages, and no lookup is kept waiting for as long: its attempts are used up before.
LATER: Kind = (
    Faulty,
    "provider_error",
    "Modash cannot answer this at the moment and asks to try again in a couple of hours.",
)
BY_CODE: dict[str, Kind] = {
    "api_token_invalid": KINDS.dead_key,
    "not_enough_credits": KINDS.no_credits,
    "feature_not_available": NOT_INCLUDED,
    "bad_request": KINDS.refused,
    "invalid_body_params": KINDS.refused,
    "entity_not_found": KINDS.refused,
    "retry_later": LATER,
    "internal_server_error": KINDS.their_fault,
}


class TikTokCreators(Adapter):
    provider = "modash"
    source = "tiktok-creators"
    result_type = "creator"
    title = "Creators on TikTok who have posted what the picture shows"
    base_url = "https://api.modash.io/v1"
    sandbox_path = "/modash/v1"
    parameters = CreatorParameters
    picture_limits = PictureLimits(formats=("JPEG", "PNG", "WEBP"), max_bytes=ENCODED_BYTES // 4 * 3)
    policy = PolicyDefaults(calls=1, window_ms=1000, guard_ms=Decimal(3), page_size=50, attempts=4)
    price = PriceDefaults(per_result=Decimal("0.025"))
    default_limit = 20
    max_results = DEEPEST
    paged = True
    lag = "Profiles are refreshed every four weeks: asking again within a week buys little."
    caveats = (
        "Modash updates profiles every 4 weeks: recent posts and last_posted_in_days lag by as much, and asking again within a "
        "week buys little.",
        "Bounds of followers_count are rounded outwards to Modash's ranges; effective_parameters shows to which.",
        "engagement_rate in results is Modash's own number, unscaled: a fraction, but seen as a percentage too.",
    )

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        effective = dict(parameters)
        if followers := rounded(effective.pop("followers_count", {})):
            effective["followers_count"] = followers
        return effective

    def ask(self, question: Question, *, secret: Secret, base_url: str, client: ProviderClient, token: Token) -> Answer:
        reply = client.send(_request(question, secret, base_url), token=token)
        request_id = reading.request_id(reply.headers.get("x-request-id"), secret.value)
        body = reading.parse(reply.content, reply.headers.get("Content-Type", ""))
        envelope = body if isinstance(body, dict) else {}
        profiles = envelope.get("profiles")
        if says_nothing_more(reply, envelope) and not reading.brought_something(profiles):
            return _nothing(question, reply, envelope, request_id)
        if says_it_failed(reply, envelope, brought=isinstance(profiles, list)):
            raise failure_of(reply, envelope, secret, request_id)
        if not isinstance(profiles, list):
            problem = _problem(body)
            raise failure(KINDS.unreadable(problem), reply, secret, billed_results=None, request_id=request_id)
        found = reading.items(profiles, _identity)
        total = Fields(envelope).count("total")
        return Answer(
            hits=tuple(_hit(user_id, profile) for user_id, profile in found.known),
            billed_results=len(profiles),
            total=total,
            last=_is_last(question, len(profiles), total),
            status=reply.status,
            request_id=request_id,
            unreadable=len(found.others),
            excerpt=found.excerpt(secret.value),
        )


def _request(question: Question, secret: Secret, base_url: str) -> httpx.Request:
    wanted = filters(question.parameters)
    body = {
        "page": question.page,
        "pageSize": question.page_size,
        **({"filters": wanted} if wanted else {}),
        "imageType": question.picture.media_type,
        "base64Image": b64encode(question.picture.content).decode(),
    }
    return httpx.Request(
        "POST",
        f"{base_url.rstrip('/')}/ai/tiktok/image-search",
        headers={"Authorization": f"Bearer {secret.value}", "Content-Type": "application/json"},
        content=json.dumps(body).encode(),
    )


def failure_of(reply: Reply, error: Mapping[str, Any], secret: Secret, request_id: str) -> Failure:
    """By code first, by status second; a refused pace stays one whatever name it bears, but those of a key's own end."""
    code = str(error.get("code", ""))
    kind = BY_CODE.get(code) or KINDS.by_status(reply.status)
    if reply.status == TOO_MANY and kind[0] in (Faulty, Refused):
        kind = KINDS.too_soon
    said = f"{code} {error.get('message', '')}".strip()
    return failure(kind, reply, secret, said=said, request_id=request_id)


def says_it_failed(reply: Reply, envelope: Mapping[str, Any], *, brought: bool) -> bool:
    """`brought`: whether what was asked for is in it. Then an `error` that is neither true nor false says nothing."""
    if not 200 <= reply.status < 300 or envelope.get("error") is True:
        return True
    return not brought and (bool(envelope.get("error")) or envelope.get("code") in BY_CODE)


def says_nothing_more(reply: Reply, error: Mapping[str, Any]) -> bool:
    """An error by its form, and an empty answer by its meaning."""
    return error.get("code") in NOTHING_MORE and reply.status != TOO_MANY


def _nothing(question: Question, reply: Reply, error: Mapping[str, Any], request_id: str) -> Answer:
    """How many there are is told by a first page that has none, and not by the end of paging."""
    total = 0 if error["code"] == NO_RESULT and not question.page else None
    return Answer(hits=(), billed_results=0, total=total, last=True, status=reply.status, request_id=request_id)


def _problem(body: Any) -> str:
    if not isinstance(body, dict):
        return "it is not a JSON object"
    return "profiles is not a list" if "profiles" in body else "profiles is missing"


def _is_last(question: Question, profiles: int, total: int | None) -> bool:
    reached = (question.page + 1) * question.page_size
    return not profiles or reached + question.page_size > DEEPEST or (total is not None and reached >= total)


def _identity(profile: Fields) -> str | None:
    """The id is optional by the document, the name is not."""
    return profile.identity("userId") or profile.identity("username")


def _hit(user_id: str, profile: Fields) -> Hit:
    username = profile.identity("username")
    creator = {
        "username": username,
        "followers_count": profile.count("followersCount"),
        "engagement_rate": profile.number("engagementRate"),
        # Of newer answers.
        "views_count_median": profile.count("viewsCountMedian"),
        "account_category": profile.text("accountCategory"),
        "matched_posts": [_post(post) for post in profile.objects("matchedPosts")],
        # Their form is not documented: read as matched posts.
        "recent_posts": [_post(post) for post in profile.objects("recentPosts")],
    }
    return Hit(
        type="creator",
        external_id=user_id,
        title=profile.text("fullName") or username or user_id,
        url=f"https://www.tiktok.com/@{quote(username, safe='')}" if username else None,
        image_url=profile.web_address("profilePicture"),
        detail=creator,
        raw=profile.value,
    )


def _post(post: Fields) -> dict[str, Any]:
    stats = post.object("stats")
    return {
        "id": post.identity("id"),
        "url": post.web_address("url"),
        "thumbnail": post.web_address("thumbnail"),
        "likes_count": stats.count("likesCount"),
        "comments_count": stats.count("commentsCount"),
        "shares_count": stats.count("sharesCount"),
        "plays_count": stats.count("playsCount"),
        "collects_count": stats.count("collectsCount"),
    }
