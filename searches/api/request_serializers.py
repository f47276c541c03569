"""The body of a create: its fields, and the order that they make.

Serializers check the shape, and name every wrong field at once, each with a hint. Whether the order makes sense (the credential
exists, the credits suffice) is decided in `orders`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from rest_framework.exceptions import ValidationError

from accounts.models import MOST_MAX_AGE
from accounts.web.strict_fields import (
    MOST_ERRORS,
    StrictChoice,
    StrictDict,
    StrictInteger,
    StrictList,
    StrictNumber,
    StrictSerializer,
    StrictText,
    Wrong,
    merged,
)
from billing.given_credits import PROVIDERS, CreditsByProvider
from providers import registry
from providers.contract import Adapter
from searches.api.exceptions import field_error
from searches.api.picture_fields import FORMATS, GivenPicture, PictureFile, PictureGiven
from searches.orders.order import LookupOrder, Order
from searches.pictures import Crop

SOURCES = tuple(sorted(registry.ADAPTERS))
METADATA_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}")
METADATA_KEY_FORM = "1 to 40 letters, digits, dots, dashes and underscores"
MOST_METADATA, MOST_METADATA_CHARACTERS = 20, 500
OUT_OF_PICTURE: dict[str, Any] = {"min_value": "Must be from 0 to 1.", "max_value": "Must be from 0 to 1."}
NO_LENGTH: dict[str, Any] = {"min_value": "Must be from 0.000001 to 1.", "max_value": "Must be from 0.000001 to 1."}


class CropGiven(StrictSerializer):
    """The part of the picture to search with: fractions of the upright picture, from its left upper corner."""

    example: ClassVar[dict[str, Any]] = {"x": 0.1, "y": 0.2, "width": 0.5, "height": 0.5}

    x = StrictNumber(min_value=0, max_value=1, error_messages=OUT_OF_PICTURE, help_text="The left edge.")
    y = StrictNumber(min_value=0, max_value=1, error_messages=OUT_OF_PICTURE, help_text="The upper edge.")
    width = StrictNumber(
        min_value=0.000001, max_value=1, error_messages=NO_LENGTH, help_text="The width, at most 1 - x."
    )
    height = StrictNumber(
        min_value=0.000001, max_value=1, error_messages=NO_LENGTH, help_text="The height, at most 1 - y."
    )

    def disagreements(self, values: dict[str, float]) -> Wrong:
        return {
            length: field_error(f"Reaches out of the picture: {start} + {length} must be at most 1.", "outside")
            for start, length in (("x", "width"), ("y", "height"))
            if values.get(start, 0) + values.get(length, 0) > 1.000001
        }


class LookupRequest(StrictSerializer):
    """One source's part of a search."""

    source: Any = StrictChoice(SOURCES, help_text="The source to search.")
    parameters = StrictDict(default=dict, max_length=MOST_ERRORS, help_text="The source's own filters.")
    limit = StrictInteger(
        required=False, min_value=1, help_text="The most results to return. Default: the source's own."
    )
    offset = StrictInteger(
        default=0,
        min_value=0,
        max_value=1_000_000,
        help_text="The number of results to skip, to continue where an earlier lookup stopped. It must be a multiple of the "
        "page size, which follows from `limit`.",
    )
    credential = StrictText(
        required=False,
        max_length=100,
        help_text="The id or label of the credential to use. Without it the default credential is used. `default` is a label "
        "like any other: the credential with that label need not be the default one.",
    )

    def sound(self, data: dict[str, Any]) -> tuple[dict[str, Any], Wrong]:
        values, wrong = super().sound(data)
        if data.get("source") not in SOURCES:
            return values, wrong
        adapter = registry.adapter(data["source"])
        wrong = merged(wrong, source_errors(adapter, data))
        if "parameters" in values:
            try:
                # In one form, in which they are compared, stored, sent and shown: 0 and -0.0 are one value.
                values["parameters"] = PARAMETERS[adapter.source].read(values["parameters"])
            except ValidationError as error:
                wrong = merged(wrong, {"parameters": error.detail})
        return values, wrong

    def to_internal_value(self, data: Any) -> LookupOrder:
        values = super().to_internal_value(data)
        return LookupOrder(**{"limit": registry.adapter(values["source"]).default_limit} | values)


PARAMETERS = {source: adapter.parameters() for source, adapter in registry.ADAPTERS.items()}


def source_errors(adapter: Adapter, data: dict[str, Any]) -> dict[str, Any]:
    """Returns the errors of limits and offsets that this source does not take, though others may."""
    errors: dict[str, Any] = {}
    limit, offset = (whole(data.get(name)) for name in ("limit", "offset"))
    if adapter.max_results is None and data.get("limit") is not None:
        errors["limit"] = field_error("This source takes no limit; leave it out.", "not_taken")
    elif adapter.max_results is not None and limit > adapter.max_results:
        errors["limit"] = field_error(f"Must be from 1 to {adapter.max_results}.", "max_value")
    if not adapter.paged and offset > 0:
        errors["offset"] = field_error("This source gives its first results only; leave offset out.", "not_taken")
    return errors


def whole(value: Any) -> int:
    """Returns a whole number of a body, where 2.0 is one too; 0 for anything else."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    return int(value) if is_whole else 0


class Metadata(StrictDict):
    """Short texts under names of the caller's choice."""

    child = StrictText(max_length=MOST_METADATA_CHARACTERS, allow_blank=True, trim_whitespace=False)
    default_error_messages = {"not_a_dict": "Must be an object of texts."}

    def check_name(self, name: Any) -> None:
        if not METADATA_KEY.fullmatch(name):
            raise ValidationError(f"A name must be {METADATA_KEY_FORM}.", code="invalid_name")


class OrderRequest(StrictSerializer):
    """Everything about a search but its picture."""

    lookups = StrictList(
        child=LookupRequest(),
        min_length=1,
        max_length=20,
        error_messages={
            "required": "Give 1 to 20 lookups.",
            "not_a_list": "Must be a list of 1 to 20 lookups.",
            "min_length": "Give 1 to 20 lookups.",
            "max_length": "Give 1 to 20 lookups.",
        },
        help_text="What to search: 1 to 20 lookups. A source may be named more than once.",
    )
    crop = CropGiven(required=False)
    priority = StrictInteger(
        default=0,
        min_value=-10,
        max_value=10,
        help_text="Of your own lookups, those of a higher priority are called first.",
    )
    expires_in = StrictInteger(
        default=86_400,
        min_value=1,
        max_value=604_800,
        help_text="In seconds. Lookups that have not started by then expire, at no cost.",
    )
    max_age = StrictInteger(
        required=False,
        min_value=0,
        max_value=MOST_MAX_AGE,
        help_text="In seconds. A lookup gets the results of an equal lookup of yours that succeeded within this time, or that "
        "is in progress, at no cost. With 0 the provider is asked. Default: the setting of your tenant, or an hour.",
    )
    max_credits = CreditsByProvider(
        default=dict,
        max_length=len(PROVIDERS),
        error_messages={"max_length": f"Holds at most one amount for each provider: {', '.join(PROVIDERS)}."},
        help_text="The most that this search may cost, by provider, in its own credits. A search that can cost more is refused, "
        "and a lookup that would need more later, to ask again, fails.",
    )
    metadata = Metadata(
        default=dict,
        max_length=MOST_METADATA,
        error_messages={"max_length": f"Holds at most {MOST_METADATA} texts."},
        help_text=f"At most {MOST_METADATA} texts of at most {MOST_METADATA_CHARACTERS} characters; names of "
        f"{METADATA_KEY_FORM}.",
    )


class SearchRequest(OrderRequest):
    """A search to make."""

    image = PictureGiven()


SEARCH, LOOKUP = SearchRequest(), LookupRequest()


@dataclass(frozen=True, kw_only=True)
class ParsedOrder:
    """The valid part of a create, and the errors of the rest.

    Lookups without a known source are left out of the order, and wrong fields out of the other lookups. `numbers` has the index
    in the request of each lookup of the order.
    """

    order: Order
    numbers: list[int]
    picture: GivenPicture | None
    wrong: Wrong


def parsed_order(data: Any) -> ParsedOrder:
    """Reads the body of a create. Raises `ValidationError` for what is no object."""
    if not isinstance(data, dict):
        SEARCH.read(data)
    values, wrong = SEARCH.sound(data)
    lookups = values.get("lookups")
    found = dict(enumerate(lookups)) if lookups else readable_lookups(data.get("lookups"), wrong["lookups"])
    order = Order(
        lookups=list(found.values()),
        crop=str(Crop.of(values["crop"])) if "crop" in values else "",
        priority=values.get("priority", 0),
        expires_in=values.get("expires_in", 0),
        max_age=values.get("max_age"),
        metadata=values.get("metadata", {}),
        max_credits=values.get("max_credits", {}),
    )
    return ParsedOrder(order=order, numbers=list(found), picture=values.get("image"), wrong=wrong)


def compared(parsed: ParsedOrder) -> Any:
    """Returns the values of a valid order by which two requests are compared: a default that is given is one that is left out."""
    lookups = [
        {**asdict(lookup), "parameters": PARAMETERS[lookup.source].read(lookup.parameters)}
        for lookup in parsed.order.lookups
    ]
    return {
        **asdict(parsed.order),
        "lookups": lookups,
        "image": None if parsed.picture is None else vars(parsed.picture),
    }


def readable_lookups(lookups: Any, wrong: Any) -> dict[int, LookupOrder]:
    """Returns each lookup that has a known source, without its wrong fields, by its index in the request."""
    if not isinstance(wrong, Mapping):
        return {}
    found = {}
    for number, given in enumerate(lookups):
        if isinstance(given, dict) and given.get("source") in SOURCES:
            names = set(wrong.get(number, ()))
            # An offset means nothing without the limit that was intended.
            without = names | {"offset"} if "limit" in names else names
            found[number] = LOOKUP.read({name: value for name, value in given.items() if name not in without})
    return found


# The example of the OpenAPI document. Every source and every key takes it.
ORDER: dict[str, Any] = {
    "lookups": [
        {
            "source": "tiktok-creators",
            "limit": 40,
            "parameters": {"followers_count": {"min": 13000}, "language": "en", "has_email": True},
        }
    ],
    "metadata": {"campaign": "spring"},
}


class OrderInForm(OrderRequest):
    """A search without its picture, which the form has as a file. A stored picture is named in JSON instead."""

    example: ClassVar[dict[str, Any]] = ORDER


class SearchForm(StrictSerializer):
    """The picture as a file, and everything else as JSON."""

    image = PictureFile(help_text=f"{FORMATS}.")
    request = OrderInForm()
