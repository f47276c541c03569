"""Proves that what is kept of a provider's answer has nothing of the tenant's key, whatever escaping it comes back in."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from providers.adapters import redaction
from providers.adapters.failure_kinds import FailureKind, FailureKinds
from providers.adapters.keyapi import TikTokProducts
from providers.adapters.memories import PublicVideos
from providers.adapters.modash import TikTokCreators
from providers.adapters.replies import ParsedReply
from providers.contract import Access, Adapter, Answer, Picture, Question, Secret
from providers.failures import Failure, Garbled
from providers.http import ProviderClient, Reply
from tests.providers.adapters import test_keyapi, test_memories, test_modash
from tests.providers.conftest import Provider
from tests.providers.lanes import any_token
from tests.searches.samples import jpeg

# Too short to be taken for a picture, with every character that any escaping changes.
KEY = "sk/live+of=alice&%2Fb<o>b"
KEYS = (KEY, 'quo"ted\\key', "back\\\\slashes/\\", "%41%2541%%20", "short/+1")
Escaping = Callable[[str], str]


def by_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def by_php(text: str) -> str:
    return by_json(text).replace("/", "\\/")


def by_code(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def capitals(escaping: Escaping) -> Escaping:
    return lambda text: escaping(text).upper().replace("\\U", "\\u").replace("&#X", "&#x")


def as_it_is(text: str) -> str:
    return text


def by_some_code(text: str) -> str:
    return by_json(text).replace("/", "\\u002F").replace("+", "\\u002b").replace("=", "\\u003d").replace("<", "\\u003C")


ESCAPINGS: dict[str, Escaping] = {
    "as it is": as_it_is,
    "in capitals": str.upper,
    "json": by_json,
    "json, slashes too": by_php,
    "json in json": lambda text: by_php(by_php(text)),
    "json codes": by_code,
    "json codes, some": by_some_code,
    "json codes in capitals": capitals(by_code),
    "url": lambda text: quote(text, safe=""),
    "url, slashes left": quote,
    "url in small letters": lambda text: quote(text, safe="").lower(),
    "url in url": lambda text: quote(quote(text, safe=""), safe=""),
    "url in json": lambda text: by_php(quote(text)),
    "html": html.escape,
    "html codes": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "html codes in capitals": capitals(lambda text: "".join(f"&#x{ord(letter):x};" for letter in text)),
    "html of json": lambda text: html.escape(by_php(text)),
}
EVERY_ESCAPING = pytest.mark.parametrize("escaping", ESCAPINGS.values(), ids=ESCAPINGS)


def failed(kind: FailureKind, *, content: bytes = b"", message: str = "") -> Failure:
    reply = Reply(status=400, headers=httpx.Headers(), content=content)
    return ParsedReply(reply=reply, secret=Secret(value=KEY), body=None, envelope={}).failure(kind, message=message)


@EVERY_ESCAPING
@pytest.mark.parametrize("key", KEYS)
def test_an_excerpt_never_has_the_key(escaping: Escaping, key: str) -> None:
    for content in (f'{{"by": "{escaping(key)}", "at": 7}}', f"{escaping(key)} by"):
        for given in (content, content.encode()):
            assert redaction.excerpt(given, key) in ('{"by": "…", "at": 7}', "… by")


@EVERY_ESCAPING
def test_a_failure_shows_it_to_no_tenant_and_no_operator(escaping: Escaping) -> None:
    message = f"key {escaping(KEY)} is odd"
    assert '"key … is odd"' in failed(FailureKinds("Modash").refused, message=message).detail
    garbled = failed(FailureKinds("Modash").unreadable(), content=message.encode(), message=message)
    assert isinstance(garbled, Garbled)
    assert garbled.excerpt == "key … is odd"
    assert '"key … is odd"' in garbled.detail


@pytest.mark.parametrize(
    ("adapter", "body"),
    [
        (TikTokCreators(), test_modash.ANSWER),
        (TikTokProducts(), test_keyapi.ANSWER),
        (PublicVideos(), test_memories.ANSWER),
    ],
)
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("escaping", [as_it_is, str.upper, by_php, quote])
def test_a_request_id_that_quotes_the_key_is_not_kept(
    provider: Provider, adapter: Adapter, body: dict[str, Any], status: int, escaping: Escaping
) -> None:
    for request_id, kept in ((f"r-17 {escaping(KEY)}", ""), ("r-17", "r-17")):
        provider.answers(body | {"requestId": request_id}, status, {"X-Request-Id": request_id})
        assert ask(adapter, provider).request_id == kept


def ask(adapter: Adapter, provider: Provider) -> Answer | Failure:
    picture = Picture(content=jpeg(), media_type="image/jpeg")
    question = Question(picture=picture, parameters={}, page=0, page_size=30)
    client = ProviderClient(connect_seconds=2, total_seconds=5)
    access = Access(secret=Secret(value=KEY), base_url=provider.url, client=client, token=any_token())
    try:
        return adapter.ask(question, access)
    except Failure as failure:
        return failure


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("sk/live+of=alice is it", "… is it"),
        ("begins with sk/live+of=a***", "begins with …***"),
        ("ends with ****alice&%2Fb<o>b", "ends with ****…"),
        ("sk/live+of=", "sk/live+of="),
        ("alice lives", "alice lives"),
    ],
)
def test_a_long_piece_of_the_key_is_hidden_too(written: str, kept: str) -> None:
    assert redaction.excerpt(written, KEY) == kept


def test_a_key_that_is_cut_by_the_end_of_the_excerpt_is_hidden() -> None:
    for ahead in range(redaction.LOOKED_AT - 30, redaction.LOOKED_AT):
        content = " " * 20 + "." + "x" * (ahead - 21) + KEY
        assert len(redaction.excerpt(content, KEY)) < 20 + 1 + 1 + redaction.PIECE


@pytest.mark.parametrize("escaping", [as_it_is, by_php, by_some_code, quote], ids=["plain", "php", "codes", "url"])
def test_a_picture_is_kept_in_no_escaping(escaping: Escaping) -> None:
    picture = "/9j/4AAQ+SkZJRg==" * 5
    assert redaction.excerpt(f'{{"sent": "{escaping(picture)}"}}', KEY) == '{"sent": "…"}'


def test_a_text_that_quotes_neither_is_kept_unchanged() -> None:
    for content in ('{"total": 1, "profiles": {}}', "50 % of ünïcode\n\tis ĲſK", "<html>so sorry</html>"):
        assert redaction.excerpt(content, KEY) == content
        assert not redaction.quotes(content, KEY)
