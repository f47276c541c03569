"""Calls the API as a tenant's program does, with an API key and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from config.launcher.errors import LaunchError

Json = dict[str, Any]
# These statuses blame the picture, which is the only choice of the person at the terminal.
THE_PICTURES_FAULT = (400, 413)


class ApiClient:
    def __init__(self, web: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._client = httpx.Client(base_url=f"{web}/v1", headers=headers, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def submit(self, picture: bytes, **request: Any) -> Json:
        """Submits a search. Raises `LaunchError`, in the API's own words, if the API refuses the picture."""
        form = {"image": ("picture", picture)}
        return self._answer(self._client.post("/searches", files=form, data={"request": json.dumps(request)}))

    def be_told(self, url: str, events: list[str]) -> str:
        """Creates an endpoint and returns its secret."""
        endpoint = self._answer(self._client.post("/webhook-endpoints", json={"url": url, "events": events}))
        return str(endpoint["secret"])

    def search(self, id: str, *, wait: int = 0) -> Json:
        return self._answer(self._client.get(f"/searches/{id}", headers={"Prefer": f"wait={wait}"} if wait else {}))

    def list(self, path: str) -> Iterator[Json]:
        """Yields all items of a list, page by page."""
        query = {"limit": "100"}
        while True:
            page = self._answer(self._client.get(path, params=query))
            yield from page["data"]
            if not page["has_more"]:
                return
            query["cursor"] = page["next_cursor"]

    def _answer(self, response: httpx.Response) -> Json:
        try:
            body: Json = response.json()
        except ValueError:
            body = {"detail": response.reason_phrase}
        if response.is_success:
            return body
        told = f"The API answers {response.status_code}. {body['detail']}"
        raise LaunchError(told, code=2 if response.status_code in THE_PICTURES_FAULT else 1)
