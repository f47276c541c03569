"""Serves API keys over HTTP. They are in this app because their caps are.

A key sees the keys of its own mode, and a live key with all scopes those of both. It gives no more than it has, and changes,
rotates and revokes no key that has more: the secret of such a key would widen its own rights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Least
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts import keys
from accounts.models import ApiKey, FormerSecret, IdempotencyKey, Mode, Scope, Tenant
from accounts.web.entity_tags import Tagged
from accounts.web.exceptions import Conflict
from accounts.web.pagination import PageQuery
from accounts.web.strict_fields import Wrong
from accounts.web.tenant_view import TenantView, every_method
from billing import key_caps
from billing.api_keys import schema
from billing.api_keys.rights import Rights, excess
from billing.api_keys.serializers import (
    NO_CAP_OF_A_TEST_KEY,
    ApiKeyChange,
    ApiKeyRequest,
    ApiKeySerializer,
    RotationRequest,
)

REVOKED = "This API key was revoked, which cannot be undone; create another one."
EXPIRED = "This API key has expired; give it a later `expires_at` first, by PATCH, or create another one."
# The most keys that one key comes from. Each request reads its key with all of their ids. A new key a month, each made with the
# last one, takes eight years to get there.
MOST_ANCESTORS = 100
TOO_MANY_ANCESTORS = (
    "The key that asks comes from {:,} others, one made with the other, as many as there may be; create this key with an older "
    "one, or have an operator make it."
)
# The columns of a key that a change may set.
COLUMNS = ("label", "scopes", "expires_at", "allowed_networks")


class ApiKeyView(TenantView):
    scopes = every_method(Scope.KEYS_MANAGE)
    queryset = ApiKey.objects.all()

    def get_queryset(self) -> QuerySet[ApiKey]:
        own: QuerySet[ApiKey] = super().get_queryset()
        if not rights_of(self.api_key).reaches_both_modes:
            own = own.filter(mode=self.api_key.mode)
        overlaps = FormerSecret.objects.filter(api_key=OuterRef("pk")).values("api_key")
        # LEAST leaves out null, the expiry of a key that has none.
        until = overlaps.annotate(until=Max(Least("valid_until", "api_key__expires_at"))).values("until")
        return own.annotate(previous_secret_until=Subquery(until))

    def compared(self) -> Any:
        """Returns the body with the key that asks: another key must not be shown a secret that may give more than it has."""
        body = super().compared()
        return None if body is None else [self.api_key.pk, body]

    def replayed(self, done: IdempotencyKey) -> Response:
        """Answers with a secret as long as the key that asks may do what the key of the secret may: it may do less by now."""
        response = super().replayed(done)
        key = get_object_or_404(self.get_queryset(), pk=response.data["id"])
        refuse_stronger(key, rights_of(self.api_key))
        refuse_another_budget(key, self.api_key)
        return response

    def shown(self, found: list[ApiKey]) -> list[dict[str, Any]]:
        return list(ApiKeySerializer(found, many=True, context={"caps": key_caps.of(found)}).data)

    def present(self, id: UUID, **more: Any) -> dict[str, Any]:
        """Returns a key as its row is now."""
        return {**self.shown([self.get_queryset().get(pk=id)])[0], **more}

    def beyond_a_new_key(self, values: dict[str, Any]) -> Wrong:
        own = rights_of(self.api_key)
        return errors_of(new_rights(values, own), own)

    def beyond(self, rights: Rights) -> Wrong:
        return errors_of(rights, rights_of(self.api_key))

    @contextmanager
    def managing(self, id: UUID | None = None) -> Iterator[tuple[Rights, ApiKey]]:
        """Locks the tenant, the key that asks and the key it is about, until what is done has been committed.

        Gives the rights of the key that asks, as they are now. A revocation that is committed before is therefore obeyed, and
        one that comes later waits. Refuses a key that has more.
        """
        asking = self.api_key.pk
        with transaction.atomic():
            Tenant.objects.select_for_update(no_key=True).get(pk=self.tenant.pk)
            rows = ApiKey.objects.for_tenant(self.tenant).filter(pk__in=(asking, id or asking))
            locked = {key.pk: key for key in rows.order_by("pk").select_for_update(no_key=True)}
            own = rights_of(self.recheck_key())
            key = locked.get(id or asking)
            if key is None:
                raise Http404
            refuse_stronger(key, own)
            refuse_another_budget(key, self.api_key)
            yield own, key


@schema.API_KEYS
class ApiKeys(ApiKeyView):
    query_class = PageQuery
    keys = ("-id",)
    error_codes = {"POST": ("too_many_api_keys", "stronger_key")}

    def get(self, request: Request) -> Response:
        return self.get_paginated_response(self.shown(self.paginate_queryset(self.get_queryset()) or []))

    def post(self, request: Request) -> Response:
        given = self.read(ApiKeyRequest(), taken=self.beyond_a_new_key)
        with self.managing() as (own, _):
            rights, label = new_rights(given, own), given["label"]
            refuse_wider(rights, own)
            key, secret = issue(self.api_key, rights, label)
        headers = {"Location": reverse("api-key", kwargs={"id": key.pk})}
        return Response(self.present(key.pk, secret=secret), status=201, headers=headers)


@schema.API_KEY
class OneApiKey(Tagged, ApiKeyView):
    error_codes = {
        "PATCH": ("stronger_key", "api_key_ended", "too_many_api_keys"),
        "DELETE": ("stronger_key",),
    }

    def get(self, request: Request, id: UUID) -> Response:
        return Response(self.shown([self.get_object()])[0])

    def patch(self, request: Request, id: UUID) -> Response:
        present = rights_of(self.get_object())
        given = self.read(ApiKeyChange(), taken=lambda values: self.beyond(changed(present, values)))
        with self.managing(id) as (own, key):
            change(key, given, own)
        return Response(self.present(id))

    def delete(self, request: Request, id: UUID) -> Response:
        self.get_object()
        with self.managing(id) as (_, key):
            keys.revoke(key)
        return Response(status=204)


@schema.ROTATE
class Rotate(ApiKeyView):
    error_codes = {"POST": ("stronger_key", "api_key_ended")}

    def post(self, request: Request, id: UUID) -> Response:
        self.get_object()
        overlap = timedelta(seconds=self.read(RotationRequest())["overlap_seconds"])
        with self.managing(id) as (_, key):
            refuse_ended(key)
            secret = keys.rotate(key, overlap)
        return Response(self.present(id, secret=secret))


def rights_of(key: ApiKey) -> Rights:
    return Rights.of(key, key_caps.in_force(key))


def new_rights(given: dict[str, Any], own: Rights) -> Rights:
    """Returns the rights that a request for a new key asks for."""
    mode = given.get("mode", own.mode)
    asked = own.inherited(mode) | {name: given[name] for name in given if name not in ("label", "mode")}
    return Rights(mode=mode, **asked)


def changed(rights: Rights, given: dict[str, Any]) -> Rights:
    """Returns the rights of a key after a change."""
    return replace(rights, **{name: given[name] for name in given if name != "label"})


def errors_of(rights: Rights, own: Rights) -> Wrong:
    """Returns the errors of the fields in which rights go beyond those of the key that asks."""
    errors: Wrong = {
        name: [ErrorDetail(sentence, code="more_than_yours")] for name, sentence in excess(rights, own).items()
    }
    if rights.mode == Mode.TEST and rights.caps:
        errors["caps"] = [ErrorDetail(NO_CAP_OF_A_TEST_KEY, code="not_of_a_test_key")]
    return errors


def refuse_wider(rights: Rights, own: Rights) -> None:
    """Raises `ValidationError`."""
    if errors := errors_of(rights, own):
        raise ValidationError(errors)


def refuse_stronger(key: ApiKey, own: Rights) -> None:
    if beyond := excess(rights_of(key), own):
        raise PermissionDenied(
            f"This API key may do more than the one that asks ({', '.join(beyond)}); use a key that may do as much.",
            code="stronger_key",
        )


def refuse_another_budget(key: ApiKey, asking: ApiKey) -> None:
    """Refuses a key that does not count under the caps of the one that asks, which could spend beyond them with its secret."""
    if not key_caps.bounding(asking) <= {key.pk, *key.ancestors}:
        raise PermissionDenied(
            "The key that asks has caps, and this API key does not count under them; use a key without caps.",
            code="stronger_key",
        )


def refuse_ended(key: ApiKey) -> None:
    if key.state != "valid":
        raise Conflict(REVOKED if key.state == "revoked" else EXPIRED, code="api_key_ended")


def issue(asking: ApiKey, rights: Rights, label: str) -> tuple[ApiKey, str]:
    if len(asking.ancestors) >= MOST_ANCESTORS:
        raise Conflict(TOO_MANY_ANCESTORS.format(MOST_ANCESTORS), code="too_many_api_keys")
    try:
        key, secret = keys.issue(
            asking.tenant,
            rights.mode,
            label,
            ancestors=[*asking.ancestors, asking.pk],
            scopes=list(rights.scopes),
            expires_at=rights.expires_at,
            allowed_networks=list(rights.allowed_networks),
        )
    except keys.TooManyApiKeys as error:
        raise Conflict(str(error), code="too_many_api_keys") from None
    key_caps.replace(key, rights.caps)
    return key, secret


def change(key: ApiKey, given: dict[str, Any], own: Rights) -> None:
    """Changes a locked key of a locked tenant. An expired key may become valid again, where there is room for it."""
    if key.state == "revoked":
        refuse_ended(key)
    refuse_wider(changed(rights_of(key), given), own)
    was_expired = key.state == "expired"
    columns = {name: given[name] for name in COLUMNS if name in given}
    for name, value in columns.items():
        setattr(key, name, value)
    if was_expired and key.state == "valid":
        try:
            keys.check_room(key.tenant)
        except keys.TooManyApiKeys as error:
            raise Conflict(str(error), code="too_many_api_keys") from None
    ApiKey.objects.filter(pk=key.pk).update(**columns)
    if "caps" in given:
        key_caps.replace(key, given["caps"])
