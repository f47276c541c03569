"""Asks any source that there is, through its adapter, as a worker would: no test that uses it names a provider."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

from providers import registry
from providers.contract import Answer, Picture, Question, Secret
from providers.http import Door
from tests.providers.lanes import any_token

SOURCES = tuple(registry.ADAPTERS)


def ask(source: str, url: str, key: str, *, seconds: float = 10, **parameters: Any) -> Answer:
    """The sandbox at `url`, which is given so long; raises what the adapter does."""
    adapter = registry.adapter(source)
    return adapter.ask(
        Question(picture=_picture(), parameters=parameters, page=0, page_size=adapter.policy.page_size),
        secret=Secret(value=key),
        base_url=f"{url}{adapter.sandbox_path}",
        door=Door(connect_seconds=2, total_seconds=seconds),
        token=any_token(),
    )


def _picture() -> Picture:
    file = BytesIO()
    Image.new("RGB", (40, 40), "orange").save(file, "JPEG")
    return Picture(content=file.getvalue(), media_type="image/jpeg")
