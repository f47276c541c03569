"""Reads ids in a path: in capital or small letters, as RFC 9562 asks of readers, and without dashes, as in a body."""

from __future__ import annotations

from django.urls import register_converter
from django.urls.converters import UUIDConverter

HEX = "[0-9a-fA-F]"


class Id(UUIDConverter):
    """Converts `<id:…>`. Django's own converter takes small letters only."""

    regex = rf"{HEX}{{8}}-?{HEX}{{4}}-?{HEX}{{4}}-?{HEX}{{4}}-?{HEX}{{12}}"


register_converter(Id, "id")
