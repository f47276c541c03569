"""Proves how the adapter for KeyAPI classifies failures and unreadable answers, over real sockets."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from providers.failures import BadCredential, Exhausted, Failure, Faulty, Garbled, Lost, Refused, Throttled, Unreachable
from tests.providers.adapters.test_keyapi import ANSWER, DOCUMENTED, SECRET, ask
from tests.providers.asking import drawn, failure_of
from tests.providers.conftest import Provider


def failure(provider: Provider, **question: Any) -> Failure:
    return failure_of(ask, provider.url, **question)


@pytest.mark.parametrize(("code", "message", "kind", "name"), DOCUMENTED)
@pytest.mark.parametrize("at_200", [False, True])
def test_every_documented_error_is_classified_by_its_number(
    provider: Provider, code: int, message: str, kind: type[Failure], name: str, at_200: bool
) -> None:
    status = 200 if at_200 else code
    provider.answers({"code": code, "data": None, "message": message}, status)
    failed = failure(provider)
    assert type(failed) is kind
    assert (failed.code, failed.status, failed.request_id) == (name, status, "")
    assert f'It answered {status}: "{code} {message}".' in failed.detail


@pytest.mark.parametrize(
    ("status", "code", "kind", "name"),
    [
        # A refusal is never tried again, and does not prove the key dead.
        (403, 403, Refused, "not_permitted"),
        (200, 403, Refused, "not_permitted"),
        (404, 404, Refused, "refused"),
        (413, 413, Refused, "refused"),
        (408, 408, Faulty, "provider_error"),
        (502, 502, Faulty, "provider_error"),
        (503, 0, Faulty, "provider_error"),
        (200, 503, Faulty, "provider_error"),
        (302, 0, Garbled, "unreadable_answer"),
        # The status decides before the code.
        (400, 402, Refused, "refused"),
        (401, 500, BadCredential, "credential_invalid"),
        (500, 0, Faulty, "provider_error"),
        # Every code but 0 is a failure.
        (200, 1, Refused, "refused"),
        (200, -1, Refused, "refused"),
        (200, 200, Refused, "refused"),
        (200, 302, Refused, "refused"),
        (200, 40001, Refused, "refused"),
        (200, 0.5, Refused, "refused"),
        (201, 429, Throttled, "rate_limited"),
    ],
)
def test_undocumented_errors_are_classified_too(
    provider: Provider, status: int, code: float, kind: type[Failure], name: str
) -> None:
    provider.answers(ANSWER | {"code": code}, status)
    failed = failure(provider)
    assert type(failed) is kind
    assert (failed.code, failed.status, failed.request_id) == (name, status, ANSWER["requestId"])


@pytest.mark.parametrize(("code", "_message", "kind", "name"), DOCUMENTED)
def test_a_code_in_quotes_means_the_same(
    provider: Provider, code: int, _message: str, kind: type[Failure], name: str
) -> None:
    provider.answers({"code": str(code), "data": None, "message": "…"})
    failed = failure(provider)
    assert (type(failed), failed.code) == (kind, name)
    provider.answers(ANSWER | {"code": "0"})
    assert len(ask(provider.url).hits) == 1


@pytest.mark.parametrize(("status", "kind"), [(502, Faulty), (403, Refused), (401, BadCredential), (429, Throttled)])
def test_a_failure_without_json_is_classified_by_its_status(
    provider: Provider, status: int, kind: type[Failure]
) -> None:
    provider.answers(b"<html>no</html>", status)
    assert type(failure(provider)) is kind


@pytest.mark.parametrize(("headers", "seconds"), [({}, None), ({"Retry-After": "7"}, 7.0)])
@pytest.mark.parametrize("status", [429, 200])
def test_a_retry_after_is_passed_on(
    provider: Provider, status: int, headers: dict[str, str], seconds: float | None
) -> None:
    provider.answers({"code": 429, "data": None, "message": "qps limit exceeded"}, status, headers)
    failed = failure(provider)
    assert isinstance(failed, Throttled)
    assert failed.retry_after == seconds


WHOLE = json.dumps(ANSWER).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is not a JSON object"),
        (b"OK", "it is not a JSON object"),
        (WHOLE[:-1], "it is not a JSON object"),
        (WHOLE[:200], "it is not a JSON object"),
        (b"[]", "it is not a JSON object"),
        (b"null", "it is not a JSON object"),
        (b"[" * 100_000, "it is not a JSON object"),
        (b'{"code": NaN, "data": []}', "code is not a number"),
        (b'{"data": []}', "code is missing"),
        (b'{"code": "", "data": []}', "code is not a number"),
        (b'{"code": "0x0", "data": []}', "code is not a number"),
        (b'{"code": false, "data": []}', "code is not a number"),
        (b'{"code": null, "data": []}', "code is not a number"),
        (b'{"code": 1%s, "data": []}' % (b"0" * 400), "code is not a number"),
        (b'{"code": 0}', "data is missing"),
        (b'{"code": 0, "data": null}', "data is not a list"),
        (b'{"code": 0, "data": {}}', "data is not a list"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_unreadable_answer_is_garbled(provider: Provider, content: bytes, says: str) -> None:
    provider.answers(content)
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert f"KeyAPI's answer cannot be read: {says}." in failed.detail
    assert failed.excerpt[:8] == content.decode()[:8]


def test_the_bill_is_unknown_where_no_product_can_be_counted(provider: Provider) -> None:
    provider.answers(b"<html>so sorry</html>")
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert failed.billed_results is None


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"data": "none", "message": "success"}])
@pytest.mark.parametrize("code", [0, "0"])
def test_a_success_that_cannot_be_read_was_billed(provider: Provider, code: Any, body: dict[str, Any]) -> None:
    provider.answers({"code": code, **body})
    failed = failure(provider)
    assert isinstance(failed, Garbled)
    assert failed.billed_results == 0


def test_neither_key_nor_picture_is_quoted(provider: Provider) -> None:
    picture = base64.b64encode(drawn()).decode()
    answer = {"code": 400, "message": f"key {SECRET.value}, image {picture}"}
    for status, body in ((400, answer), (200, answer), (200, {"sent": picture, "by": SECRET.value})):
        provider.answers(body, status)
        failed = failure(provider)
        told = failed.detail + getattr(failed, "excerpt", "")
        assert SECRET.value not in told
        assert picture[:60] not in told


def test_an_answer_that_ends_half_way_is_lost(provider: Provider) -> None:
    provider.reply = (200, [("Content-Length", "1000")], WHOLE)
    assert isinstance(failure(provider), Lost)


def test_a_huge_answer_is_not_read_to_its_end(provider: Provider) -> None:
    provider.answers(b'{"code": 0, "data": [' + b" " * 11_000_000 + b"]}")
    assert isinstance(failure(provider), Garbled)


def test_a_provider_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        ask("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "message",
    [
        "plan quota exceeded",
        "Your PLAN does not include this",
        "Not enough credits",
        "insufficient_credits",
        "Quotas: used",
    ],
)
@pytest.mark.parametrize("status", [403, 200])
def test_a_403_that_names_a_used_up_quota_concerns_the_account(provider: Provider, message: str, status: int) -> None:
    provider.answers({"code": 403, "data": None, "message": message}, status)
    failed = failure(provider)
    assert (type(failed), failed.code) == (Exhausted, "credential_exhausted")
    assert message in failed.detail


@pytest.mark.parametrize(
    "message", ["feature restricted", "Forbidden", "explanation on planet accredited", "", None, 7]
)
def test_any_other_403_concerns_the_question_alone(provider: Provider, message: Any) -> None:
    provider.answers({"code": 403, "data": None, "message": message}, 403)
    assert failure(provider).code == "not_permitted"
