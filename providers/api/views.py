"""Serves credentials and the providers' dictionaries over HTTP.

Credentials are a tenant's real keys to the real providers, for test keys too. A test key may list them, since its searches
may name one. It may not change or check them, because many people share a test key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts.models import IdempotencyKey, Mode, Scope
from accounts.web import rate_limits
from accounts.web.entity_tags import Tagged
from accounts.web.exceptions import Conflict, ServiceUnavailable
from accounts.web.pagination import CursorPages
from accounts.web.strict_fields import Nothing, Wrong
from accounts.web.tenant_view import TenantView, every_method
from providers.api import schema
from providers.api.serializers import (
    CredentialChange,
    CredentialQuery,
    CredentialRequest,
    CredentialSerializer,
    TermQuery,
    TermSerializer,
    label_taken,
)
from providers.contract import Term
from providers.failures import Failure
from providers.keyring import credentials, dictionaries, verification
from providers.models import Credential

LIVE_ONLY = "A test key sees credentials and changes none; use a live key."


class CredentialView(TenantView):
    scopes = every_method(Scope.CREDENTIALS_MANAGE)
    queryset = Credential.objects.all()
    # A provider is asked meanwhile.
    in_one_transaction = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method not in SAFE_METHODS and self.api_key.mode == Mode.TEST:
            raise PermissionDenied(LIVE_ONLY)

    def shown(self, credential: Credential) -> dict[str, Any]:
        return dict(CredentialSerializer(credential, context={"mode": self.api_key.mode}).data)

    def reread(self, credential: Credential) -> dict[str, Any]:
        """Returns the credential as its row is after a check. Answers 404 if it was deleted meanwhile."""
        present = self.get_queryset().filter(pk=credential.pk).first()
        if present is None:
            raise Http404
        return self.shown(present)


def taken(credentials: QuerySet[Credential], values: dict[str, Any]) -> Wrong:
    names = {name: values[name] for name in ("provider", "label") if name in values}
    is_taken = len(names) == 2 and credentials.filter(**names).exists()
    return cast(Wrong, label_taken(names["provider"]).detail) if is_taken else {}


@schema.CREDENTIALS
class Credentials(CredentialView):
    error_codes = {"POST": ("too_many_credentials",)}
    query_class = CredentialQuery
    keys = ("provider", "label")

    def get(self, request: Request) -> Response:
        own = self.get_queryset()
        if "provider" in self.query:
            own = own.filter(provider=self.query["provider"])
        return self.get_paginated_response([self.shown(each) for each in self.paginate_queryset(own) or []])

    def post(self, request: Request) -> Response:
        given = self.read(CredentialRequest(), taken=lambda values: taken(self.get_queryset(), values))
        rate_limits.key_check(self.tenant)
        try:
            with transaction.atomic():
                credential = credentials.create(self.tenant, **given)
                self.complete(201, credential.pk)
        except credentials.LabelTaken:
            raise label_taken(given["provider"]) from None
        except credentials.TooManyCredentials as error:
            raise Conflict(str(error), code="too_many_credentials") from None
        verification.check(credential)
        return self.created(credential.pk)

    def created(self, id: UUID) -> Response:
        """Answers with the credential as its row is after a check. Raises `Http404` if it was deleted meanwhile."""
        headers = {"Location": reverse("credential", kwargs={"id": id})}
        return Response(self.shown(get_object_or_404(self.get_queryset(), pk=id)), status=201, headers=headers)

    def replayed(self, done: IdempotencyKey) -> Response:
        assert done.made is not None
        return self.created(done.made)


@schema.CREDENTIAL
class OneCredential(Tagged, CredentialView):
    def get(self, request: Request, id: Any) -> Response:
        return Response(self.shown(self.get_object()))

    def patch(self, request: Request, id: Any) -> Response:
        credential = self.get_object()
        others = self.get_queryset().filter(provider=credential.provider).exclude(pk=credential.pk)
        change = CredentialChange(credential)
        given = self.read(change, taken=lambda values: taken(others, {"provider": credential.provider, **values}))
        if "secret" in given:
            rate_limits.key_check(self.tenant)
        try:
            credentials.change(credential, **given)
        except credentials.LabelTaken:
            raise label_taken(credential.provider) from None
        except Credential.DoesNotExist:
            raise Http404 from None
        if "secret" in given:
            verification.check(credential)
        return Response(self.reread(credential))

    def delete(self, request: Request, id: Any) -> Response:
        credentials.remove(self.get_object())
        return Response(status=204)


@schema.VERIFY
class Verify(CredentialView):
    def post(self, request: Request, id: Any) -> Response:
        credential = self.get_object()
        self.read(Nothing())
        rate_limits.key_check(self.tenant)
        verification.verify(credential)
        return Response(self.reread(credential))


@schema.DICTIONARY
class Dictionary(TenantView):
    scopes = {"GET": Scope.SEARCHES_READ}
    query_class = TermQuery
    keys = ("number",)
    error_codes = {"GET": ("not_found", "credential_missing", "credential_unusable", "provider_unavailable")}

    def get(self, request: Request, provider: str, name: str) -> Response:
        terms = self.terms(provider, name)
        pages = cast(CursorPages, self.paginator)
        page = pages.cut(lambda after: rows_after(terms, after), self.keys, request, self)
        return self.get_paginated_response(TermSerializer([row.term for row in page], many=True).data)

    def terms(self, provider: str, name: str) -> tuple[Term, ...]:
        """Looks the terms up. A provider's failure is answered with 503, because nothing queues and retries these calls."""
        try:
            return dictionaries.look_up(self.tenant, self.api_key.mode, provider, name, self.query["query"])
        except dictionaries.UnknownDictionary as error:
            raise NotFound(str(error)) from None
        except dictionaries.NoDefaultCredential as error:
            raise Conflict(str(error), code="credential_missing") from None
        except dictionaries.CredentialUnusable as error:
            raise Conflict(str(error), code="credential_unusable") from None
        except Failure as failure:
            raise ServiceUnavailable(failure.detail, code="provider_unavailable") from None


@dataclass(frozen=True)
class NumberedTerm:
    """A term and its number in the dictionary's answer, which a cursor names."""

    number: int
    term: Term


def rows_after(terms: tuple[Term, ...], last: Sequence[str] | None) -> list[NumberedTerm]:
    rows = [NumberedTerm(number, term) for number, term in enumerate(terms)]
    return rows[int(last[0]) + 1 :] if last else rows
