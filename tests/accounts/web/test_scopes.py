from __future__ import annotations

import pytest
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Scope, Tenant
from accounts.web.tenant_view import TenantView


def test_a_view_whose_method_names_no_scope_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match=r"Forgetful\.scopes names no scope for POST; add it, or None for any key\."):

        class Forgetful(TenantView):
            scopes = {"GET": Scope.SEARCHES_READ}

            def get(self, request: Request) -> Response:
                return Response()

            def post(self, request: Request) -> Response:
                return Response()


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_key_without_the_scope_is_refused_with_its_name(alice: Tenant, method: str) -> None:
    _, secret = keys.issue(alice, Mode.LIVE, scopes=[Scope.BILLING_READ])
    client = APIClient(headers={"Authorization": f"Bearer {secret}"})
    assert client.generic(method.upper(), "/v1/credits").status_code == 200
    response = client.generic(method.upper(), "/v1/searches")
    assert response.status_code == 403
    if method == "get":
        assert response.json()["code"] == "scope_missing"
        assert "lacks the scope `searches:read`" in response.json()["detail"]


def test_what_no_scope_names_is_answered_whatever_the_key_has(alice: Tenant) -> None:
    _, secret = keys.issue(alice, Mode.LIVE, scopes=[])
    client = APIClient(headers={"Authorization": f"Bearer {secret}"})
    assert client.put("/v1/searches").status_code == 405
    assert client.options("/v1/searches").status_code == 405
