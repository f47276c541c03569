"""Defines the parameters of `tiktok-creators`: every filter of Modash's page, in Sightline's form.

A filter that Modash would refuse is refused here, before the lookup waits for its turn. Modash rounds bounds of followers to
its own ranges. The tenant's number is sent as it is, so that Modash's rounding decides, and `rounded` predicts the result.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from accounts.web.strict_fields import (
    StrictBoolean,
    StrictChoice,
    StrictInteger,
    StrictList,
    StrictNumber,
    StrictSerializer,
    StrictText,
)

FOLLOWER_RANGES = (
    *(1_000, 3_000, 5_000, 10_000, 15_000, 20_000, 25_000, 35_000, 50_000, 75_000, 100_000),
    *(125_000, 150_000, 175_000, 200_000, 250_000, 300_000, 350_000, 500_000, 1_000_000, 2_000_000, 3_000_000),
)
MOST_FOLLOWERS = 10_000_000_000
AGES = (13, 18, 25, 35, 45, 65)

# Modash's names that differ from ours.
THEIR_NAMES = {
    "followers_count": "followersCount",
    "last_posted_in_days": "lastPostedInDays",
    "account_type": "accountType",
    "engagement_rate": "engagementRate",
    "has_email": "hasEmail",
    "max_post_age_months": "maxPostAgeMonths",
    "content_type": "contentType",
}


def filters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the filters as Modash's request has them: with its names, and ages as strings."""
    filters = {THEIR_NAMES.get(name, name): value for name, value in parameters.items()}
    if "age" in filters:
        filters["age"] = {bound: str(age) for bound, age in filters["age"].items()}
    return filters


def rounded(followers: Mapping[str, int]) -> dict[str, int]:
    """Rounds bounds of followers as Modash documents it: a minimum down, a maximum up to the next of its ranges.

    A minimum below the lowest range and a maximum above the highest one are left out: the page does not mention them, and by its
    rule they exclude no creator.
    """
    effective = {}
    if "min" in followers and (index := bisect_right(FOLLOWER_RANGES, followers["min"])):
        effective["min"] = FOLLOWER_RANGES[index - 1]
    if "max" in followers and followers["max"] <= FOLLOWER_RANGES[-1]:
        effective["max"] = FOLLOWER_RANGES[bisect_left(FOLLOWER_RANGES, followers["max"])]
    return effective


class Bounds(StrictSerializer):
    """Bounds of a value: `min`, `max` or both, with `min` not greater than `max`."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Give min, max or both, or leave this field out.", code="empty")
        return attrs

    def disagreements(self, values: dict[str, Any]) -> dict[str, Any]:
        if "min" in values and "max" in values and values["min"] > values["max"]:
            return {"min": [serializers.ErrorDetail("Must not be greater than max.", code="min_above_max")]}
        return {}


class FollowersCount(Bounds):
    """Bounds of the number of followers: `min`, `max` or both."""

    min = StrictInteger(
        required=False,
        min_value=0,
        max_value=MOST_FOLLOWERS,
        help_text="Modash rounds it down to one of its ranges (1000 to 3000000). Below the first range it excludes no creator.",
    )
    max = StrictInteger(
        required=False,
        min_value=0,
        max_value=MOST_FOLLOWERS,
        help_text="Modash rounds it up to one of its ranges (1000 to 3000000). Above the last range it excludes no creator.",
    )


class Age(Bounds):
    """Bounds of the creator's age in years: `min`, `max` or both."""

    min = StrictChoice(AGES, required=False, help_text="The least age, in years.")
    max = StrictChoice(AGES[1:], required=False, help_text="The greatest age, in years.")


class EngagementRate(StrictSerializer):
    """The bound of the engagement rate."""

    min = StrictNumber(min_value=0, max_value=1, help_text="A fraction: 0.04 means 4 %.")


class CreatorParameters(StrictSerializer):
    """The filters of creators. A creator must pass all that are given."""

    followers_count = FollowersCount(required=False)
    locations = StrictList(
        child=StrictInteger(min_value=1, max_value=2**53),
        required=False,
        allow_empty=False,
        max_length=100,
        help_text="Ids from Modash's dictionary of locations.",
    )
    gender = StrictChoice(
        ("MALE", "FEMALE", "KNOWN", "UNKNOWN"),
        required=False,
        help_text="KNOWN: male or female. UNKNOWN: gender neutral.",
    )
    last_posted_in_days = StrictInteger(
        required=False,
        min_value=1,
        max_value=3650,
        help_text="Modash updates profiles every 4 weeks; add that lag.",
    )
    account_type = StrictChoice(("creator", "brand"), required=False, help_text="A person, or a company.")
    language = StrictText(
        required=False,
        max_length=20,
        validators=[RegexValidator(r"\A[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*\Z", "Must be a language code such as en.")],
        help_text="A code from Modash's dictionary of languages, such as en.",
    )
    age = Age(required=False)
    engagement_rate = EngagementRate(required=False)
    has_email = StrictBoolean(required=False, help_text="True: only creators whose e-mail address is known.")
    brands = StrictList(
        child=StrictText(max_length=200),
        required=False,
        allow_empty=False,
        max_length=100,
        help_text="Names from the brand dictionary of Modash's AI search.",
    )
    username = StrictText(
        required=False,
        max_length=50,
        validators=[
            RegexValidator(r"\A[A-Za-z0-9._]+\Z", "Must be letters, digits, dots and underscores only, without the @.")
        ],
        help_text="Only the creator with this name, given without the @.",
    )
    max_post_age_months = StrictChoice((3, 6, 9, 12), required=False, help_text="Older posts are not matched.")
    content_type = StrictChoice(("video", "image"), required=False, help_text="Without it, both are matched.")
