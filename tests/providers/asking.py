"""Asks a source through its adapter, as a worker does."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from providers import registry
from providers.contract import Access, Adapter, Answer, Picture, Question, Secret
from providers.failures import Failure
from providers.http import ProviderClient
from tests.providers.lanes import any_token

SOURCES = tuple(registry.ADAPTERS)
CLIENT = ProviderClient(connect_seconds=2, total_seconds=5)


def drawn(format: str = "JPEG", colour: str = "teal") -> bytes:
    """Draws a small picture."""
    file = BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, format)
    return file.getvalue()


def answer_of(
    adapter: Adapter,
    url: str,
    secret: Secret,
    *,
    page: int = 0,
    page_size: int | None = None,
    picture: bytes = b"",
    media_type: str = "image/jpeg",
    **parameters: Any,
) -> Answer:
    question = Question(
        picture=Picture(content=picture or drawn(), media_type=media_type),
        parameters=parameters,
        page=page,
        page_size=page_size or adapter.policy.page_size,
    )
    return adapter.ask(question, Access(secret=secret, base_url=url, client=CLIENT, token=any_token()))


def failure_of(ask: Callable[..., Answer], *arguments: Any, **question: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        ask(*arguments, **question)
    return caught.value


def errors_of(adapter: Adapter, parameters: Any) -> Any:
    """Returns the errors of parameters, by field."""
    checked = adapter.parameters(data=parameters)
    return {} if checked.is_valid() else checked.errors


def ask(source: str, url: str, key: str, *, seconds: float = 10, **parameters: Any) -> Answer:
    """Asks any source of the registry at the sandbox at `url`. Tests that use this name no provider."""
    adapter = registry.adapter(source)
    question = Question(
        picture=Picture(content=drawn(colour="orange"), media_type="image/jpeg"),
        parameters=parameters,
        page=0,
        page_size=adapter.policy.page_size,
    )
    access = Access(
        secret=Secret(value=key),
        base_url=f"{url}{adapter.sandbox_path}",
        client=ProviderClient(connect_seconds=2, total_seconds=seconds),
        token=any_token(),
    )
    return adapter.ask(question, access)
