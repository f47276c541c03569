"""Requests that the tests of the API send, and rows as a search leaves them."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from billing.models import Entry, Hold
from searches.models import Image, Lookup, Rendering, Result, Search
from tests.searches.samples import jpeg

PICTURE = jpeg()


def lookup(**changes: Any) -> dict[str, Any]:
    return {"source": "tiktok-creators", **changes}


def order(**changes: Any) -> dict[str, Any]:
    """A create's JSON body; a change to None takes a field out."""
    body = {"image": {"base64": b64encode(PICTURE).decode()}, "lookups": [lookup()], **changes}
    return {name: value for name, value in body.items() if value is not None}


def create(client: APIClient, **changes: Any) -> Any:
    return client.post("/v1/searches", json.dumps(order(**changes)), content_type="application/json")


def create_form(client: APIClient, request: Any, *, picture: bytes = PICTURE, **parts: Any) -> Any:
    text = request if isinstance(request, str) else json.dumps(request)
    file = SimpleUploadedFile("picture.jpg", picture, content_type="image/jpeg")
    return client.post("/v1/searches", {"image": file, "request": text, **parts}, format="multipart")


def made(client: APIClient, **changes: Any) -> Search:
    """A search as the API made it."""
    response = create(client, **changes)
    assert response.status_code == 202, response.content
    return Search.objects.get(pk=response.json()["id"])


def nothing_left() -> bool:
    """Returns whether neither rows nor files of a search exist."""
    rows = any(model.objects.exists() for model in (Search, Lookup, Image, Rendering, Hold, Entry))
    return not rows and not list(pictures_folder().rglob("*.*"))


def pictures_folder() -> Path:
    return Path(default_storage.path(""))


def add_results(search: Search, count: int = 3, *, lookup: Lookup | None = None, **fields: Any) -> list[Result]:
    """Results behind those that the search has."""
    lookup = lookup or search.lookups.all()[0]
    present, ranked = search.results.count(), lookup.results.count()
    Search.objects.filter(pk=search.pk).update(results_count=present + count)
    return [
        Result.objects.create(
            search=search,
            lookup=lookup,
            rank=ranked + number,
            sequence=present + number,
            observed_at=datetime(2026, 11, 20, tzinfo=UTC),
            **{**creator(ranked + number), **fields},
        )
        for number in range(1, count + 1)
    ]


def creator(number: int) -> dict[str, Any]:
    return {
        "type": "creator",
        "external_id": str(number),
        "title": f"Creator {number}",
        "url": f"https://www.tiktok.com/@creator{number}",
        "detail": {
            "username": f"creator{number}",
            "followers_count": 1000 * number,
            "engagement_rate": 0.05,
            "account_category": "Artist",
            "matched_posts": [],
            "recent_posts": [],
        },
        "raw": {"userId": str(number), "unheardOf": True},
    }
