"""How a source declares what it can be asked: a serializer of the strict kind, whose fields are had from here too."""

from __future__ import annotations

from accounts.web.strict_fields import (
    StrictBoolean,
    StrictChoice,
    StrictInteger,
    StrictList,
    StrictNumber,
    StrictSerializer,
    StrictText,
)

__all__ = [
    "Parameters",
    "StrictBoolean",
    "StrictChoice",
    "StrictInteger",
    "StrictList",
    "StrictNumber",
    "StrictSerializer",
    "StrictText",
]


class Parameters(StrictSerializer):
    """The `parameters` of one source. What it validates is stored as given and shown again."""
