"""What a view may answer besides 400, 401, 403 and 404: one class a status, as the contract lists them.

`config.problems` gives them their form. They live at the bottom so that every app can raise them.
"""

from __future__ import annotations

from collections.abc import Mapping

from rest_framework.exceptions import APIException


class PaymentRequired(APIException):
    status_code = 402


class Conflict(APIException):
    status_code = 409


class ServiceUnavailable(APIException):
    """Not now. `wait`: seconds after which to ask again."""

    status_code = 503
    default_code = "not_ready"
    wait = 5


class TooManyRequests(APIException):
    """More than the caller may ask for. `wait`: seconds after which to ask again. `fields`: header fields that say the rate."""

    status_code = 429
    default_code = "rate_limited"

    def __init__(
        self, detail: str, *, wait: int, code: str | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail, code)
        self.wait = wait
        self.fields = fields or {}


class PayloadTooLarge(APIException):
    status_code = 413
    default_code = "too_large"
