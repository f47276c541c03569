"""Plays KeyAPI's product image search as its page describes it.

The page leaves some points open. They are decided here on the strict side: unknown fields and empty optional fields are refused,
and only a JPEG is accepted.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import uuid4

from PIL import Image

from providers.sandbox.catalogue import SandboxProduct
from providers.sandbox.played_provider import Address, BilledResponse, ErrorResponse, PlayedProvider, Search
from providers.sandbox.similarity import NotAPicture, decode, describe
from providers.sandbox.validation import InvalidBody, fields, number, text
from providers.sandbox.wsgi import Request, Response

# Credits for a request, whatever it finds.
PRICE = Decimal(1)
MOST_PRODUCTS = 30
REQUIRED = ("image_base64", "size")
FORM = fields(
    {
        "image_base64": text,
        "product_name": text,
        "region": text,
        "size": number(at_least=1, whole=True),
    }
)


class KeyAPI(PlayedProvider):
    name = "keyapi"
    path = "/keyapi"

    def searches(self) -> Mapping[Address, Search]:
        return {("POST", "/v1/tiktok/product/image-search/analytics"): self.image_search}

    def sent_key(self, request: Request) -> str | None:
        return request.bearer

    def rejected(self, key: str | None) -> ErrorResponse:
        return _error(401, "apiKey is null" if key is None else "apiKey is invalid")

    def no_credits(self) -> ErrorResponse:
        return _error(402, "apiKey quota is not enough")

    def too_many_requests(self) -> ErrorResponse:
        return _error(429, "qps limit exceeded")

    def internal_error(self) -> ErrorResponse:
        return _error(500, "Internal server error")

    def nothing_found(self) -> BilledResponse:
        return _success([])

    def image_search(self, key: str, request: Request) -> BilledResponse:
        wanted = _checked_body(request.body)
        distances = self.catalogue.product_gallery.distances(describe(_picture(wanted)))
        near = sorted(zip(distances, self.catalogue.products, strict=True), key=lambda pair: pair[0])
        found = [_product(product, distance) for distance, product in near if _matches(product, wanted)]
        return _success(found[: wanted["size"]])


def _error(status: int, message: str) -> ErrorResponse:
    return ErrorResponse(Response.of({"code": status, "data": None, "message": message}, status))


def _success(products: list[dict[str, Any]]) -> BilledResponse:
    answer = {"code": 0, "message": "success", "data": products, "requestId": str(uuid4())}
    return BilledResponse(response=Response.of(answer), credits=PRICE)


def _checked_body(body: bytes) -> dict[str, Any]:
    try:
        wanted: dict[str, Any] = json.loads(body)
        FORM(wanted, "")
    except InvalidBody as problem:
        raise _error(400, f"{problem}") from None
    except (ValueError, RecursionError):
        raise _error(400, "The body is not JSON") from None
    for name in REQUIRED:
        if name not in wanted:
            raise _error(400, f"Missing required parameter: {name}")
    if wanted["size"] > MOST_PRODUCTS:
        raise _error(400, f"size must be at most {MOST_PRODUCTS}")
    return wanted


def _picture(wanted: dict[str, Any]) -> Image.Image:
    try:
        return decode(b64decode(wanted["image_base64"], validate=True), "JPEG")
    except (ValueError, NotAPicture):
        raise _error(400, "image_base64 is not a base64 encoded image") from None


def _matches(product: SandboxProduct, wanted: dict[str, Any]) -> bool:
    words = wanted.get("product_name", "").lower().split()
    name = product.name.lower()
    return wanted.get("region") in (None, product.region) and all(word in name for word in words)


def _product(product: SandboxProduct, distance: float) -> dict[str, Any]:
    """Returns a product as KeyAPI shows it. The score grows with similarity, and the page names no upper limit of it."""
    return {
        "_index": "product_image_search",
        "_id": product.id,
        "_score": round(100 / (1 + distance), 6),
        "_source": {
            "product_id": product.id,
            "priority_region": product.region,
            "vector_source_image": f"tos://sandbox-images/product-cover/{product.id[-3:]}/{product.id}_0.jpeg",
            "product_name": product.name,
        },
    }
