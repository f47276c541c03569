"""The base of every view under /v1: a tenant's rows are reached through the tenant, and nothing that was asked for is
passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from django.conf import settings
from django.db.models import Model, QuerySet
from rest_framework.exceptions import ErrorDetail, ParseError, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts import rate_limits
from accounts.models import ApiKey, Tenant, TenantQuerySet
from accounts.queries import Query
from accounts.refusals import TooLarge


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
        refuse_unknown_length(request)
        refuse_large_body(request)
        refuse_idempotency_key(request)
        query_class = self.query_class if request.method in SAFE_METHODS else Query
        self.query = query_class.read(request.query_params)

    def get_queryset(self) -> QuerySet[Any]:
        return cast("TenantQuerySet[Model]", super().get_queryset()).for_tenant(self.tenant)


def refuse_large_body(request: Request) -> None:
    """Before it is read: the parsers that stream would take anything."""
    length = length_of(request)
    if length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise TooLarge(
            f"The body has {length} bytes; send at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE}, "
            f"with a picture of at most {settings.PICTURE_MAX_BYTES}."
        )


def refuse_unknown_length(request: Request) -> None:
    """Django reads as many bytes as were announced: of a body in chunks it would see nothing."""
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower() and not length_of(request):
        raise ParseError("Send the body whole, with a Content-Length; chunks are not taken.")


def length_of(request: Request) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def refuse_idempotency_key(request: Request) -> None:
    """Ignoring it would let a repeated create charge twice, unnoticed."""
    if request.method == "POST" and "Idempotency-Key" in request.headers:
        detail = "Idempotency keys are not honoured; send the request without this header."
        raise ValidationError({"Idempotency-Key": [ErrorDetail(detail, code="not_supported")]})
