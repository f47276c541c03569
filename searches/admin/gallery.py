"""Shows the results of a search as pictures: a tab a lookup, creators first, and a page of results at a time.

A picture of a provider is loaded from its address by the operator's browser, without a referrer. Where there is none to load, the
tile says why in words. Text and addresses from providers are not trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.http import urlencode

from accounts import clock
from accounts.numbers import one_form
from accounts.web.admin_columns import list_of, page_of
from providers import media_expiry, registry
from providers.web_addresses import web_address
from searches.admin.columns import about
from searches.models import Lookup, Result, Search

# The results of a page: a row of the grid has 2, 3, 4, 6 or 8. The time lines below stay within reach.
SHOWN = 24
# The posts of a creator that a tile shows beside the first.
MOST_POSTS = 3
CREATORS = {source for source, adapter in registry.ADAPTERS.items() if adapter.result_type == "creator"}
SIGNS = {"creator": "person", "product": "shopping_bag", "video": "movie"}
LOST = "The picture cannot be loaded. Its address may have ended."
TAB, PAGE = "lookup", "results"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture's address, or the sentence that stands in for it. The sentence is also for an address that fails."""

    address: str | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One result. `picture`: the matched post of a creator, else the result's own. `portrait`: the creator beside the post."""

    result: Result
    page: str
    link: str | None
    picture: Shown
    portrait: str | None
    posts: Sequence[tuple[str, str | None]]
    about: str
    sign: str
    score: float | None
    kind: str


def of(search: Search, lookups: Sequence[Lookup], request: HttpRequest) -> dict[str, Any]:
    """Returns the tabs and the open one's page of results, which takes one query."""
    ordered = sorted(lookups, key=lambda lookup: (lookup.source not in CREATORS, lookup.ordinal))
    opened = _opened(ordered, request.GET.get(TAB, ""))
    page = _page(opened, request.GET.get(PAGE, "")) if opened else {}
    return {
        "tabs": [_tab(lookup, ordered, is_open=lookup is opened) for lookup in ordered],
        "all": list_of(Result, search__id__exact=search.pk),
        "opened": opened,
        **page,
    }


def _opened(lookups: Sequence[Lookup], wanted: str) -> Lookup | None:
    """Returns the lookup that the address names, else the first with results, else the first."""
    named = [lookup for lookup in lookups if str(lookup.ordinal) == wanted]
    found = [lookup for lookup in lookups if lookup.result_count]
    return next(iter([*named, *found, *lookups]), None)


def _tab(lookup: Lookup, lookups: Sequence[Lookup], *, is_open: bool) -> dict[str, Any]:
    same = [other for other in lookups if other.source == lookup.source]
    number = f" {same.index(lookup) + 1}" if len(same) > 1 else ""
    return {
        "title": f"{lookup.source}{number}",
        "count": lookup.result_count,
        "address": _address(lookup),
        "is_open": is_open,
    }


def _address(lookup: Lookup, page: int = 1) -> str:
    query = {TAB: lookup.ordinal} | ({PAGE: page} if page > 1 else {})
    return f"?{urlencode(query)}#results"


def _page(lookup: Lookup, wanted: str) -> dict[str, Any]:
    """Returns one page. Ranks are 1, 2, 3 … in each lookup, so a page is a range of the index."""
    last = max(1, -(-lookup.result_count // SHOWN))
    number = min(max(int(wanted), 1), last) if wanted.isdecimal() and len(wanted) < 7 else 1
    before = (number - 1) * SHOWN
    rows = lookup.results.filter(rank__gt=before, rank__lte=before + SHOWN).defer("raw").order_by("rank")
    moment = clock.now()
    tiles = [_tile(result, moment) for result in rows]
    return {
        "tiles": tiles,
        "first": before + 1,
        "last": before + len(tiles),
        "earlier": _address(lookup, number - 1) if number > 1 else "",
        "later": _address(lookup, number + 1) if number < last else "",
    }


def _tile(result: Result, moment: datetime) -> Tile:
    posts = list(_posts(result))
    own = shown(result.image_url, result.media_expires_at, moment)
    match = shown(posts[0][0], media_expiry.of(posts[0][0]), moment) if posts else own
    is_match = bool(posts and match.address)
    picture = match if is_match else own
    if not picture.address:
        picture = Shown(address=None, words=_why_none(result) or picture.words)
    return Tile(
        result=result,
        page=page_of(result),
        link=web_address(result.url),
        picture=picture,
        portrait=own.address if is_match else None,
        posts=posts[int(is_match) : MOST_POSTS + 1],
        about=" · ".join(about(result)),
        sign=SIGNS.get(result.type, "image"),
        score=None if result.score is None else one_form(result.score),
        kind="matched post" if is_match else result.type,
    )


def _posts(result: Result) -> Iterator[tuple[str, str | None]]:
    """Yields the picture and the address of each matched post that has a picture."""
    for post in _objects(result.detail.get("matched_posts")):
        if thumbnail := web_address(post.get("thumbnail")):
            yield thumbnail, web_address(post.get("url"))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def shown(given: str | None, expires_at: datetime | None, moment: datetime) -> Shown:
    """Returns how a picture's address from a provider is shown, at this moment."""
    address = web_address(given)
    if not given:
        return Shown(address=None, words="The provider sent no picture.")
    if address is None:
        return Shown(address=None, words=_unusable(given))
    if expires_at is not None and expires_at <= moment:
        return Shown(address=None, words=f"The address of the picture ended on {expires_at:%Y-%m-%d %H:%M:%S} UTC.")
    return Shown(address=address, words=LOST)


def _unusable(given: str) -> str:
    scheme = given.partition("://")[0][:10] if "://" in given else ""
    if scheme.isalnum() and scheme.lower() not in ("http", "https"):
        return f"The picture is in the provider's own storage ({scheme}://), which no browser opens."
    return "The picture's address is none that a browser may open."


def _why_none(result: Result) -> str:
    """Returns why a result of this kind has no picture, where its provider says so; else nothing."""
    source_image = result.detail.get("source_image")
    if isinstance(source_image, str) and source_image:
        return _unusable(source_image)
    return ""
