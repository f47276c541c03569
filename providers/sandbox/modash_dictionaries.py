"""Modash's dictionaries, as facts about its Instagram ones tell: what a search's filters take, as far as the catalogue goes.

Where the real one keeps its brands is not public; here they have an address of our own choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.catalogue import BRANDS, SandboxCreator
from providers.sandbox.exchange import Request, Response
from providers.sandbox.provider import Refusal

# Where the catalogue's creators live, and what they speak.
LOCATIONS = {
    148838: "United States",
    62149: "United Kingdom",
    51477: "Germany",
    2202162: "France",
    1311341: "Spain",
    59470: "Brazil",
}
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "pt": "Portuguese"}
# Followers from which on a creator of the catalogue bears a mark.
VERIFIED_FROM = 1_000_000
# So many without a `limit`.
USUAL_LIMIT = 10
LIMIT = re.compile(r"[1-9][0-9]{0,8}")


def locations(request: Request) -> Response:
    lines = [{"id": id, "name": name, "title": name} for id, name in LOCATIONS.items()]
    return _those_asked_for(request, "locations", lines)


def languages(request: Request) -> Response:
    """All, whatever is asked for."""
    lines = [{"code": code, "name": name} for code, name in LANGUAGES.items()]
    return Response.of({"error": False, "languages": lines})


def brands(request: Request) -> Response:
    lines = [{"id": number, "name": name} for number, name in enumerate(BRANDS, start=1)]
    return _those_asked_for(request, "brands", lines)


def users(request: Request, creators: Iterable[SandboxCreator]) -> Response:
    """Finds creators of the catalogue by a part of either of their names."""
    lines = [
        {
            "userId": creator.user_id,
            "username": creator.username,
            "fullname": creator.full_name,
            "followers": creator.followers,
            "picture": None,
            "isVerified": creator.followers >= VERIFIED_FROM,
        }
        for creator in creators
    ]
    return _those_asked_for(request, "users", lines, names=("username", "fullname"))


def _those_asked_for(
    request: Request, name: str, lines: list[dict[str, Any]], *, names: tuple[str, ...] = ("name",)
) -> Response:
    asked = parse_qs(str(request.environ.get("QUERY_STRING", "")))
    query = asked.get("query", [""])[0].casefold()
    limit = asked.get("limit", [str(USUAL_LIMIT)])[0]
    if not LIMIT.fullmatch(limit):
        error = {"error": True, "code": "bad_request", "message": "limit must be a whole number from 1 on."}
        raise Refusal(Response.of(error, 400))
    found = [line for line in lines if any(query in str(line[name] or "").casefold() for name in names)]
    return Response.of({"error": False, name: found[: int(limit)], "total": len(found)})
