"""The base of the views that take the order of a search: its submit, and its quote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from rest_framework.request import Request

from accounts.models import ApiKey
from accounts.web.strict_fields import merged
from searches.api import request_serializers
from searches.api.exceptions import lookup_errors, translate_domain_errors
from searches.api.request_serializers import ParsedOrder
from searches.api.views.picture_view import NoPicture, PictureView, not_fetched
from searches.orders import planning, submission
from searches.orders.order import CredentialMissing, Order, WrongOrder

T = TypeVar("T")

# The codes of the problems that an order can have, beside those about credits.
ORDER_CODES = (
    "credential_missing",
    "image_deleted",
    "too_many_images",
    "too_many_searches",
    "too_many_waiting_lookups",
)


class OrderView(PictureView):
    """Reads the order of a search and its picture from the body of a request."""

    _parsed: ParsedOrder | None = None

    def compared(self) -> Any:
        """Returns the order with its defaults, and the picture by its bytes, its URL or its id."""
        self._parsed = parsed = request_serializers.parsed_order(self.request.data)
        return None if self.is_wrong(parsed.wrong) else request_serializers.compared(parsed)

    def forget_body(self) -> None:
        self._parsed = None
        super().forget_body()

    def ordered(self, request: Request, act: Callable[[ApiKey, Order, Any], T]) -> T:
        """Returns what `act` makes of the order in the body. The value returned must hold no reference to the body."""
        parsed, self._parsed = self._parsed or request_serializers.parsed_order(request.data), None
        order = parsed.order
        fit = planning.picture_limits(lookup.source for lookup in order.lookups)
        is_wrong = self.is_wrong(parsed.wrong)
        given = not_fetched(parsed.picture) if is_wrong else parsed.picture
        with translate_domain_errors(), self.picture(given, fit=fit, crop=order.crop) as picture:
            if is_wrong or isinstance(picture, NoPicture):
                rejections = submission.rejections(self.api_key, order.lookups)
                raise self.invalid_with(picture, merged(parsed.wrong, lookup_errors(rejections, parsed.numbers)))
            try:
                return act(self.api_key, order, picture)
            except CredentialMissing:
                # A bad picture is named first: it is wrong in the request itself.
                picture.wait()
                raise
            except WrongOrder as error:
                raise self.invalid_with(picture, lookup_errors(error.rejections, parsed.numbers)) from None
