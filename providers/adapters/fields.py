"""Reads the objects of a provider's answer field by field, as our columns can hold them.

A result that was paid for is handed over if its identity can be read. Any other field may be odd, and is None then. An item
without an identity is counted and shown to operators.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accounts.numbers import one_form
from providers.web_addresses import web_address

# No page of a provider has as many objects. More of them could not be stored within one transaction's time.
MOST_OBJECTS = 5000
# Characters. The raw object keeps longer values whole.
LONGEST_TEXT, LONGEST_IDENTITY = 10_000, 200
LARGEST_COUNT = 2**63 - 1


@dataclass(frozen=True)
class Fields:
    """One object of an answer. A field that is missing, or of another type than is asked for, is None."""

    value: Any

    def text(self, name: str) -> str | None:
        """Returns a text that is neither empty nor longer than `LONGEST_TEXT`."""
        value = self.value.get(name)
        return value if isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT else None

    def identity(self, name: str) -> str | None:
        """Returns the value that identifies an object: a text as a column holds it, or a whole number."""
        value = self.value.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return value if isinstance(value, str) and value.strip() and len(value) <= LONGEST_IDENTITY else None

    def number(self, name: str) -> Any:
        """Returns a number that a double can hold, in one form. A whole number of JSON may be larger than that."""
        value = self.value.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return one_form(value) if is_number and abs(value) <= sys.float_info.max else None

    def score(self, name: str) -> float | None:
        """Returns a provider's measure of similarity, as a column of doubles holds it."""
        number = self.number(name)
        return None if number is None else one_form(float(number))

    def count(self, name: str) -> int | None:
        """Returns a whole number that 64 bits hold. A negative one means that the count is hidden, and is None."""
        number = self.number(name)
        return int(number) if number is not None and 0 <= number <= LARGEST_COUNT and number == int(number) else None

    def web_address(self, name: str) -> str | None:
        return web_address(self.value.get(name))

    def object(self, name: str) -> Fields:
        value = self.value.get(name)
        return Fields(value if isinstance(value, dict) else {})

    def objects(self, name: str) -> list[Fields]:
        values = self.value.get(name)
        found = [Fields(value) for value in values if isinstance(value, dict)] if isinstance(values, list) else []
        return found[:MOST_OBJECTS]


@dataclass(frozen=True)
class Items:
    """The items that an answer lists: `known` with their identities, in the answer's order, and the others."""

    known: list[tuple[str, Fields]]
    others: list[Any]


def items(listed: list[Any], identify: Callable[[Fields], str | None]) -> Items:
    """Sorts the items of a list by whether they can be identified. Those after `MOST_OBJECTS` count as unidentified."""
    known, others = [], listed[MOST_OBJECTS:]
    for value in listed[:MOST_OBJECTS]:
        fields = Fields(value) if isinstance(value, dict) else None
        identity = identify(fields) if fields else None
        if fields is None or identity is None:
            others.append(value)
        else:
            known.append((identity, fields))
    return Items(known, others)


def has_objects(listed: Any) -> bool:
    """Returns whether a value is a list with an object in it: then it is what was searched for, whatever else the answer says."""
    return isinstance(listed, list) and any(isinstance(value, dict) for value in listed)
