"""Writes what the demo found as one HTML file that needs nothing else: the picture, beside it the results and their credits.

Titles, names and addresses come from a provider and may be hostile. Texts are escaped by the template, addresses are checked once
more, and every picture is decoded in a process of its own and encoded anew. The file's content policy lets it load nothing.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from django.contrib.staticfiles import finders
from django.template.loader import render_to_string

from accounts.numbers import decimal_text
from accounts.web.bulkhead import Busy
from config.demo.api_client import Json
from config.demo.report import INVENTED, INVENTED_FOR_YOURS, Findings
from config.demo.sample_picture import SamplePicture
from providers.web_addresses import web_address
from searches import pictures

FILE = "report.html"
STYLES = ("sightline/pages.css", "sightline/report.css")
SHOWN = 12
LARGE, SMALL = (480, 480), (240, 320)
FETCH_SECONDS = 5.0
# Returns the content of the picture at an address; nothing where there is none to show.
Fetch = Callable[[str], bytes]


class Pictures:
    """Fetches pictures from the sandbox, and from nowhere else."""

    def __init__(self, sandbox: str) -> None:
        self.beginning = f"{sandbox}/pictures/"

    def __call__(self, address: str) -> bytes:
        if not address.startswith(self.beginning):
            return b""
        try:
            response = httpx.get(address, timeout=FETCH_SECONDS, trust_env=False)
        except httpx.HTTPError:
            return b""
        return response.content if response.is_success else b""


def write(folder: Path, sample: SamplePicture, found: Findings, fetch: Fetch) -> Path:
    """Returns the file. It is written whole, or replaces no earlier one."""
    page = folder / FILE
    fresh = page.with_name(f"{FILE}.new")
    fresh.write_text(html(sample, found, fetch), encoding="utf-8")
    return fresh.replace(page)


def html(sample: SamplePicture, found: Findings, fetch: Fetch) -> str:
    style = "\n".join(Path(str(finders.find(name))).read_text() for name in STYLES)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    shown = {
        "policy": f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        "style": style,
        "title": sample.title,
        "picture": embedded(sample.content, LARGE),
        "note": (INVENTED if sample.maker else INVENTED_FOR_YOURS).strip(),
        "parts": [part(lookup, found, fetch) for lookup in found.lookups],
        "credits": [credits_of(provider, found) for provider in found.providers],
    }
    return render_to_string("demo_report.html", shown)


def part(lookup: Json, found: Findings, fetch: Fetch) -> dict[str, Any]:
    results = found.results_of(lookup["source"])
    cards = [card(result, fetch) for result in results[:SHOWN]]
    return {"source": lookup["source"], "count": len(results), "calls": lookup["calls"], "cards": cards}


def card(result: Json, fetch: Fetch) -> dict[str, Any]:
    posts = (result.get("creator") or {}).get("matched_posts") or [{}]
    addresses = filter(None, map(web_address, (posts[0].get("thumbnail"), result["image_url"])))
    return {
        "title": result["title"],
        "address": web_address(result["url"]),
        "picture": next((found for each in addresses if (found := embedded(fetch(each), SMALL))), ""),
        "lines": [f"Rank {result['rank']}", *filter(None, lines(result))],
    }


def lines(result: Json) -> Iterable[str]:
    """Yields what a card says of its type."""
    match result["type"]:
        case "creator":
            creator = result["creator"]
            yield f"@{creator['username']}" if creator["username"] else ""
            yield "" if creator["followers_count"] is None else f"{creator['followers_count']:,} followers"
        case "product":
            yield f"Shop in {result['product']['region']}" if result["product"]["region"] else ""
        case "video":
            yield result["video"]["platform"] or ""
            starts = [each["start_seconds"] for each in result["video"]["moments"] if each["start_seconds"] is not None]
            yield f"Seen at {', '.join(f'{start:g} s' for start in starts[:3])}" if starts else ""


def credits_of(provider: str, found: Findings) -> dict[str, str]:
    moved = {kind: decimal_text(found.moved(kind, provider)) for kind in ("hold", "charge", "release")}
    return {"provider": provider, "balance": str(found.balances[provider]), **moved}


def embedded(content: bytes, size: tuple[int, int]) -> str:
    """Returns a picture as a data address, encoded anew; nothing for content that is none."""
    if not content:
        return ""
    try:
        return f"data:image/webp;base64,{b64encode(pictures.small(content, size)).decode()}"
    except (pictures.BadPicture, pictures.TooLarge, Busy):
        return ""
