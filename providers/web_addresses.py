"""Tells which of the addresses that providers answer may be handed on as links.

Anything may stand where an address belongs: `javascript:`, `data:`, a storage's own `tos://`. A browser or a fetcher may be sent
to http(s) at a host alone; everything else is data, and stays in the raw object.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

LONGEST = 2000
# What nearly all are, told at once: a page of results has thousands.
USUAL = re.compile(r"https?://[a-z0-9-]+(\.[a-z0-9-]+)+(/[!#-;=?-\[\]-~]*)?")
# Browsers take these out of an address before they read it.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Browsers take a backslash for a slash: the host would end before it. The others are in no host.
NO_HOST = re.compile(r"[\\\s<>\"]")


def web_address(given: Any) -> str | None:
    """Returns what was given, if it is an address of http or https with a host; else None. A cut one leads nowhere."""
    if not isinstance(given, str) or len(given) > LONGEST or UNSEEN.search(given) or given != given.strip():
        return None
    if USUAL.fullmatch(given):
        return given
    try:
        parts = urlsplit(given)
        # A port that is none raises too.
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_one = is_one and not NO_HOST.search(parts.netloc)
    except ValueError:
        return None
    return given if is_one else None
