"""Calls the API as a tenant's program does, with an API key and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from config.launcher.errors import LaunchError

Json = dict[str, Any]
# These statuses blame the picture, which is the only choice of the person at the terminal.
THE_PICTURES_FAULT = (400, 413)


class ApiClient(httpx.Client):
    def __init__(self, web: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        super().__init__(base_url=f"{web}/v1", headers=headers, timeout=30, trust_env=False)

    def submit(self, picture: bytes, **request: Any) -> Json:
        """Submits a search. Raises `LaunchError`, in the API's own words, if the API refuses the picture."""
        form = {"image": ("picture", picture)}
        return self._answer(self.post("/searches", files=form, data={"request": json.dumps(request)}))

    def create_endpoint(self, url: str, events: list[str]) -> str:
        """Returns the secret of the new endpoint."""
        endpoint = self._answer(self.post("/webhook-endpoints", json={"url": url, "events": events}))
        return str(endpoint["secret"])

    def search(self, id: str, *, wait: int = 0) -> Json:
        return self._answer(self.get(f"/searches/{id}", headers={"Prefer": f"wait={wait}"} if wait else {}))

    def list(self, path: str) -> Iterator[Json]:
        """Yields all items of a list, page by page."""
        query = {"limit": "100"}
        while True:
            page = self._answer(self.get(path, params=query))
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
        message = f"The API answers {response.status_code}. {body['detail']}"
        raise LaunchError(message, code=2 if response.status_code in THE_PICTURES_FAULT else 1)
