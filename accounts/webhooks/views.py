"""The API of endpoints, and of the log of deliveries.

A key sees only the endpoints of its own mode, as it sees only the searches of its own mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.db.models import Prefetch, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts.models import Attempt, Delivery, Endpoint, Scope, Tenant
from accounts.web import rate_limits
from accounts.web.entity_tags import Tagged
from accounts.web.exceptions import Conflict
from accounts.web.pagination import PageQuery
from accounts.web.strict_fields import Nothing, Wrong
from accounts.web.tenant_view import TenantView, every_method
from accounts.webhooks import endpoints, redelivery, schema
from accounts.webhooks.delivery import ATTEMPTS_KEPT
from accounts.webhooks.serializers import (
    DeliveryQuery,
    DeliverySerializer,
    EndpointChange,
    EndpointRequest,
    EndpointSerializer,
    RedeliveredSerializer,
    RedeliverRequest,
)

HELD = "An operator disabled the endpoint; ask the operators to enable it, and leave `enabled` out until then."
TRIED_TOO_OFTEN = f"The delivery was tried {redelivery.MOST_ATTEMPTS:,} times, the most there may be; GET its subject."
LONG_RANGE = f"The range has more than {redelivery.MOST_RESENT:,} deliveries; send shorter ranges, one after the other."
# The lookup of the ORM that each query parameter stands for.
FILTERS = {
    "endpoint": "endpoint",
    "state": "state",
    "type": "event__type",
    "created_after": "created_at__gt",
    "created_before": "created_at__lt",
}


@contextmanager
def translate_domain_errors() -> Iterator[None]:
    """Translates what the domain raises into the API's statuses and codes. A row that was deleted meanwhile is a 404."""
    try:
        yield
    except endpoints.TooManyEndpoints as error:
        raise Conflict(str(error), code="too_many_endpoints") from None
    except endpoints.Repeated:
        raise repeated_url() from None
    except endpoints.HeldByOperator:
        raise Conflict(HELD, code="endpoint_disabled") from None
    except redelivery.TooManyAttempts:
        raise Conflict(TRIED_TOO_OFTEN, code="too_many_attempts") from None
    except redelivery.RangeTooLong:
        raise ValidationError({"to": [LONG_RANGE]}, code="range_too_long") from None
    except (Endpoint.DoesNotExist, Delivery.DoesNotExist):
        raise Http404 from None


class EndpointView(TenantView):
    scopes = every_method(Scope.WEBHOOKS_MANAGE)
    queryset = Endpoint.objects.all()

    def get_queryset(self) -> QuerySet[Endpoint]:
        return super().get_queryset().filter(mode=self.api_key.mode)

    def enabled(self) -> Endpoint:
        """Returns the endpoint. Raises `Conflict` if it is disabled."""
        endpoint: Endpoint = self.get_object()
        refuse_disabled(endpoint)
        return endpoint


class DeliveryView(TenantView):
    scopes = every_method(Scope.WEBHOOKS_MANAGE)
    queryset = Delivery.objects.all()

    def get_queryset(self) -> QuerySet[Delivery]:
        """Names the endpoints by their ids: PostgreSQL then knows how many deliveries each has, and picks the right index."""
        mine = Endpoint.objects.for_tenant(self.tenant).filter(mode=self.api_key.mode)
        return super().get_queryset().filter(endpoint__in=list(mine.values_list("pk", flat=True)))


class Endpoints(EndpointView):
    query_class = PageQuery
    keys = ("-id",)
    error_codes = {"POST": ("too_many_endpoints",)}

    @schema.LIST_ENDPOINTS
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(EndpointSerializer(page, many=True).data)

    @schema.CREATE_ENDPOINT
    @translate_domain_errors()
    def post(self, request: Request) -> Response:
        given = self.read(EndpointRequest(), taken=lambda values: taken(self.get_queryset(), values))
        endpoint, secret = endpoints.create(self.tenant, self.api_key.mode, **given)
        headers = {"Location": reverse("webhook-endpoint", kwargs={"id": endpoint.pk})}
        return Response(with_secret(endpoint, secret), status=201, headers=headers)


class OneEndpoint(Tagged, EndpointView):
    error_codes = {"PATCH": ("endpoint_disabled",)}

    @schema.GET_ENDPOINT
    def get(self, request: Request, id: Any) -> Response:
        return Response(EndpointSerializer(self.get_object()).data)

    @schema.CHANGE_ENDPOINT
    @translate_domain_errors()
    def patch(self, request: Request, id: Any) -> Response:
        endpoint = self.get_object()
        others = self.get_queryset().exclude(pk=endpoint.pk)
        endpoints.change(endpoint, **self.read(EndpointChange(), taken=lambda values: taken(others, values)))
        return Response(EndpointSerializer(endpoint).data)

    @schema.DELETE_ENDPOINT
    def delete(self, request: Request, id: Any) -> Response:
        endpoints.remove(self.get_object())
        return Response(status=204)


class RotateSecret(EndpointView):
    @schema.ROTATE_SECRET
    @translate_domain_errors()
    def post(self, request: Request, id: Any) -> Response:
        endpoint = self.get_object()
        self.read(Nothing())
        return Response(with_secret(endpoint, endpoints.rotate(endpoint)))


class SendTest(EndpointView):
    error_codes = {"POST": ("endpoint_disabled",)}

    @schema.SEND_TEST
    @translate_domain_errors()
    def post(self, request: Request, id: Any) -> Response:
        endpoint = self.enabled()
        self.read(Nothing())
        rate_limits.test_event(self.tenant, endpoint.target)
        return Response(shown(self.tenant, redelivery.ping(endpoint)))


class RedeliverRange(EndpointView):
    error_codes = {"POST": ("endpoint_disabled",)}
    # The deliveries are sent in batches, each in a transaction of its own.
    in_one_transaction = False

    @schema.REDELIVER_RANGE
    @translate_domain_errors()
    def post(self, request: Request, id: Any) -> Response:
        endpoint = self.enabled()
        values = self.read(RedeliverRequest())
        rate_limits.redelivery(self.tenant, endpoint.target)
        count = redelivery.redeliver_range(
            endpoint,
            since=values["from"],
            until=values["to"],
            states=values["states"],
            types=values["types"],
            admit=lambda count: rate_limits.resending(self.tenant, endpoint.target, count),
        )
        return Response(RedeliveredSerializer({"redelivered": count}).data)


class Deliveries(DeliveryView):
    query_class = DeliveryQuery
    keys = ("-id",)

    @schema.LIST_DELIVERIES
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(with_attempts(self.filtered())) or []
        return self.get_paginated_response(DeliverySerializer(page, many=True).data)

    def filtered(self) -> QuerySet[Delivery]:
        return self.get_queryset().filter(**{FILTERS[name]: self.query[name] for name in FILTERS if name in self.query})


class Redeliver(DeliveryView):
    error_codes = {"POST": ("endpoint_disabled", "too_many_attempts")}

    @schema.REDELIVER
    @translate_domain_errors()
    def post(self, request: Request, id: Any) -> Response:
        delivery = self.get_object()
        self.read(Nothing())
        refuse_disabled(delivery.endpoint)
        rate_limits.redelivery(self.tenant, delivery.endpoint.target)
        redelivery.redeliver(delivery)
        return Response(shown(self.tenant, delivery))


def repeated_url() -> ValidationError:
    detail = "Another endpoint of yours of this mode has this URL; change that one, or give another URL."
    return ValidationError({"url": [detail]}, code="repeated_url")


def taken(endpoints: QuerySet[Endpoint], values: dict[str, Any]) -> Wrong:
    is_taken = "url" in values and endpoints.filter(url=values["url"]).exists()
    return cast(Wrong, repeated_url().detail) if is_taken else {}


def refuse_disabled(endpoint: Endpoint) -> None:
    if not endpoint.enabled:
        detail = f"The endpoint is disabled ({endpoint.disabled_reason}); enable it first, by PATCH."
        raise Conflict(detail, code="endpoint_disabled")


def with_secret(endpoint: Endpoint, secret: str) -> Any:
    return {**EndpointSerializer(endpoint).data, "secret": secret}


def shown(tenant: Tenant, delivery: Delivery) -> Any:
    """Returns the answer about a delivery, from its row as it is now."""
    present = with_attempts(Delivery.objects.for_tenant(tenant))
    return DeliverySerializer(get_object_or_404(present, pk=delivery.pk)).data


def with_attempts(deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
    last = Attempt.objects.order_by("-number")[:ATTEMPTS_KEPT]
    return deliveries.select_related("event").prefetch_related(Prefetch("attempts", last, to_attr="last_attempts"))
