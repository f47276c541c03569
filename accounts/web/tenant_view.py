"""The base of every view under /v1. It reaches rows through their tenant, and refuses unknown input instead of ignoring it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model, QuerySet
from django.http import QueryDict
from rest_framework.exceptions import MethodNotAllowed, PermissionDenied, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import idempotency_keys
from accounts.authentication import ApiKeyAuthentication
from accounts.idempotency_keys import Claim
from accounts.models import ApiKey, IdempotencyKey, Scope, Tenant, TenantQuerySet
from accounts.web import idempotency, rate_limits
from accounts.web.exceptions import CodedBody, PayloadTooLarge
from accounts.web.query_params import Query
from accounts.web.strict_fields import StrictSerializer, Wrong, merged

# The methods whose handlers call `read`, which reports errors of body, query and headers together.
WITH_A_BODY = ("POST", "PUT", "PATCH")


def every_method(scope: Scope) -> dict[str, Scope | None]:
    """Returns the `scopes` of views whose methods all need this one."""
    return dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), scope)


class TenantView(GenericAPIView[Any]):
    """Knows the tenant and its key. `query`: the checked query parameters, which only safe methods take.

    `scopes`: the scope that the key needs, for each method that the view answers; None where any key may ask.
    `error_codes`: the codes of the problems that a method answers beside those that every view can, for the OpenAPI document.
    `takes_pictures`: whether a body may be as large as a picture makes it.

    A POST with an `Idempotency-Key` is done once, whatever the view does (`accounts.web.idempotency`). `heeds_idempotency_keys`:
    False for a POST without effects. `in_one_transaction`: whether such a POST and the completion of its key are one transaction.
    False for a view that calls others, or that has transactions of its own: call `complete` in the one that counts.
    """

    lookup_field = "id"
    scopes: ClassVar[Mapping[str, Scope | None]] = {}
    query_class: ClassVar[type[Query]] = Query
    query: dict[str, Any]
    error_codes: ClassVar[Mapping[str, Sequence[str]]] = {}
    takes_pictures: ClassVar[bool] = False
    heeds_idempotency_keys: ClassVar[bool] = True
    in_one_transaction: ClassVar[bool] = True
    # The claim of the request's idempotency key; None without one.
    claim: Claim | None = None
    # Header fields with the requests that the tenant has left.
    rate_fields: Mapping[str, str] = {}
    # The errors of the query and the headers.
    wrong: Wrong
    # Those that a view may answer: OPTIONS would be listed in `Allow` otherwise.
    http_method_names = ["get", "post", "patch", "delete", "head"]

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuses a view with a method that names no scope. Such a method would be open to every key."""
        super().__init_subclass__(**options)
        if unnamed := sorted(answered(cls) - cls.scopes.keys()):
            raise TypeError(
                f"{cls.__name__}.scopes names no scope for {', '.join(unnamed)}; add it, or None for any key."
            )

    @property
    def tenant(self) -> Tenant:
        return cast(Tenant, self.request.user)

    @property
    def api_key(self) -> ApiKey:
        return cast(ApiKey, self.request.auth)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method not in self.allowed_methods:
            # A query or a body that the method would not take is no news then.
            raise MethodNotAllowed(str(request.method))
        self.rate_fields = rate_limits.request(self.tenant)
        self.refuse_without_scope(self.api_key)
        refuse_coded_body(request)
        if not self.takes_pictures:
            refuse_large_body(request)
        self.query, self.wrong = self.read_query(request)
        self.wrong |= idempotency.wrong_header(request)
        if self.heeds_idempotency_keys and request.method == "POST" and idempotency.HEADER in request.headers:
            # `dispatch` looks the handler up after this.
            vars(self)["post"] = partial(idempotency.once, self, getattr(self, "post", self.http_method_not_allowed))
        if self.wrong and request.method not in WITH_A_BODY:
            raise ValidationError(self.wrong)

    def refuse_without_scope(self, key: ApiKey) -> None:
        method = "GET" if self.request.method == "HEAD" else str(self.request.method)
        scope = self.scopes.get(method)
        if scope is not None and scope.value not in key.scopes:
            raise PermissionDenied(
                f"This API key lacks the scope `{scope.value}`, which this request needs; use a key that has it, or have it "
                "added to this one.",
                code="scope_missing",
            )

    def recheck_key(self) -> ApiKey:
        """Returns the key as it is by now. Raises what a new request would be answered: the key may have ended meanwhile."""
        _, key = ApiKeyAuthentication().authenticate(self.request)
        self.refuse_without_scope(key)
        return key

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if "RateLimit" not in response:  # a 429 has its own
            for name, value in self.rate_fields.items():
                response[name] = value
        return response

    def forget_body(self) -> None:
        """Frees the body's content, and its share of the memory for bodies. A request that waits needs neither."""
        # The data of an empty form are no copy of anything, and cannot be changed.
        if isinstance(self.request.data, dict) and not isinstance(self.request.data, QueryDict):
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
        """Returns the checked body. Raises `ValidationError` with all errors of the body, the query and the headers.

        `taken`: returns errors for valid values that another row has. It is called for an invalid request only: otherwise the
        database finds such values when the row is written.
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
        """Returns the error of a request. `wrong`: the errors of the body."""
        return ValidationError(merged(self.wrong, wrong))

    def compared(self) -> Any:
        """Returns the body as two requests with one idempotency key are compared; None for one that the handler refuses."""
        return None if self.wrong else self.request.data or {}

    def complete(self, status: int, made: UUID) -> None:
        """Completes the idempotency key, if there is one, in the transaction that made this object. A replay shows the object."""
        if self.claim is not None:
            idempotency_keys.complete(self.claim, status, made=made)

    def made_by(self, response: Response) -> UUID | None:
        """Returns the id of the object whose present state answers a replay; None if the answer itself is kept."""
        return None

    def replayed(self, done: IdempotencyKey) -> Response:
        """Answers a request that was sent again."""
        return idempotency.stored(done)

    def get_queryset(self) -> QuerySet[Any]:
        return cast("TenantQuerySet[Model]", super().get_queryset()).for_tenant(self.tenant)


def answered(view: type[TenantView]) -> set[str]:
    """Returns the methods that a view has handlers for. OPTIONS tells nothing of a tenant, and HEAD is answered as GET."""
    return {name.upper() for name in view.http_method_names if name not in ("options", "head") and hasattr(view, name)}


def refuse_coded_body(request: Request) -> None:
    """Refuses a compressed body, which would be read as broken JSON."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise CodedBody


def refuse_large_body(request: Request) -> None:
    """Refuses a body without pictures by its announced length. A middleware has refused what is too large even for a picture."""
    announced = str(request.META.get("CONTENT_LENGTH") or "")
    # Django reads nothing if the length is no number.
    length = int(announced) if announced.isascii() and announced.isdecimal() else 0
    if length > settings.JSON_MAX_BYTES:
        raise PayloadTooLarge(f"The body has {length:,} bytes; send at most {settings.JSON_MAX_BYTES:,}.")
