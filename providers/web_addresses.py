"""Decides which of the addresses in providers' answers are passed on as links.

A field for an address may have anything in it: `javascript:`, `data:`, a storage's own `tos://`. Only http and https with a
host are safe for a browser or a fetcher. Every other value stays in the raw object alone.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

LONGEST = 2000
# Nearly all addresses match this. The check is fast, and a page of results has thousands of addresses.
USUAL = re.compile(r"https?://[a-z0-9-]+(\.[a-z0-9-]+)+(/[!#-;=?-\[\]-~]*)?")
# Control characters, which browsers remove from an address before they read it.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Browsers read a backslash as a slash, which ends the host. The others are never part of a host.
NOT_IN_A_HOST = re.compile(r"[\\\s<>\"]")


def web_address(given: Any) -> str | None:
    """Returns the given value if it is an address of http or https with a host; else None. An address is never shortened."""
    if not isinstance(given, str) or len(given) > LONGEST or CONTROLS.search(given) or given != given.strip():
        return None
    if USUAL.fullmatch(given):
        return given
    try:
        parts = urlsplit(given)
        # An invalid port raises ValueError too.
        is_link = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_link = is_link and not NOT_IN_A_HOST.search(parts.netloc)
    except ValueError:
        return None
    return given if is_link else None
