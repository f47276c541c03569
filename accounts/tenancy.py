"""The base of every view under /v1: a tenant's rows are reached through the tenant, and nothing that was asked for is
passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from django.db.models import Model, QuerySet
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import rate_limits
from accounts.models import ApiKey, Tenant, TenantQuerySet
from accounts.queries import Query


class TenantView(GenericAPIView[Any]):
    """Knows who asks. `query` holds the checked query parameters; only reading takes any.

    `refusals`: the statuses that a method answers beside those that every view can, for the OpenAPI document.
    """

    lookup_field = "id"
    query_class: ClassVar[type[Query]] = Query
    query: dict[str, Any]
    refusals: ClassVar[Mapping[str, Sequence[int]]] = {}

    @property
    def tenant(self) -> Tenant:
        return cast(Tenant, self.request.user)

    @property
    def api_key(self) -> ApiKey:
        return cast(ApiKey, self.request.auth)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        rate_limits.request(self.tenant)
        refuse_idempotency_key(request)
        query_class = self.query_class if request.method in SAFE_METHODS else Query
        self.query = query_class.read(request.query_params)

    def get_queryset(self) -> QuerySet[Any]:
        return cast("TenantQuerySet[Model]", super().get_queryset()).for_tenant(self.tenant)


def refuse_idempotency_key(request: Request) -> None:
    """Ignoring it would let a repeated create charge twice, unnoticed."""
    if request.method == "POST" and "Idempotency-Key" in request.headers:
        detail = "Idempotency keys are not honoured; send the request without this header."
        raise ValidationError({"Idempotency-Key": [ErrorDetail(detail, code="not_supported")]})
