"""Plays Modash's dictionaries, which list the values that a search's filters take, for the creators of the catalogue.

Only the dictionaries for Instagram are documented; these follow them. The address of the real dictionary of brands is not public;
the address here is our own choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from providers.sandbox.catalogue import BRANDS, SandboxCreator
from providers.sandbox.played_provider import ErrorResponse
from providers.sandbox.wsgi import Request, Response

# The homes and languages of the catalogue's creators (`catalogue.HOMES`).
LOCATIONS = {
    148838: "United States",
    62149: "United Kingdom",
    51477: "Germany",
    2202162: "France",
    1311341: "Spain",
    59470: "Brazil",
}
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "pt": "Portuguese"}
# A creator with so many followers is shown as verified.
VERIFIED_FROM = 1_000_000
# The number of lines in an answer to a request without `limit`.
DEFAULT_LIMIT = 10
LIMIT = re.compile(r"[1-9][0-9]{0,8}")


def locations(request: Request) -> Response:
    lines = [{"id": id, "name": name, "title": name} for id, name in LOCATIONS.items()]
    return _matching(request, "locations", lines)


def languages(request: Request) -> Response:
    """Lists all languages, whatever the query is."""
    lines = [{"code": code, "name": name} for code, name in LANGUAGES.items()]
    return Response.of({"error": False, "languages": lines})


def brands(request: Request) -> Response:
    lines = [{"id": number, "name": name} for number, name in enumerate(BRANDS, start=1)]
    return _matching(request, "brands", lines)


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
    return _matching(request, "users", lines, names=("username", "fullname"))


def _matching(
    request: Request, name: str, lines: list[dict[str, Any]], *, names: tuple[str, ...] = ("name",)
) -> Response:
    asked = parse_qs(str(request.environ.get("QUERY_STRING", "")))
    query = asked.get("query", [""])[0].casefold()
    limit = asked.get("limit", [str(DEFAULT_LIMIT)])[0]
    if not LIMIT.fullmatch(limit):
        error = {"error": True, "code": "bad_request", "message": "limit must be a whole number from 1 on."}
        raise ErrorResponse(Response.of(error, 400))
    found = [line for line in lines if any(query in str(line[name] or "").casefold() for name in names)]
    return Response.of({"error": False, name: found[: int(limit)], "total": len(found)})
