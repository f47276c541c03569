"""Quotes that the tests ask for, and what a submit makes of the same order."""

from __future__ import annotations

import json
from typing import Any

from django.apps import apps
from rest_framework.test import APIClient

from tests.api.examples import order, pictures_folder

# An API key notes when it was used, by any request.
NOTED = "last_used_at"


def quote(client: APIClient, **changes: Any) -> Any:
    return client.post("/v1/searches/quote", json.dumps(order(**changes)), content_type="application/json")


def quoted(client: APIClient, **changes: Any) -> dict[str, Any]:
    response = quote(client, **changes)
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def everything() -> Any:
    """Returns all rows of all tables, and the names of all files of pictures."""
    rows = {model: list(model._base_manager.order_by("pk").values()) for model in apps.get_models()}
    rows = {model: [{**row, NOTED: None} if NOTED in row else row for row in found] for model, found in rows.items()}
    return rows, sorted(pictures_folder().rglob("*"))


def without_id(response: Any) -> tuple[int, dict[str, Any]]:
    """Returns the status and the problem of an answer, but for the name of its request."""
    return response.status_code, {name: value for name, value in response.json().items() if name != "request_id"}
