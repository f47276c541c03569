"""Proves how the adapter for Memories classifies failures and unreadable answers, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from providers.adapters.memories import PrivateVideos, PublicVideos, Videos
from providers.failures import BadCredential, Duplicate, Exhausted, Failure, Faulty, Garbled, Refused, Throttled
from tests.providers.adapters.test_memories import ANSWER, SECRET, ask
from tests.providers.asking import drawn, failure_of
from tests.providers.conftest import Provider

ADAPTERS = [PublicVideos(), PrivateVideos()]
# The envelope as documented, and without the fields that clients saw missing.
WHOLE: dict[str, Any] = {"data": None, "success": False, "failed": True}
SHORT: dict[str, Any] = {"data": None}
CODES: dict[str, tuple[int, type[Failure], str]] = {
    "0001": (400, Refused, "refused"),
    "0003": (400, Refused, "refused"),
    "0401": (401, BadCredential, "credential_invalid"),
    "0402": (402, Exhausted, "credential_exhausted"),
    "0403": (403, BadCredential, "account_disabled"),
    "0409": (409, Duplicate, "duplicate_request"),
    "0429": (429, Throttled, "rate_limited"),
    "9009": (403, Refused, "permission_denied"),
}


def failure(provider: Provider, adapter: Videos = ADAPTERS[0]) -> Failure:
    return failure_of(ask, provider.url, adapter)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=["public", "private"])
@pytest.mark.parametrize("envelope", [WHOLE, SHORT], ids=["whole", "short"])
@pytest.mark.parametrize("code", CODES)
def test_each_code_is_its_failure_at_200_and_at_its_status(
    provider: Provider, code: str, envelope: dict[str, Any], adapter: Videos
) -> None:
    named, kind, name = CODES[code]
    for status in (200, named, 500):
        provider.answers({"code": code, "msg": "Said so.", **envelope}, status)
        failed = failure(provider, adapter)
        assert type(failed) is kind
        assert (failed.code, failed.status) == (name, status)
        assert f'{status}: "{code} Said so."' in failed.detail


@pytest.mark.parametrize("code", ["0401", "0402", "0403", "0409", "0429"])
def test_a_code_written_as_a_number_means_the_same(provider: Provider, code: str) -> None:
    provider.answers({"code": int(code), "msg": "…", "data": None})
    failed = failure(provider)
    assert (type(failed), failed.code) == CODES[code][1:]


@pytest.mark.parametrize("code", [0, "0", "0000"])
def test_the_code_of_a_success_may_be_a_number_too(provider: Provider, code: Any) -> None:
    provider.answers(ANSWER | {"code": code})
    assert len(ask(provider.url, ADAPTERS[0]).hits) == 2
    provider.answers(ANSWER | {"code": code, "data": "none"})
    garbled = failure(provider)
    assert isinstance(garbled, Garbled)
    assert garbled.billed_results == 0
    provider.answers(ANSWER | {"code": code, "success": False})
    assert type(failure(provider)) is Refused


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (401, BadCredential, "credential_invalid"),
        (402, Exhausted, "credential_exhausted"),
        (403, Refused, "refused"),
        (404, Refused, "refused"),
        (408, Faulty, "provider_error"),
        (413, Refused, "refused"),
        (429, Throttled, "rate_limited"),
        (500, Faulty, "provider_error"),
        (502, Faulty, "provider_error"),
        (302, Garbled, "unreadable_answer"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>no</html>", {"code": "7777", "msg": "…"}, ANSWER, {"code": None}])
def test_without_a_known_code_the_status_classifies(
    provider: Provider, status: int, kind: type[Failure], name: str, body: Any
) -> None:
    provider.answers(body, status)
    failed = failure(provider)
    assert type(failed) is kind
    assert (failed.code, failed.status) == (name, status)


@pytest.mark.parametrize(
    "said",
    [
        {"code": "7777", "data": None},
        {"code": "7777"},
        {"code": 7777},
        {"success": False},
        {"failed": True},
        {"code": None, "failed": True, "data": None},
    ],
)
def test_an_answer_that_reports_a_failure_is_refused_even_with_results(
    provider: Provider, said: dict[str, Any]
) -> None:
    provider.answers(ANSWER | said)
    failed = failure(provider)
    assert type(failed) is Refused
    assert not failed.retryable


@pytest.mark.parametrize(("headers", "seconds"), [({}, None), ({"Retry-After": "7"}, 7.0)])
@pytest.mark.parametrize("status", [200, 429])
def test_a_retry_after_is_passed_on(
    provider: Provider, status: int, headers: dict[str, str], seconds: float | None
) -> None:
    provider.answers({"code": "0429", "msg": "Request is too busy."}, status, headers)
    failed = failure(provider)
    assert isinstance(failed, Throttled)
    assert failed.retry_after == seconds


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OK",
        b'{"code": "0000", "data": [{"videoNo": "PI-1", "sco',
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        {},
        {"code": ""},
        {"code": None, "data": []},
        {"code": ["0000"], "data": []},
        {"code": False, "data": []},
    ],
)
def test_an_answer_that_reports_neither_success_nor_failure_may_have_been_billed(
    provider: Provider, content: Any
) -> None:
    provider.answers(content)
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert failed.billed_results is None


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (..., "data is missing"),
        ("none", "data is not a list"),
        ({}, "data.results is missing"),
        ({"results": {}}, "data.results is not a list"),
    ],
)
def test_a_success_that_cannot_be_read_names_the_field_and_was_billed(
    provider: Provider, data: Any, names: str
) -> None:
    provider.answers({name: value for name, value in (ANSWER | {"data": data}).items() if value is not ...})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert f"Memories' answer cannot be read: {names}." in failed.detail
    assert failed.billed_results == 0


def test_a_failure_quotes_neither_key_nor_picture(provider: Provider) -> None:
    quoted = f"{SECRET.value} sent {drawn().hex()}"
    provider.answers({"code": "0001", "msg": quoted})
    refused = failure(provider)
    provider.answers({"msg": quoted})
    garbled = failure(provider)
    assert isinstance(garbled, Garbled)
    for text in (refused.detail, garbled.detail, garbled.excerpt):
        assert SECRET.value not in text
        assert drawn().hex()[:60] not in text
    assert '"msg": "… sent …"' in garbled.excerpt


@pytest.mark.parametrize(("status", "kind"), [(503, Faulty), (404, Refused), (429, Throttled)])
def test_the_request_id_of_their_infrastructure_is_kept(provider: Provider, status: int, kind: type[Failure]) -> None:
    said = {"timestamp": "…", "path": "/serve/api", "status": status, "error": "So sorry", "requestId": "8f2c-11"}
    provider.answers(said, status)
    failed = failure(provider)
    assert (type(failed), failed.request_id) == (kind, "8f2c-11")
    assert "So sorry" in failed.detail


@pytest.mark.parametrize("status", [200, 429])
@pytest.mark.parametrize("code", [429, "429", "0429"])
def test_a_rate_error_is_one_as_a_number_too(provider: Provider, code: int | str, status: int) -> None:
    provider.answers({"code": code, "msg": "Too many", "data": None}, status)
    assert isinstance(failure(provider), Throttled)
