"""KeyAPI's product image search, as its page describes it. What the page leaves open is chosen here, on the strict side:
unknown fields, and optional ones that are empty, are refused, and the picture is to be a JPEG.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import uuid4

from PIL import Image

from providers.sandbox.catalogue import SMALL, Catalogue, SandboxProduct
from providers.sandbox.drawing import draw
from providers.sandbox.exchange import Request, Response
from providers.sandbox.forms import Misfit, fields, number, text
from providers.sandbox.provider import Address, Found, Provider, Refusal, Search
from providers.sandbox.settings import Settings
from providers.sandbox.similarity import Gallery, NotAPicture, decode, describe

# A request, whatever it finds.
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


class KeyAPI(Provider):
    name = "keyapi"
    path = "/keyapi"

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        super().__init__(catalogue, settings)
        self.gallery = Gallery(describe(draw(product.scene, SMALL)) for product in catalogue.products)

    def searches(self) -> Mapping[Address, Search]:
        return {("POST", "/v1/tiktok/product/image-search/analytics"): self.image_search}

    def sent_key(self, request: Request) -> str | None:
        return request.bearer

    def rejected(self, key: str | None) -> Refusal:
        return _refusal(401, "apiKey is null" if key is None else "apiKey is invalid")

    def no_credits(self) -> Refusal:
        return _refusal(402, "apiKey quota is not enough")

    def too_many_requests(self) -> Refusal:
        return _refusal(429, "qps limit exceeded")

    def internal_error(self) -> Refusal:
        return _refusal(500, "Internal server error")

    def nothing_found(self) -> Found:
        return _found([])

    def image_search(self, key: str, request: Request) -> Found:
        wanted = _wanted(request.body)
        distances = self.gallery.distances(describe(_picture(wanted)))
        near = sorted(zip(distances, self.catalogue.products, strict=True), key=lambda pair: pair[0])
        found = [_product(product, distance) for distance, product in near if _meant(product, wanted)]
        return _found(found[: wanted["size"]])


def _refusal(status: int, message: str) -> Refusal:
    return Refusal(Response.of({"code": status, "data": None, "message": message}, status))


def _found(products: list[dict[str, Any]]) -> Found:
    answer = {"code": 0, "message": "success", "data": products, "requestId": str(uuid4())}
    return Found(response=Response.of(answer), credits=PRICE)


def _wanted(body: bytes) -> dict[str, Any]:
    try:
        wanted: dict[str, Any] = json.loads(body)
        FORM(wanted, "")
    except Misfit as misfit:
        raise _refusal(400, f"{misfit}") from None
    except (ValueError, RecursionError):
        raise _refusal(400, "The body is not JSON") from None
    for name in REQUIRED:
        if name not in wanted:
            raise _refusal(400, f"Missing required parameter: {name}")
    if wanted["size"] > MOST_PRODUCTS:
        raise _refusal(400, f"size must be at most {MOST_PRODUCTS}")
    return wanted


def _picture(wanted: dict[str, Any]) -> Image.Image:
    try:
        return decode(b64decode(wanted["image_base64"], validate=True), "JPEG")
    except (ValueError, NotAPicture):
        raise _refusal(400, "image_base64 is not a base64 encoded image") from None


def _meant(product: SandboxProduct, wanted: dict[str, Any]) -> bool:
    words = wanted.get("product_name", "").lower().split()
    name = product.name.lower()
    return wanted.get("region") in (None, product.region) and all(word in name for word in words)


def _product(product: SandboxProduct, distance: float) -> dict[str, Any]:
    """The score grows with likeness; it has no upper end that the page would tell."""
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
