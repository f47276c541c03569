"""Describes the views in the OpenAPI document, beside their serializers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_view

from accounts.web.pagination import LINK, PageQuery
from accounts.webhooks.redelivery import MOST_ATTEMPTS
from accounts.webhooks.serializers import (
    DeliveryQuery,
    DeliverySerializer,
    EndpointChange,
    EndpointRequest,
    EndpointSerializer,
    EndpointWithSecretSerializer,
    RedeliveredSerializer,
    RedeliverRequest,
)

SHOWN: dict[str, Any] = {
    "id": "019a9f3e-5b10-7b44-9a0e-2f1d3c4b5010",
    "mode": "live",
    "url": "https://example.com/sightline",
    "description": "The shop's",
    "events": ["search.succeeded", "search.partial", "search.failed"],
    "enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "quiet_until": None,
    "previous_secret_until": None,
    "created_at": "2026-11-20T09:12:03.118000Z",
    "updated_at": "2026-11-20T09:12:03.118000Z",
}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
DELIVERED: dict[str, Any] = {
    "id": "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c020",
    "endpoint_id": SHOWN["id"],
    "event_id": "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c021",
    "type": "search.succeeded",
    "state": "delivered",
    "next_attempt_at": None,
    "created_at": "2026-11-20T09:13:20.002000Z",
    "finished_at": "2026-11-20T09:13:25.340000Z",
    "attempt_count": 2,
    "attempts": [
        {
            "number": 2,
            "started_at": "2026-11-20T09:13:25.221000Z",
            "duration_ms": 114,
            "status": 204,
            "cause": None,
            "detail": None,
            "answer": "",
        },
        {
            "number": 1,
            "started_at": "2026-11-20T09:13:20.040000Z",
            "duration_ms": 87,
            "status": 502,
            "cause": "bad_status",
            "detail": "The endpoint answered 502 Bad Gateway; what it has received it must answer with 2xx.",
            "answer": "<html>…",
        },
    ],
}
ENDPOINT_EXAMPLE = OpenApiExample("An endpoint", value=SHOWN, response_only=True, status_codes=["200"])
MADE = OpenApiExample(
    "With its secret", value=SHOWN | {"secret": SECRET}, response_only=True, status_codes=["200", "201"]
)
DELIVERY_EXAMPLE = OpenApiExample("A delivery", value=DELIVERED, response_only=True, status_codes=["200"])
LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="Where it is.")

ENDPOINTS = extend_schema_view(
    get=extend_schema(
        operation_id="list_webhook_endpoints",
        summary="Where you are told, newest first",
        description="The endpoints of the key's mode. Their secrets are never shown.",
        parameters=[PageQuery, LINK],
        responses={200: EndpointSerializer(many=True)},
    ),
    post=extend_schema(
        operation_id="create_webhook_endpoint",
        summary="Be told of what happens",
        description="Events go by POST, signed as Standard Webhooks has it, to every enabled endpoint of the mode of the "
        "key that caused them. The answer alone shows the `secret`.",
        request=EndpointRequest,
        parameters=[LOCATION],
        responses={201: EndpointWithSecretSerializer},
        examples=[
            OpenApiExample(
                "Ended searches",
                value={"url": SHOWN["url"], "description": SHOWN["description"], "events": SHOWN["events"]},
                request_only=True,
            ),
            MADE,
        ],
    ),
)
ENDPOINT = extend_schema_view(
    get=extend_schema(
        operation_id="get_webhook_endpoint",
        summary="One endpoint",
        responses={200: EndpointSerializer},
        examples=[ENDPOINT_EXAMPLE],
    ),
    patch=extend_schema(
        operation_id="change_webhook_endpoint",
        summary="Move, describe, choose its events, enable or disable it",
        description="An endpoint that was disabled for its failures is enabled here again; one that an operator disabled, by an "
        "operator alone: a 409.",
        request=EndpointChange,
        responses={200: EndpointSerializer},
        examples=[OpenApiExample("Back again", value={"enabled": True}, request_only=True), ENDPOINT_EXAMPLE],
    ),
    delete=extend_schema(
        operation_id="delete_webhook_endpoint",
        summary="Delete an endpoint",
        description="With the log of its deliveries; what is pending is not sent.",
        responses={204: None},
    ),
)
ROTATE = extend_schema_view(
    post=extend_schema(
        operation_id="rotate_webhook_secret",
        summary="A new secret",
        description="The answer alone shows it. For 24 hours deliveries carry two signatures, one by each secret, so that "
        "your receiver can change over whenever it suits; a secret before those two is void at once.",
        request=None,
        responses={200: EndpointWithSecretSerializer},
        examples=[MADE],
    )
)
TEST = extend_schema_view(
    post=extend_schema(
        operation_id="test_webhook_endpoint",
        summary="Send a `ping`",
        description="On the same way as every other event, whatever types the endpoint wants, but tried 3 times at most; "
        "its outcome is in `GET /v1/webhook-deliveries`. A disabled endpoint is a 409.",
        request=None,
        responses={200: DeliverySerializer},
        examples=[DELIVERY_EXAMPLE],
    )
)
REDELIVER_RANGE = extend_schema_view(
    post=extend_schema(
        operation_id="redeliver_webhook_range",
        summary="Send a range once more",
        description="The endpoint's deliveries of the events of a stretch of time: at once, and again by the schedule if "
        "need be, with the same `webhook-id` and body as before. A disabled endpoint is a 409.",
        request=RedeliverRequest,
        responses={200: RedeliveredSerializer},
        examples=[
            OpenApiExample(
                "What an outage cost",
                value={"from": "2026-11-20T09:00:00Z", "to": "2026-11-20T12:00:00Z"},
                request_only=True,
            ),
            OpenApiExample("So many", value={"redelivered": 12}, response_only=True, status_codes=["200"]),
        ],
    )
)
DELIVERIES = extend_schema_view(
    get=extend_schema(
        operation_id="list_webhook_deliveries",
        summary="What was sent to your endpoints, newest first",
        description="Each delivery with its attempts: when, how long, what was answered, and why it did not arrive.",
        parameters=[DeliveryQuery, LINK],
        responses={200: DeliverySerializer(many=True)},
    )
)
REDELIVER = extend_schema_view(
    post=extend_schema(
        operation_id="redeliver_webhook",
        summary="Send one once more",
        description="At once, and again by the schedule if need be, with the same `webhook-id` and body as before. One that "
        "is under way at this moment counts as that. A disabled endpoint is a 409, and so is a delivery that was tried "
        f"{MOST_ATTEMPTS:,} times.",
        request=None,
        responses={200: DeliverySerializer},
        examples=[DELIVERY_EXAMPLE],
    )
)
