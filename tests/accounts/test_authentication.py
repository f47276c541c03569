from __future__ import annotations

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
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
        ("Bearer", AuthenticationFailed, "This is not a Sightline key; it looks mistyped or cut."),
        ("Bearer sl_live_x", AuthenticationFailed, "This is not a Sightline key; it looks mistyped or cut."),
    ],
)
def test_each_way_to_be_refused_has_its_sentence(
    authorization: str | None, error: type[APIException], sentence: str
) -> None:
    with pytest.raises(error) as refused:
        authenticate(authorization)
    assert str(refused.value.detail) == sentence
    assert ApiKeyAuthentication().authenticate_header(request_with(None)) == "Bearer"


def test_unknown_and_revoked_keys_are_refused_alike(alice: Tenant) -> None:
    revoked, revoked_secret = keys.issue(alice, Mode.LIVE)
    keys.revoke(revoked)
    unknown, unknown_secret = keys.issue(alice, Mode.LIVE)
    unknown.delete()
    for secret in (revoked_secret, unknown_secret):
        with pytest.raises(AuthenticationFailed, match="unknown or was revoked") as refused:
            authenticate(f"Bearer {secret}")
        assert secret not in str(refused.value)


def test_a_suspended_tenant_is_refused_with_the_reason(alice: Tenant) -> None:
    _, secret = keys.issue(alice, Mode.LIVE)
    alice.suspended_at = timezone.now()
    alice.save()
    with pytest.raises(PermissionDenied, match="suspended") as refused:
        authenticate(f"Bearer {secret}")
    assert refused.value.get_codes() == "tenant_suspended"
