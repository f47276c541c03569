"""Tests what the parameters of all sources have in common."""

from __future__ import annotations

import pytest
from rest_framework import serializers

from providers.parameters import Parameters, StrictInteger


class Some(Parameters):
    size = StrictInteger(required=False)
    colour = serializers.CharField(required=False)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (Some, "Unknown field; known here: colour, size."),
        (Parameters, "Unknown field; leave it out, for none is taken here."),
    ],
)
def test_a_field_that_is_unknown_is_refused_with_those_that_are_not(parameters: type[Parameters], says: str) -> None:
    checked = parameters(data={"shape": 1})
    assert not checked.is_valid()
    assert checked.errors == {"shape": [says]}
