"""Provides the base class and the fields with which an adapter declares the parameters of its source."""

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
    """The `parameters` of one source. Valid parameters are stored and shown as they were given."""
