"""Tests the parameters for Modash: the bounds of each field, and how Modash rounds them."""

from __future__ import annotations

from typing import Any

import pytest

from providers.adapters.modash_parameters import FOLLOWER_RANGES, rounded
from tests.providers.adapters.test_modash import ADAPTER, EVERY_PARAMETER
from tests.providers.asking import errors_of


def test_every_parameter_of_the_contract_is_accepted_as_given() -> None:
    checked = ADAPTER.parameters(data=EVERY_PARAMETER)
    assert checked.is_valid(), checked.errors
    assert checked.validated_data == EVERY_PARAMETER


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"followers_count": {"min": 0}},
        {"followers_count": {"max": 100_000_000}},
        {"followers_count": {"min": 5000, "max": 5000}},
        {"locations": [148838, 62149]},
        *({"gender": gender} for gender in ("MALE", "FEMALE", "KNOWN", "UNKNOWN")),
        {"last_posted_in_days": 1},
        {"account_type": "brand"},
        {"language": "zh-Hans"},
        *({"age": {"min": age}} for age in (13, 18, 25, 35, 45, 65)),
        *({"age": {"max": age}} for age in (18, 25, 35, 45, 65)),
        {"age": {"min": 65, "max": 65}},
        {"engagement_rate": {"min": 0}},
        {"engagement_rate": {"min": 1}},
        {"has_email": False},
        {"brands": ["Papel & Co"]},
        {"username": "khaby.lame_1"},
        *({"max_post_age_months": months} for months in (3, 6, 9, 12)),
        {"content_type": "image"},
    ],
)
def test_good_parameters_are_accepted(parameters: dict[str, Any]) -> None:
    assert errors_of(ADAPTER, parameters) == {}


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ([], "non_field_errors", "object with named fields"),
        ({"followers": 1}, "followers", "Unknown field; known here: account_type, age,"),
        ({"followersCount": {"min": 1}}, "followersCount", "Unknown field"),
        ({"followers_count": 13000}, "followers_count.non_field_errors", "object with named fields"),
        ({"followers_count": {}}, "followers_count.non_field_errors", "Give min, max or both"),
        ({"followers_count": {"min": "13000"}}, "followers_count.min", "whole number, without quotes"),
        ({"followers_count": {"min": 1.5}}, "followers_count.min", "whole number"),
        ({"followers_count": {"min": True}}, "followers_count.min", "whole number"),
        ({"followers_count": {"min": None}}, "followers_count.min", "null"),
        ({"followers_count": {"min": -1}}, "followers_count.min", "greater than or equal to 0"),
        ({"followers_count": {"max": 10**11}}, "followers_count.max", "less than or equal to 10000000000"),
        ({"followers_count": {"min": 9, "max": 8}}, "followers_count.min", "not be greater than max"),
        ({"followers_count": {"low": 9}}, "followers_count.low", "Unknown field; known here: max, min."),
        ({"locations": 148838}, "locations", "list"),
        ({"locations": []}, "locations", "empty"),
        ({"locations": ["148838"]}, "locations.0", "whole number, without quotes"),
        ({"locations": [0]}, "locations.0", "greater than or equal to 1"),
        ({"locations": list(range(1, 102))}, "locations", "no more than 100"),
        ({"gender": "female"}, "gender", 'one of "MALE", "FEMALE", "KNOWN", "UNKNOWN"'),
        ({"gender": ["FEMALE"]}, "gender", "one of"),
        ({"last_posted_in_days": 0}, "last_posted_in_days", "greater than or equal to 1"),
        ({"last_posted_in_days": 4000}, "last_posted_in_days", "less than or equal to 3650"),
        ({"last_posted_in_days": "90"}, "last_posted_in_days", "whole number"),
        ({"account_type": "shop"}, "account_type", 'one of "creator", "brand"'),
        ({"language": "english"}, "language", "language code such as en"),
        ({"language": 5}, "language", "text in quotes"),
        ({"language": ""}, "language", "blank"),
        ({"age": {"min": 20}}, "age.min", "one of 13, 18, 25, 35, 45, 65"),
        ({"age": {"min": "18"}}, "age.min", "one of 13, 18"),
        ({"age": {"min": 18.0}}, "age.min", "one of 13, 18"),
        ({"age": {"max": 13}}, "age.max", "one of 18, 25, 35, 45, 65"),
        ({"age": {"min": 35, "max": 25}}, "age.min", "not be greater than max"),
        ({"age": {}}, "age.non_field_errors", "Give min, max or both"),
        ({"engagement_rate": {}}, "engagement_rate.min", "required"),
        ({"engagement_rate": {"min": 4}}, "engagement_rate.min", "less than or equal to 1"),
        ({"engagement_rate": {"min": -0.1}}, "engagement_rate.min", "greater than or equal to 0"),
        ({"engagement_rate": {"min": "0.04"}}, "engagement_rate.min", "number, without quotes"),
        ({"engagement_rate": {"min": float("nan")}}, "engagement_rate.min", "number"),
        ({"engagement_rate": {"min": 10**400}}, "engagement_rate.min", "number"),
        ({"engagement_rate": {"min": 0.1, "max": 1}}, "engagement_rate.max", "Unknown field"),
        ({"has_email": "yes"}, "has_email", "true or false, without quotes"),
        ({"has_email": 1}, "has_email", "true or false"),
        ({"brands": "Nike"}, "brands", "list"),
        ({"brands": [7]}, "brands.0", "text in quotes"),
        ({"brands": [" "]}, "brands.0", "blank"),
        ({"brands": []}, "brands", "empty"),
        ({"username": "@khaby.lame"}, "username", "without the @"),
        ({"username": "a" * 51}, "username", "no more than 50"),
        ({"username": 12}, "username", "text in quotes"),
        ({"max_post_age_months": 4}, "max_post_age_months", "one of 3, 6, 9, 12"),
        ({"max_post_age_months": "3"}, "max_post_age_months", "one of 3, 6, 9, 12"),
        ({"content_type": "Video"}, "content_type", 'one of "video", "image"'),
    ],
)
def test_bad_parameters_are_refused_by_name_and_with_a_hint(parameters: Any, field: str, says: str) -> None:
    problem = errors_of(ADAPTER, parameters)
    for step in field.split("."):
        problem = problem[int(step) if step.isdigit() else step]
    assert len(problem) == 1
    assert says in problem[0]


def test_every_wrong_parameter_is_named_at_once() -> None:
    assert set(errors_of(ADAPTER, {"colour": 1, "gender": "x", "age": {"min": 1, "max": 1}})) == {
        "colour",
        "gender",
        "age",
    }


@pytest.mark.parametrize(
    ("given", "effective"),
    [
        ({"min": 13000}, {"min": 10000}),
        ({"min": 10000}, {"min": 10000}),
        ({"min": 1000}, {"min": 1000}),
        ({"min": 2999}, {"min": 1000}),
        ({"min": 999_999}, {"min": 500_000}),
        ({"min": 90_000_000}, {"min": 3_000_000}),
        ({"max": 13000}, {"max": 15000}),
        ({"max": 15000}, {"max": 15000}),
        ({"max": 500_001}, {"max": 1_000_000}),
        ({"max": 3_000_000}, {"max": 3_000_000}),
        ({"max": 7}, {"max": 1000}),
        # There is no lower or no higher range, so the bound excludes no creator.
        ({"min": 999}, {}),
        ({"max": 3_000_001}, {}),
        ({"min": 13000, "max": 16000}, {"min": 10000, "max": 20000}),
    ],
)
def test_follower_bounds_are_rounded_outwards_to_the_ranges(given: dict[str, int], effective: dict[str, int]) -> None:
    assert rounded(given) == effective


def test_the_ranges_are_those_of_the_page() -> None:
    page = (
        "1000, 3000, 5000, 10000, 15000, 20000, 25000, 35000, 50000, 75000, 100000, 125000, 150000, 175000, 200000, "
        "250000, 300000, 350000, 500000, 1000000, 2000000, 3000000"
    )
    assert ", ".join(map(str, FOLLOWER_RANGES)) == page


def test_effective_parameters_differ_only_in_rounded_bounds() -> None:
    effective = ADAPTER.effective(EVERY_PARAMETER)
    assert effective == EVERY_PARAMETER | {"followers_count": {"min": 10000, "max": 500000}}
    assert ADAPTER.effective({"followers_count": {"min": 5}, "language": "en"}) == {"language": "en"}
    assert ADAPTER.effective({}) == {}
