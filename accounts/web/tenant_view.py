"""The base of every view under /v1: a tenant's rows are reached through the tenant, and nothing that was asked for is
passed over in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model, QuerySet
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from accounts.models import ApiKey, Tenant, TenantQuerySet
from accounts.web import rate_limits
from accounts.web.exceptions import PayloadTooLarge
from accounts.web.query_params import Query
from accounts.web.strict_fields import StrictSerializer, Wrong, merged

# Their handlers call `read`, which tells all that is wrong at once.
WITH_A_BODY = ("POST", "PUT", "PATCH")


class TenantView(GenericAPIView[Any]):
    """Knows who asks. `query` holds the checked query parameters; only reading takes any.

    `error_statuses`: the statuses that a method answers beside those that every view can, for the OpenAPI document.
    `takes_pictures`: whether a body may be as large as a picture makes it.
    """

    lookup_field = "id"
    query_class: ClassVar[type[Query]] = Query
    query: dict[str, Any]
    error_statuses: ClassVar[Mapping[str, Sequence[int]]] = {}
    takes_pictures: ClassVar[bool] = False
    # Header fields that say what is left of the tenant's rate.
    rate_fields: Mapping[str, str] = {}
    # In the query and the headers.
    wrong: Wrong

    @property
    def tenant(self) -> Tenant:
        return cast(Tenant, self.request.user)

    @property
    def api_key(self) -> ApiKey:
        return cast(ApiKey, self.request.auth)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.rate_fields = rate_limits.request(self.tenant)
        if not self.takes_pictures:
            refuse_large_body(request)
        self.query, self.wrong = self.read_query(request)
        self.wrong |= wrong_headers(request)
        if self.wrong and request.method not in WITH_A_BODY:
            raise ValidationError(self.wrong)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if "RateLimit" not in response:  # a refusal says its own
            for name, value in self.rate_fields.items():
                response[name] = value
        return response

    def forget_body(self) -> None:
        """Drops the body's content, with its share of the memory that bodies may take. A request that waits needs neither."""
        if isinstance(self.request.data, dict):
            for part in self.request.data.values():
                if isinstance(part, UploadedFile):
                    part.close()
            self.request.data.clear()
        self.request.META["wsgi.input"].close()

    def read_query(self, request: Request) -> tuple[dict[str, Any], Wrong]:
        query_class = self.query_class if request.method in SAFE_METHODS else Query
        try:
            return query_class.read(request.query_params), {}
        except ValidationError as error:
            return {}, cast(Wrong, error.detail)

    def read(self, wanted: StrictSerializer, *, taken: Callable[[dict[str, Any]], Wrong] = lambda values: {}) -> Any:
        """The checked body. Raises `ValidationError` with all that is wrong in it, in the query and in the headers.

        `taken` says which of the right values somebody else has. It is asked for a wrong body only: where the body is right,
        whoever writes the row finds out.
        """
        data = self.request.data
        try:
            values = wanted.read(data)
        except ValidationError as error:
            clashes = taken(wanted.sound(data)[0]) if isinstance(data, dict) else {}
            raise self.invalid(merged(error.detail, clashes)) from None
        if self.wrong:
            raise self.invalid(taken(values))
        return values

    def invalid(self, wrong: Wrong) -> ValidationError:
        """`wrong`: in the body."""
        return ValidationError(merged(self.wrong, wrong))

    def get_queryset(self) -> QuerySet[Any]:
        return cast("TenantQuerySet[Model]", super().get_queryset()).for_tenant(self.tenant)


def refuse_large_body(request: Request) -> None:
    """Before it is read, where no picture can be in it; what is too large for a picture was refused before this view."""
    announced = str(request.META.get("CONTENT_LENGTH") or "")
    # Where it is no number, Django reads nothing.
    length = int(announced) if announced.isascii() and announced.isdecimal() else 0
    if length > settings.JSON_MAX_BYTES:
        raise PayloadTooLarge(f"The body has {length:,} bytes; send at most {settings.JSON_MAX_BYTES:,}.")


def wrong_headers(request: Request) -> Wrong:
    """Ignoring the header would let a repeated create charge twice, unnoticed."""
    if request.method == "POST" and "Idempotency-Key" in request.headers:
        detail = "Idempotency keys are not honoured; send the request without this header."
        return {"Idempotency-Key": [ErrorDetail(detail, code="not_supported")]}
    return {}
