"""Searches Modash for creators on TikTok who have posted what a picture shows.

Modash's errors have a `code`, and no status is documented for them. The code decides, and the status only if the code is
unknown. The largest page and the depth of paging are not documented either. Both are inferred from Modash's similar
endpoints, and an answer that says otherwise is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx

from providers.adapters import encoded_pictures
from providers.adapters.failure_kinds import FailureKind, FailureKinds
from providers.adapters.fields import Fields, Items, has_objects, items
from providers.adapters.modash_parameters import CreatorParameters, filters, rounded
from providers.adapters.replies import ParsedReply
from providers.contract import Access, Adapter, Answer, Hit, PictureLimits, PolicyDefaults, PriceDefaults, Question
from providers.failures import Failure, Faulty, Refused

# The last result that paging reaches, (page + 1) * pageSize, as documented of the text search.
DEEPEST = 1500
# The page says "Max size 5MB", and not of what. The base64 text is kept below it, and so is the file.
ENCODED_BYTES = 5_000_000

# The codes of an empty success and of the end of paging.
NO_RESULT, PAGE_LIMIT = "no_result", "page_limit"
NOTHING_MORE = (NO_RESULT, PAGE_LIMIT)
TOO_MANY = 429
KINDS = FailureKinds("Modash")
NOT_INCLUDED = FailureKind(
    Refused,
    "feature_not_available",
    "The Modash plan of this key does not include image search: ask Modash for it, or use another key.",
)
# Modash's pages speak of hours. A lookup's attempts are used up earlier, so that none waits as long.
LATER = FailureKind(
    Faulty,
    "provider_error",
    "Modash cannot answer this at the moment and asks to try again in a couple of hours.",
)
BY_CODE: dict[str, FailureKind] = {
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

    def ask(self, question: Question, access: Access) -> Answer:
        reply = ParsedReply.to(_request(question, access), access)
        profiles = reply.envelope.get("profiles")
        if has_nothing_more(reply) and not has_objects(profiles):
            return _nothing(question, reply)
        if is_failure(reply, has_results=isinstance(profiles, list)):
            raise failure_of(reply)
        if not isinstance(profiles, list):
            raise reply.failure(KINDS.unreadable(_problem(reply.body)), billed_results=None)
        found = items(profiles, _identity)
        hits = (_hit(user_id, profile) for user_id, profile in found.known)
        total = Fields(reply.envelope).count("total")
        return reply.answer(found, hits, total=total, last=_is_last(question, len(profiles), total))


def _request(question: Question, access: Access) -> httpx.Request:
    wanted = filters(question.parameters)
    return encoded_pictures.request(
        access,
        "/ai/tiktok/image-search",
        values={
            "page": question.page,
            "pageSize": question.page_size,
            **({"filters": wanted} if wanted else {}),
            "imageType": question.picture.media_type,
        },
        name="base64Image",
        picture=question.picture.content,
    )


def failure_of(reply: ParsedReply) -> Failure:
    """Classifies by the code, or else by the status. A 429 asks to wait, unless its code means a dead key or no credits."""
    code = str(reply.envelope.get("code", ""))
    kind = BY_CODE.get(code) or KINDS.by_status(reply.status)
    if reply.status == TOO_MANY and kind.failure in (Faulty, Refused):
        kind = KINDS.too_soon
    return reply.failure(kind, message=f"{code} {reply.envelope.get('message', '')}".strip())


def is_failure(reply: ParsedReply, *, has_results: bool) -> bool:
    """Returns whether a reply reports a failure. If it has results, an `error` other than true reports none."""
    error = reply.envelope.get("error")
    if not reply.has_success_status or error is True:
        return True
    return not has_results and (bool(error) or reply.envelope.get("code") in BY_CODE)


def has_nothing_more(reply: ParsedReply) -> bool:
    """Returns whether a reply, which looks like an error, means that there is nothing or nothing more to find."""
    return reply.envelope.get("code") in NOTHING_MORE and reply.status != TOO_MANY


def _nothing(question: Question, reply: ParsedReply) -> Answer:
    """Returns an empty answer. Only an empty first page says how many results there are; the end of paging does not."""
    total = 0 if reply.envelope["code"] == NO_RESULT and not question.page else None
    return reply.answer(Items([], []), (), total=total, last=True)


def _problem(body: Any) -> str:
    if not isinstance(body, dict):
        return "it is not a JSON object"
    return "profiles is not a list" if "profiles" in body else "profiles is missing"


def _is_last(question: Question, profiles: int, total: int | None) -> bool:
    reached = (question.page + 1) * question.page_size
    return not profiles or reached + question.page_size > DEEPEST or (total is not None and reached >= total)


def _identity(profile: Fields) -> str | None:
    """Returns the id, which is optional in the document, or else the name, which is required."""
    return profile.identity("userId") or profile.identity("username")


def _hit(user_id: str, profile: Fields) -> Hit:
    username = profile.identity("username")
    creator = {
        "username": username,
        "followers_count": profile.count("followersCount"),
        "engagement_rate": profile.number("engagementRate"),
        # Only newer answers have the next two.
        "views_count_median": profile.count("viewsCountMedian"),
        "account_category": profile.text("accountCategory"),
        "matched_posts": [_post(post) for post in profile.objects("matchedPosts")],
        # The form of recent posts is not documented. They are read like matched posts.
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
