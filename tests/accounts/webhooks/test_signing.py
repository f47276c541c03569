"""Deliveries verify with the library of Standard Webhooks, and with nothing but their own secret, id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from accounts.webhooks import signing

OLD, NEW, OTHER = (f"whsec_{base64.b64encode(bytes([number] * 32)).decode()}" for number in (1, 2, 3))
ID, BODY = "0190aaaa-0000-7000-8000-000000000000", '{"type":"ping","data":{"name":"Zoë"}}'


def signed(*secrets: str, at: datetime | None = None) -> dict[str, str]:
    return signing.headers(ID, BODY, at=at or datetime.now(UTC), secrets=secrets)


def test_a_delivery_verifies_with_its_secret() -> None:
    assert Webhook(NEW).verify(BODY, signed(NEW)) == {"type": "ping", "data": {"name": "Zoë"}}


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_during_a_rotation_either_secret_verifies(secret: str) -> None:
    Webhook(secret).verify(BODY.encode(), signed(NEW, OLD))


def test_no_other_secret_verifies() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY, signed(NEW, OLD))


@pytest.mark.parametrize(
    "changed", [{"Webhook-Id": "other"}, {"Webhook-Timestamp": str(int(datetime.now(UTC).timestamp()) - 9)}]
)
def test_what_is_changed_on_the_way_does_not_verify(changed: dict[str, str]) -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY, signed(NEW) | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY + " ", signed(NEW))


def test_the_signature_is_the_specification_s() -> None:
    at = datetime(2026, 11, 20, 12, 0, 0, 999_999, tzinfo=UTC)
    key, seconds = bytes([2] * 32), int(at.timestamp())
    expected = hmac.new(key, f"{ID}.{seconds}.{BODY}".encode(), hashlib.sha256).digest()
    headers = signed(NEW, at=at)
    assert headers["Webhook-Timestamp"] == str(seconds)
    assert headers["Webhook-Signature"] == f"v1,{base64.b64encode(expected).decode()}"


def test_a_time_of_another_zone_is_the_same_time() -> None:
    now = datetime.now(UTC)
    elsewhere = now.astimezone(timezone(timedelta(hours=9)))
    assert signed(NEW, at=elsewhere) == signed(NEW, at=now)
