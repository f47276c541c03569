from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from rest_framework.exceptions import APIException, AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from accounts import keys
from accounts.authentication import ApiKeyAuthentication
from accounts.models import ApiKey, Mode, Tenant


def request_with(authorization: str | None) -> Request:
    headers = {} if authorization is None else {"Authorization": authorization}
    return Request(APIRequestFactory().get("/", headers=headers))


def authenticate(authorization: str | None) -> tuple[Tenant, ApiKey]:
    return ApiKeyAuthentication().authenticate(request_with(authorization))


class Whoami(APIView):
    def get(self, request: Request) -> Response:
        assert isinstance(request.user, Tenant)
        assert isinstance(request.auth, ApiKey)
        return Response({"tenant": request.user.name, "mode": request.auth.mode})


def test_a_key_brings_its_tenant_and_mode(alice: Tenant) -> None:
    _, secret = keys.issue(alice, Mode.TEST)
    response = Whoami.as_view()(APIRequestFactory().get("/", headers={"Authorization": f"bearer {secret}"}))
    assert response.data == {"tenant": "Alice", "mode": "test"}


def test_an_ordinary_request_costs_one_query(alice: Tenant, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _, secret = keys.issue(alice, Mode.LIVE)
    authenticate(f"Bearer {secret}")
    with django_assert_num_queries(1):
        tenant, _ = authenticate(f"Bearer {secret}")
        assert tenant.name == "Alice"


@pytest.mark.parametrize(
    ("authorization", "error", "sentence"),
    [
        (None, NotAuthenticated, "No API key was sent; send the header `Authorization: Bearer sl_live_…`."),
        ("", NotAuthenticated, "No API key was sent; send the header `Authorization: Bearer sl_live_…`."),
        ("Basic YTpi", AuthenticationFailed, "The Authorization header must be `Bearer` followed by an API key."),
        ("sl_live_x", AuthenticationFailed, "The Authorization header must be `Bearer` followed by an API key."),
        ("Bearer", AuthenticationFailed, "This is not a Sightline key; it looks mistyped or cut: copy all of it."),
        (
            "Bearer sl_live_x",
            AuthenticationFailed,
            "This is not a Sightline key; it looks mistyped or cut: copy all of it.",
        ),
    ],
)
def test_each_way_to_be_refused_has_its_sentence(
    authorization: str | None, error: type[APIException], sentence: str
) -> None:
    with pytest.raises(error) as refused:
        authenticate(authorization)
    assert str(refused.value.detail) == sentence
    assert ApiKeyAuthentication().authenticate_header(request_with(None)) == "Bearer"


def refused(secret: str, address: str = "192.0.2.9", **headers: str) -> APIException:
    """Returns what a request with this key, from this address, is refused with."""
    request = APIRequestFactory().get(
        "/", headers={"Authorization": f"Bearer {secret}", **headers}, REMOTE_ADDR=address
    )
    with pytest.raises(APIException) as error:
        ApiKeyAuthentication().authenticate(Request(request))
    assert secret not in str(error.value)
    return error.value


def accepted(secret: str, address: str = "192.0.2.9", **headers: str) -> bool:
    request = APIRequestFactory().get(
        "/", headers={"Authorization": f"Bearer {secret}", **headers}, REMOTE_ADDR=address
    )
    return ApiKeyAuthentication().authenticate(Request(request))[1] is not None


def test_unknown_revoked_and_expired_keys_each_have_their_sentence(alice: Tenant) -> None:
    revoked, revoked_secret = keys.issue(alice, Mode.LIVE)
    keys.revoke(revoked)
    unknown, unknown_secret = keys.issue(alice, Mode.LIVE)
    unknown.delete()
    _, expired_secret = keys.issue(alice, Mode.LIVE, expires_at=datetime(2026, 1, 31, 12, tzinfo=UTC))
    codes = {
        unknown_secret: ("authentication_failed", "is unknown"),
        revoked_secret: ("api_key_revoked", "was revoked"),
        expired_secret: ("api_key_expired", "expired at 2026-01-31T12:00:00Z"),
    }
    for secret, (code, sentence) in codes.items():
        error = refused(secret)
        assert isinstance(error, AuthenticationFailed)
        assert error.get_codes() == code
        assert sentence in str(error.detail)


def test_an_expiry_to_come_refuses_nothing(alice: Tenant) -> None:
    _, secret = keys.issue(alice, Mode.LIVE, expires_at=timezone.now() + timedelta(minutes=1))
    assert accepted(secret)


def test_a_key_is_taken_from_its_networks_only(alice: Tenant, settings: Settings) -> None:
    settings.PROXIES = [ip_network("10.0.0.0/8")]
    _, secret = keys.issue(alice, Mode.LIVE, allowed_networks=["203.0.113.0/24", "2001:db8::/32"])
    for address in ("203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1"):
        assert accepted(secret, address)
    assert accepted(secret, "10.1.2.3", **{"X-Forwarded-For": "192.0.2.1, 203.0.113.7"})
    error = refused(secret, "198.51.100.1", **{"X-Forwarded-For": "203.0.113.7"})
    assert isinstance(error, PermissionDenied)
    assert error.get_codes() == "address_not_allowed"
    assert "not taken from 198.51.100.1" in str(error.detail)
    assert "203.0.113" not in str(error.detail)
    assert refused(secret, "10.1.2.3", **{"X-Forwarded-For": "203.0.113.7, 192.0.2.1"}).get_codes() == error.get_codes()
    assert refused(secret, "").get_codes() == error.get_codes()


def test_a_rotated_secret_is_taken_until_its_overlap_ends(alice: Tenant) -> None:
    key, old = keys.issue(alice, Mode.LIVE)
    new = keys.rotate(key, timedelta(hours=1))
    assert accepted(old)
    assert accepted(new)
    newest = keys.rotate(key, timedelta(0))
    for secret in (old, new):
        assert refused(secret).get_codes() == "api_key_rotated"
    assert accepted(newest)


def test_a_suspended_tenant_is_refused_with_the_reason(alice: Tenant) -> None:
    _, secret = keys.issue(alice, Mode.LIVE)
    alice.suspended_at = timezone.now()
    alice.save()
    with pytest.raises(PermissionDenied, match="suspended") as refused:
        authenticate(f"Bearer {secret}")
    assert refused.value.get_codes() == "tenant_suspended"
