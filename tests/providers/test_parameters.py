"""Tests what the parameters of all sources have in common."""

from __future__ import annotations

import pytest

from accounts.web.strict_fields import Nothing, StrictSerializer
from providers import registry


@pytest.mark.parametrize("source", registry.ADAPTERS)
def test_an_unknown_parameter_is_refused_with_the_names_of_the_known_ones(source: str) -> None:
    parameters = registry.adapter(source).parameters
    known = ", ".join(sorted(parameters().fields))
    assert errors_of(parameters) == {"shape": [f"Unknown field; known here: {known}."]}


def test_where_there_are_no_fields_the_error_says_so() -> None:
    assert errors_of(Nothing) == {"shape": ["Unknown field; leave it out, for none is taken here."]}


def errors_of(serializer: type[StrictSerializer]) -> object:
    checked = serializer(data={"shape": 1})
    assert not checked.is_valid()
    return checked.errors
