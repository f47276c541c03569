"""Describes the views in the OpenAPI document, beside their serializers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

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

LIST_ENDPOINTS = extend_schema(
    operation_id="list_webhook_endpoints",
    summary="Your endpoints, newest first",
    description="The endpoints of the key's mode. Their secrets are never shown.",
    parameters=[PageQuery, LINK],
    responses={200: EndpointSerializer(many=True)},
    examples=[ENDPOINT_EXAMPLE],
)
CREATE_ENDPOINT = extend_schema(
    operation_id="create_webhook_endpoint",
    summary="Create an endpoint",
    description="An event is sent by POST, signed as Standard Webhooks defines it, to every enabled endpoint of the mode of the "
    "key that caused it. Only this answer shows the `secret`.",
    request=EndpointRequest,
    parameters=[LOCATION],
    responses={201: EndpointWithSecretSerializer},
    examples=[
        OpenApiExample(
            "Ended searches", value={name: SHOWN[name] for name in ("url", "description", "events")}, request_only=True
        ),
        MADE,
    ],
)
GET_ENDPOINT = extend_schema(
    operation_id="get_webhook_endpoint",
    summary="One endpoint",
    description="Returns the endpoint with its state: whether it is enabled, failing, or has asked for a pause.",
    responses={200: EndpointSerializer},
    examples=[ENDPOINT_EXAMPLE],
)
CHANGE_ENDPOINT = extend_schema(
    operation_id="change_webhook_endpoint",
    summary="Change an endpoint",
    description="Changes its URL, description or types of events, or enables or disables it. An endpoint that was disabled for "
    "its failures can be enabled here. If an operator disabled it, only an operator can enable it: the answer is a 409.",
    request=EndpointChange,
    responses={200: EndpointSerializer},
    examples=[OpenApiExample("Back again", value={"enabled": True}, request_only=True), ENDPOINT_EXAMPLE],
)
DELETE_ENDPOINT = extend_schema(
    operation_id="delete_webhook_endpoint",
    summary="Delete an endpoint",
    description="The log of its deliveries is deleted too. Pending deliveries are not sent.",
    responses={204: None},
)
ROTATE_SECRET = extend_schema(
    operation_id="rotate_webhook_secret",
    summary="Make a new secret",
    description="Only this answer shows the new secret. For 24 hours deliveries carry two signatures, one by each secret, so "
    "that your receiver can change over at any time. A secret older than those two is void at once.",
    request=None,
    responses={200: EndpointWithSecretSerializer},
    examples=[MADE],
)
SEND_TEST = extend_schema(
    operation_id="send_webhook_test",
    summary="Send a test event",
    description="A `ping` is sent as every other event is, whatever types the endpoint wants, but it is tried 3 times at most. "
    "Its outcome is in `GET /v1/webhook-deliveries`. For a disabled endpoint the answer is a 409.",
    request=None,
    responses={200: DeliverySerializer},
    examples=[DELIVERY_EXAMPLE],
)
REDELIVER_RANGE = extend_schema(
    operation_id="redeliver_webhooks",
    summary="Send a range once more",
    description="The endpoint's deliveries of the events of a period are sent at once, and again by the schedule if they fail, "
    "with the same `webhook-id` and body as before. For a disabled endpoint the answer is a 409.",
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
LIST_DELIVERIES = extend_schema(
    operation_id="list_webhook_deliveries",
    summary="The deliveries to your endpoints, newest first",
    description="Each delivery with its attempts: when each was made, how long it took, what the endpoint answered, and why it "
    "failed.",
    parameters=[DeliveryQuery, LINK],
    responses={200: DeliverySerializer(many=True)},
    examples=[DELIVERY_EXAMPLE],
)
REDELIVER = extend_schema(
    operation_id="redeliver_webhook",
    summary="Send a delivery once more",
    description="The delivery is sent at once, and again by the schedule if it fails, with the same `webhook-id` and body as "
    "before. If it is being sent at this moment, it is not sent twice. The answer is a 409 for a disabled endpoint, and for a "
    f"delivery that was tried {MOST_ATTEMPTS:,} times.",
    request=None,
    responses={200: DeliverySerializer},
    examples=[DELIVERY_EXAMPLE],
)
