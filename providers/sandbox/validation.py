"""Checks request bodies against a provider's document, by small functions that name the field that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]


class InvalidBody(Exception):
    """The body is not as the document says. The message names the field and what it should be."""


def number(*, at_least: float | None = None, whole: bool = False) -> Check:
    def check(value: Any, path: str) -> None:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise InvalidBody(f"{path} must be a {'whole ' if whole else ''}number")
        if at_least is not None and value < at_least:
            raise InvalidBody(f"{path} must be at least {at_least}")

    return check


def boolean(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise InvalidBody(f"{path} must be a boolean")


def text(value: Any, path: str) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidBody(f"{path} must be a string")


def one_of(*choices: Any) -> Check:
    def check(value: Any, path: str) -> None:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise InvalidBody(f"{path} must be one of {', '.join(map(str, choices))}")

    return check


def list_of(item: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise InvalidBody(f"{path} must be an array")
        for index, each in enumerate(value):
            item(each, f"{path}[{index}]")

    return check


def fields(known: Mapping[str, Check], *, required: tuple[str, ...] = ()) -> Check:
    """Checks an object. A field that is not known is refused, for no document says that unknown fields are ignored."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise InvalidBody(f"{path or 'body'} must be an object")
        for name in required:
            if name not in value:
                raise InvalidBody(f"{path}.{name} is required".lstrip("."))
        for name, each in value.items():
            where = f"{path}.{name}".lstrip(".")
            if name not in known:
                raise InvalidBody(f"{where} is not allowed")
            known[name](each, where)

    return check
