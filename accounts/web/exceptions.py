"""The errors that views answer besides 400, 401, 403 and 404: one class for each status of the API's contract.

They are here, below all apps, so that every app can raise them. `config.problems` gives them their form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import APIException


class PaymentRequired(APIException):
    """A search may not be paid for. `limit`: the members of the limit that has no room, if one has none."""

    status_code = 402

    def __init__(self, detail: str, *, code: str, limit: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail, code)
        self.members = {} if limit is None else {"limit": limit}


class Conflict(APIException):
    status_code = 409


class UnprocessableContent(APIException):
    status_code = 422


class ServiceUnavailable(APIException):
    """Something that the request needs does not answer. `wait`: seconds after which to ask again."""

    status_code = 503
    default_code = "not_ready"
    wait = 5


class TooManyRequests(APIException):
    """The caller asks too often. `wait`: seconds after which to ask again. `fields`: header fields with the rate."""

    status_code = 429
    default_code = "rate_limited"

    def __init__(
        self, detail: str, *, wait: int, code: str | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail, code)
        self.wait = wait
        self.fields = fields or {}


class CodedBody(APIException):
    """The body is compressed, or coded otherwise, which is not read."""

    status_code = 415
    default_code = "unsupported_media_type"
    default_detail = "Send the body as it is, without the header Content-Encoding."


class PayloadTooLarge(APIException):
    status_code = 413
    default_code = "too_large"
