"""Bare DRF views of a search: the reads and the writes of the API's, and none of what the API does beside.

GET reads the API key with its tenant, the search with its picture, its lookups with the number of their calls, and their
credits; for an open search also what its estimates take. POST reads the key, parses the form, writes the picture's bytes to
the storage, and writes in one transaction the rows that a create writes: the picture, its rendering, the search, its lookups,
the tenant's queue, the holds with their entries, and the count of stored pictures. POST decodes, strips and fits no picture,
looks for no equal picture or lookup, reads no price, credential, policy or estimate, checks no bound of the tenant, and wakes
nobody.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Count, F, Prefetch
from django.urls import path
from django.utils import timezone
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.generics import RetrieveAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from uuid_utils.compat import uuid7

from accounts.models import ApiKey, Tenant
from billing import ledger
from providers import registry
from searches.lanes import estimates
from searches.lifecycle import holds
from searches.models import Image, Lane, Lookup, PictureUsage, Rendering, Search, TenantQueue

PRICE = Decimal("0.025")
PROVIDERS = {source: adapter.provider for source, adapter in registry.ADAPTERS.items()}


class Key(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Tenant, ApiKey]:
        secret = request.headers.get("Authorization", "").removeprefix("Bearer ")
        digest = hashlib.sha256(secret.encode()).hexdigest()
        key = ApiKey.objects.select_related("tenant").filter(digest=digest, revoked_at=None).first()
        if key is None:
            raise AuthenticationFailed
        return key.tenant, key


def of(request: Request) -> ApiKey:
    return cast(ApiKey, request.auth)


class BareImage(serializers.ModelSerializer[Image]):
    class Meta:
        model = Image
        fields = ("id", "sha256", "format", "width", "height", "bytes")


class BareLookup(serializers.ModelSerializer[Lookup]):
    calls = serializers.IntegerField(source="call_count")
    position = serializers.IntegerField(source="forecast.position")
    estimated_start_at = serializers.DateTimeField(source="forecast.estimated_start_at")
    waiting_on = serializers.CharField(source="forecast.waiting_on")
    held = serializers.DecimalField(source="tally.held", max_digits=20, decimal_places=6)
    charged = serializers.DecimalField(source="tally.charged", max_digits=20, decimal_places=6)
    unknown = serializers.DecimalField(source="tally.unknown", max_digits=20, decimal_places=6)

    class Meta:
        model = Lookup
        fields = (
            *("id", "source", "provider", "status", "parameters", "effective_parameters", "position"),
            *("estimated_start_at", "waiting_on", "repeat", "repeat_of", "calls", "result_count", "duplicates"),
            *("unreadable", "total", "error_code", "error_detail", "error_retryable", "held", "charged", "unknown"),
        )


class BareSearch(serializers.ModelSerializer[Search]):
    image = BareImage()
    lookups = BareLookup(many=True, source="rows")

    class Meta:
        model = Search
        fields = (
            *("id", "status", "mode", "version", "created_at", "finished_at", "image", "crop", "lookups"),
            "metadata",
        )


class OneSearch(RetrieveAPIView[Any]):
    authentication_classes = (Key,)
    permission_classes = (IsAuthenticated,)
    serializer_class = BareSearch
    lookup_field = "id"

    def get_queryset(self) -> Any:
        lookups = Lookup.objects.order_by("ordinal").annotate(call_count=Count("calls"))
        searches = Search.objects.filter(tenant=of(self.request).tenant, mode=of(self.request).mode)
        return searches.select_related("image").prefetch_related(Prefetch("lookups", lookups, to_attr="rows"))

    def get_object(self) -> Any:
        search = super().get_object()
        return attach(search, search.rows, estimates.forecast(search.rows))


class OrderedLookup(serializers.Serializer[Any]):
    # Any: DRF names another attribute so.
    source: Any = serializers.ChoiceField(choices=list(PROVIDERS))
    limit = serializers.IntegerField(default=20, min_value=1)
    parameters = serializers.DictField(default=dict)


class Order(serializers.Serializer[Any]):
    lookups = OrderedLookup(many=True)
    metadata = serializers.DictField(child=serializers.CharField(), default=dict)


class Searches(APIView):
    authentication_classes = (Key,)
    permission_classes = (IsAuthenticated,)
    parser_classes = (MultiPartParser,)

    def post(self, request: Request) -> Response:
        form = cast("dict[str, Any]", request.data)
        order = Order(data=json.loads(form["request"]))
        order.is_valid(raise_exception=True)
        content = form["image"].read()
        name = default_storage.save(f"bare/{uuid7()}.jpg", ContentFile(content))
        with transaction.atomic():
            image = Image.objects.create(
                tenant=of(request).tenant,
                sha256=hashlib.sha256(content).hexdigest(),
                format="jpeg",
                width=1280,
                height=853,
                bytes=len(content),
                file=name,
                file_bytes=len(content),
            )
            search, lookups = written(request, image, order.validated_data)
            for lookup in lookups:
                queues = TenantQueue.objects.filter(lane=lookup.lane, tenant=search.tenant)
                queues.update(ready=F("ready") + 1, pending_calls=F("pending_calls") + lookup.pages)
                Rendering.objects.create(
                    image=image, provider=lookup.provider, media_type="image/jpeg", bytes=len(content), file=name
                )
            holds.hold(search, lookups)
            stored = PictureUsage.objects.filter(tenant=search.tenant)
            stored.update(images=F("images") + 1, bytes=F("bytes") + len(content))
        attach(search, lookups, {})
        return Response(BareSearch(search).data, status=202)


def written(request: Request, image: Image, order: dict[str, Any]) -> tuple[Search, list[Lookup]]:
    now = timezone.now()
    expires_at = now + timedelta(days=1)
    search = Search.objects.create(
        tenant=of(request).tenant,
        api_key=of(request),
        mode=of(request).mode,
        image=image,
        metadata=order["metadata"],
        created_at=now,
        expires_at=expires_at,
    )
    lookups = [
        Lookup(
            search=search,
            tenant=of(request).tenant,
            ordinal=number,
            source=wanted["source"],
            provider=PROVIDERS[wanted["source"]],
            lane=Lane(name=PROVIDERS[wanted["source"]], mode=of(request).mode),
            sort_key=number,
            expires_at=expires_at,
            created_at=now,
            parameters=wanted["parameters"],
            effective_parameters=wanted["parameters"],
            limit=wanted["limit"],
            page_size=wanted["limit"],
            pages=1,
            price_per_result=PRICE,
        )
        for number, wanted in enumerate(order["lookups"])
    ]
    Lookup.objects.bulk_create(lookups)
    return search, lookups


def attach(search: Any, lookups: list[Any], forecasts: dict[UUID, estimates.Forecast]) -> Any:
    """Attaches what a search shows beside its rows: the estimates and the credits of its lookups."""
    tallies = ledger.tallies(lookup.reference for lookup in lookups)
    for lookup in lookups:
        lookup.forecast = forecasts.get(lookup.pk, estimates.Forecast())
        lookup.tally = tallies[lookup.reference]
        lookup.call_count = getattr(lookup, "call_count", 0)
    search.rows = lookups
    return search


urlpatterns = [
    path("v1/searches", Searches.as_view()),
    path("v1/searches/<uuid:id>", OneSearch.as_view()),
]
