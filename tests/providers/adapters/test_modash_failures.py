"""Proves how the adapter for Modash classifies failures and unreadable answers, over real sockets."""

from __future__ import annotations

import base64
import time
from email.utils import formatdate
from typing import Any

import pytest

from providers.failures import BadCredential, Exhausted, Failure, Faulty, Garbled, Refused, Throttled, Unreachable
from tests.providers.adapters.test_modash import ANSWER, SECRET, ask
from tests.providers.asking import drawn, failure_of
from tests.providers.conftest import Provider


def failure(provider: Provider, **question: Any) -> Failure:
    return failure_of(ask, provider.url, **question)


@pytest.mark.parametrize(
    ("status", "code", "kind", "name"),
    [
        (401, "api_token_invalid", BadCredential, "credential_invalid"),
        (400, "api_token_invalid", BadCredential, "credential_invalid"),
        (402, "not_enough_credits", Exhausted, "credential_exhausted"),
        (403, "not_enough_credits", Exhausted, "credential_exhausted"),
        (401, "feature_not_available", Refused, "feature_not_available"),
        (403, "feature_not_available", Refused, "feature_not_available"),
        (400, "bad_request", Refused, "refused"),
        (500, "bad_request", Refused, "refused"),
        (400, "invalid_body_params", Refused, "refused"),
        (404, "entity_not_found", Refused, "refused"),
        (503, "retry_later", Faulty, "provider_error"),
        (400, "retry_later", Faulty, "provider_error"),
        (500, "internal_server_error", Faulty, "provider_error"),
        (429, "retry_later", Throttled, "rate_limited"),
        (429, "internal_server_error", Throttled, "rate_limited"),
        (429, "bad_request", Throttled, "rate_limited"),
        (429, "feature_not_available", Throttled, "rate_limited"),
        (429, "no_result", Throttled, "rate_limited"),
        (429, "page_limit", Throttled, "rate_limited"),
        # A dead key or an empty account counts for more than a request to wait.
        (429, "not_enough_credits", Exhausted, "credential_exhausted"),
        (429, "api_token_invalid", BadCredential, "credential_invalid"),
        # The status classifies an unknown code.
        (429, "", Throttled, "rate_limited"),
        (429, "too_fast", Throttled, "rate_limited"),
        (401, "", BadCredential, "credential_invalid"),
        (402, "", Exhausted, "credential_exhausted"),
        (403, "account_private", Refused, "refused"),
        (404, "", Refused, "refused"),
        (408, "", Faulty, "provider_error"),
        (413, "", Refused, "refused"),
        (422, "never_heard_of", Refused, "refused"),
        (500, "never_heard_of", Faulty, "provider_error"),
        (502, "", Faulty, "provider_error"),
        (302, "", Garbled, "unreadable_answer"),
        # An error with HTTP 200 is an error too.
        (200, "api_token_invalid", BadCredential, "credential_invalid"),
        (200, "retry_later", Faulty, "provider_error"),
        (200, "invalid_body_params", Refused, "refused"),
        (200, "never_heard_of", Refused, "refused"),
        (200, "", Refused, "refused"),
        (201, "never_heard_of", Refused, "refused"),
    ],
)
def test_failures_are_classified_by_code_then_by_status(
    provider: Provider, status: int, code: str, kind: type[Failure], name: str
) -> None:
    provider.answers({"error": True, "code": code, "message": "Said so."} | ANSWER | {"error": True}, status)
    failed = failure(provider)
    assert type(failed) is kind
    assert (failed.code, failed.status) == (name, status)


@pytest.mark.parametrize(("status", "kind"), [(502, Faulty), (403, Refused), (401, BadCredential), (429, Throttled)])
def test_a_failure_without_json_is_classified_by_its_status(
    provider: Provider, status: int, kind: type[Failure]
) -> None:
    provider.answers(b"<html>no</html>", status)
    assert type(failure(provider)) is kind


@pytest.mark.parametrize("code", [None, 7, ["no_result"], {"a": 1}])
def test_a_code_that_is_not_a_text_is_ignored(provider: Provider, code: Any) -> None:
    provider.answers({"error": True, "code": code, "message": {"a": 1}}, 503)
    assert type(failure(provider)) is Faulty


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"}, None),
        ({"Retry-After": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
    ],
)
def test_a_retry_after_is_passed_on(provider: Provider, headers: dict[str, str], seconds: float | None) -> None:
    provider.answers({"error": True, "code": "slow_down"}, 429, headers)
    failed = failure(provider)
    assert isinstance(failed, Throttled)
    assert failed.retry_after == seconds


def test_a_date_to_retry_after_counts_from_now_if_the_answer_has_no_date(provider: Provider) -> None:
    provider.answers(b"", 429, {"Retry-After": formatdate(time.time() + 60, usegmt=True), "Date": "unknown"})
    failed = failure(provider)
    assert isinstance(failed, Throttled)
    assert 57 < (failed.retry_after or 0) <= 60


@pytest.mark.parametrize(("profiles", "says"), [(..., "missing"), (None, "not a list"), ({}, "not a list")])
def test_an_answer_without_its_list_is_garbled(provider: Provider, profiles: Any, says: str) -> None:
    provider.answers({name: value for name, value in (ANSWER | {"profiles": profiles}).items() if value is not ...})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert f"profiles is {says}" in failed.detail
    assert failed.billed_results is None


@pytest.mark.parametrize("body", [{"code": "retry_later"}, {"error": None, "code": "internal_server_error"}])
def test_an_error_that_does_not_say_that_it_is_one_is_one_by_its_code(provider: Provider, body: dict[str, Any]) -> None:
    provider.answers(body)
    assert isinstance(failure(provider), Faulty)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"OK",
        b'{"total": 1, "profi',
        b"[]",
        b"null",
        b'\xff{"total": 1}',
        b"[" * 100_000,
        b'{"total": 1, "profiles": {}}',
    ],
)
def test_an_unreadable_answer_is_garbled(provider: Provider, content: bytes) -> None:
    provider.answers(content)
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert failed.excerpt == content.decode("utf-8", "replace")[:2048]


def test_a_garbled_answer_quotes_neither_key_nor_picture(provider: Provider) -> None:
    picture = base64.b64encode(drawn()).decode()
    provider.answers({"oops": SECRET.value, "sent": picture, "escaped": picture.replace("/", "\\/")})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert SECRET.value not in failed.excerpt
    assert picture[:60] not in failed.excerpt
    assert '"oops": "…"' in failed.excerpt


def test_a_failure_passes_on_their_words_without_their_quotes(provider: Provider) -> None:
    message = f"age.min is odd; key {SECRET.value}, image {base64.b64encode(drawn()).decode()}"
    provider.answers({"error": True, "code": "invalid_body_params", "message": message}, 400)
    detail = failure(provider).detail
    assert 'It answered 400: "invalid_body_params age.min is odd; key …, image …' in detail
    assert SECRET.value not in detail
    assert len(detail) < 500


def test_a_provider_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        ask("http://127.0.0.1:9")


def test_to_retry_later_means_hours(provider: Provider) -> None:
    provider.answers({"error": True, "code": "retry_later", "message": "…"}, 500)
    failed = failure(provider)
    assert (type(failed), failed.retryable) == (Faulty, True)
    assert "a couple of hours" in failed.detail
