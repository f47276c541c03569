"""An order: what a tenant asks of one picture, as values, and the reasons for which one is rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class LookupOrder:
    """One source's part of an order. `credential` is an id or a label; None for the tenant's default."""

    source: str
    parameters: dict[str, Any]
    limit: int | None = None
    offset: int = 0
    credential: str | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """The questions of one search about one picture.

    `crop` is a `Crop` as text, empty for the whole picture. `expires_in` is in seconds. `max_age` is the age in seconds that an
    equal lookup's answer may have; None for the tenant's own setting; with 0 the provider is asked. `max_credits` is the
    most that the search may hold and cost, by provider. `retry_of` is the id of the search whose failed lookups these are.
    """

    lookups: Sequence[LookupOrder]
    crop: str = ""
    priority: int = 0
    expires_in: int = 86_400
    max_age: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    max_credits: dict[str, Decimal] = field(default_factory=dict)
    retry_of: UUID | None = None


class Rejected(Exception):
    """Rejects the order's lookup number `index`."""

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(detail)
        self.index = index
        self.detail = detail


class CredentialMissing(Rejected):
    """The tenant has stored no key for the provider."""


class UnknownCredential(Rejected):
    """The order names a credential that does not exist."""


class BadOffset(Rejected):
    """The offset falls between two pages, or the lookup reaches past what the source returns."""


class WrongOrder(Exception):
    """Rejects an order for all that is wrong with its lookups: credentials and offsets."""

    def __init__(self, rejections: Sequence[Rejected]) -> None:
        super().__init__(" ".join(rejection.detail for rejection in rejections))
        self.rejections = rejections
