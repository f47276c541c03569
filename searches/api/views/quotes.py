"""Quotes over HTTP: the body of a create, answered without doing anything."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Scope
from providers.contract import PictureLimits
from searches.api import schema
from searches.api.quote_serializers import of_quote
from searches.api.views.order_view import ORDER_CODES, OrderView
from searches.models import Image
from searches.orders import search_quotes
from searches.pictures import previews


@schema.QUOTE
class Quotes(OrderView):
    scopes = {"POST": Scope.SEARCHES_WRITE}
    error_codes = {"POST": ORDER_CODES}
    # A quote does nothing, so that a repeat is answered with what is true by then.
    heeds_idempotency_keys = False

    def post(self, request: Request) -> Response:
        return Response(of_quote(self.ordered(request, search_quotes.of), self.api_key.mode))

    def opened_content(self, content: bytes, fit: dict[str, PictureLimits], crop: str) -> AbstractContextManager[Any]:
        return previews.of_content(self.tenant, content, fit=fit, crop=crop)

    def opened_image(self, image: Image, fit: dict[str, PictureLimits], crop: str) -> AbstractContextManager[Any]:
        return previews.of_image(image, fit=fit, crop=crop)
