"""Reads from the address of a picture when it stops working, where the address says so.

An address that is signed for a time has that time in its query: as an instant, or as a date and seconds from it. Only forms that
are known are read, each with its signature. A form that is unknown, incomplete or absurd says nothing, so nothing is guessed.

Amazon S3, CloudFront (canned policies), Google Cloud Storage, Alibaba OSS, Volcano TOS and Azure document their forms. Those of
TikTok's and Meta's picture servers are not documented, and are read off their addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

SECONDS = re.compile(r"[0-9]{10}")
HEXADECIMAL_SECONDS = re.compile(r"[0-9a-f]{8}")
# The seconds of a signature of version 4: 7 days at most.
LIFETIME = re.compile(r"[1-9][0-9]{0,5}")
LONGEST_LIFETIME = timedelta(days=7)
# Earlier and later instants are mistakes: no such address existed before, and none is given for longer than some years.
EARLIEST, LATEST = datetime(2010, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

# Names in lower case: the instant in Unix seconds, and what an address of this form has beside it.
INSTANTS = (
    ("x-expires", {"x-signature"}),  # TikTok
    ("expires", {"awsaccesskeyid", "signature"}),  # S3, version 2
    ("expires", {"key-pair-id", "signature"}),  # CloudFront
    ("expires", {"googleaccessid", "signature"}),  # Google Cloud Storage, version 2
    ("expires", {"ossaccesskeyid", "signature"}),  # OSS, version 1
)
# Version 4 of a signature has the same parameters everywhere, behind another prefix: S3, Google Cloud Storage, OSS, TOS.
PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-tos-")
META_HOSTS = (".fbcdn.net", ".cdninstagram.com")


def of(address: str | None) -> datetime | None:
    """Returns when the address stops working; None if it does not say so. Of several instants the earliest counts."""
    if not address or "?" not in address:
        return None
    try:
        parts = urlsplit(address)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        host = parts.hostname or ""
    except ValueError:
        return None
    query = {name.lower(): value for name, value in pairs}
    if len(query) < len(pairs):  # a parameter is given twice, and nobody knows which one counts
        return None
    return min((at for at in _instants(query, host) if EARLIEST <= at < LATEST), default=None)


def _instants(query: Mapping[str, str], host: str) -> Iterator[datetime]:
    for name, beside in INSTANTS:
        if SECONDS.fullmatch(query.get(name, "")) and all(query.get(other) for other in beside):
            yield datetime.fromtimestamp(int(query[name]), UTC)
    for prefix in PREFIXES:
        begun = _instant(query.get(f"{prefix}date", ""), "%Y%m%dT%H%M%SZ")
        seconds = query.get(f"{prefix}expires", "")
        lifetime = timedelta(seconds=int(seconds) if LIFETIME.fullmatch(seconds) else 0)
        if begun and timedelta() < lifetime <= LONGEST_LIFETIME and query.get(f"{prefix}signature"):
            yield begun + lifetime
    if query.get("sig") and query.get("sv") and (end := _instant(query.get("se", ""), "%Y-%m-%dT%H:%M:%SZ")):  # Azure
        yield end
    if host.endswith(META_HOSTS) and query.get("oh") and HEXADECIMAL_SECONDS.fullmatch(query.get("oe", "").lower()):
        yield datetime.fromtimestamp(int(query["oe"], 16), UTC)


def _instant(text: str, form: str) -> datetime | None:
    """Reads an instant of exactly this form."""
    try:
        at = datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None
    # `strptime` also takes fewer digits, and blanks.
    return at if at.strftime(form) == text else None
