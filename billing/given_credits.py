"""Reads credits in the bodies of requests: decimal texts, by provider."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError

from accounts.web.strict_fields import StrictDict, StrictText
from billing import ledger
from providers import registry

PROVIDERS = tuple(sorted({adapter.provider for adapter in registry.ADAPTERS.values()}))
# 0 or more credits with at most 6 decimals; more digits than `ledger.MOST` has are not read.
CREDITS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
CREDITS_FORM = 'Must be credits as a text of 0 or more with at most 6 decimals, such as "2.5".'


class GivenCredits(StrictText):
    """Credits as a decimal text. A number of JSON is no decimal, so it is refused."""

    default_error_messages = {"invalid": CREDITS_FORM, "blank": CREDITS_FORM}

    def to_internal_value(self, data: Any) -> Decimal:
        if type(data) is not str or not CREDITS.fullmatch(data):
            raise ValidationError(CREDITS_FORM, code="invalid")
        if (amount := Decimal(data)) > ledger.MOST:
            raise ValidationError(f"Must be at most {ledger.MOST:,} credits.", code="max_value")
        return amount


@extend_schema_field(
    {
        "type": "object",
        "propertyNames": {"enum": list(PROVIDERS)},
        "additionalProperties": {"type": "string", "pattern": f"^{CREDITS.pattern}$"},
    }
)
class CreditsByProvider(StrictDict):
    """Amounts of credits, by provider."""

    child = GivenCredits()
    default_error_messages = {
        "not_a_dict": f'Must be an object of credits by provider, such as {{{{"{PROVIDERS[0]}": "2.5"}}}}.'
    }

    def check_name(self, name: Any) -> None:
        if name not in PROVIDERS:
            raise ValidationError(
                f"There is no such provider; known are {', '.join(PROVIDERS)}.", code="unknown_provider"
            )
