"""Checks a request of Modash's image search, and selects the creators and posts that match its filters."""

from __future__ import annotations

from typing import Any

from providers.sandbox.catalogue import SandboxCreator, SandboxPost
from providers.sandbox.validation import boolean, fields, list_of, number, one_of, text

RANGES = (
    *(1_000, 3_000, 5_000, 10_000, 15_000, 20_000, 25_000, 35_000, 50_000, 75_000, 100_000),
    *(125_000, 150_000, 175_000, 200_000, 250_000, 300_000, 350_000, 500_000, 1_000_000, 2_000_000, 3_000_000),
)
FORM = fields(
    {
        "page": number(at_least=0, whole=True),
        "pageSize": number(at_least=1, whole=True),
        "imageType": one_of("image/jpeg", "image/png", "image/webp"),
        "base64Image": text,
        "filters": fields(
            {
                "followersCount": fields({"min": number(at_least=0), "max": number(at_least=0)}),
                "locations": list_of(number()),
                "gender": one_of("MALE", "FEMALE", "KNOWN", "UNKNOWN"),
                "lastPostedInDays": number(at_least=0),
                "accountType": one_of("creator", "brand"),
                "language": text,
                "age": fields(
                    {
                        "min": one_of("13", "18", "25", "35", "45", "65"),
                        "max": one_of("18", "25", "35", "45", "65"),
                    }
                ),
                "engagementRate": fields({"min": number(at_least=0)}),
                "hasEmail": boolean,
                "brands": list_of(text),
                "username": text,
                "maxPostAgeMonths": one_of(3, 6, 9, 12),
                "contentType": one_of("video", "image"),
            }
        ),
    },
    required=("imageType", "base64Image"),
)


def creator_matches(creator: SandboxCreator, filters: dict[str, Any]) -> bool:
    followers, age = filters.get("followersCount", {}), filters.get("age", {})
    least, most = _range_below(followers.get("min", 0)), _range_above(followers.get("max", RANGES[-1] + 1))
    return (
        least <= creator.followers <= most
        and int(age.get("min", 0)) <= creator.age <= int(age.get("max", 200))
        and creator.location in filters.get("locations", [creator.location])
        and filters.get("gender") in (None, creator.gender, "UNKNOWN" if creator.gender == "UNKNOWN" else "KNOWN")
        and min(post.age_days for post in creator.posts) <= filters.get("lastPostedInDays", 10_000)
        and creator.account_type == filters.get("accountType", creator.account_type)
        and creator.language == filters.get("language", creator.language)
        and creator.engagement_rate >= filters.get("engagementRate", {}).get("min", 0)
        and creator.has_email == filters.get("hasEmail", creator.has_email)
        and ("brands" not in filters or any(brand in creator.brands for brand in filters["brands"]))
        and filters.get("username", "").lower() in creator.username
    )


def post_matches(post: SandboxPost, filters: dict[str, Any]) -> bool:
    young: bool = post.age_days <= filters.get("maxPostAgeMonths", 10_000) * 30
    return young and filters.get("contentType") in (None, post.content_type)


def _range_below(followers: float) -> float:
    return max((bound for bound in RANGES if bound <= followers), default=0)


def _range_above(followers: float) -> float:
    return min((bound for bound in RANGES if bound >= followers), default=float("inf"))
