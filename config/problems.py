"""Answers everything that goes wrong under /v1 in one form: RFC 9457 problem details, with each wrong field by its path.

The answer is a plain Django response, because the renderer that the caller asked for may be one for tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.log import log_response
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.settings import api_settings
from rest_framework.status import is_server_error
from rest_framework.views import set_rollback

from accounts.web.exceptions import PayloadTooLarge, ServiceUnavailable
from accounts.web.strict_fields import MOST_ERRORS

MEDIA_TYPE = "application/problem+json"
# The name under which a request's `META` has its id.
REQUEST_ID = "sightline.request_id"
# The most characters of a name or a text that are repeated: a name can be as long as a body.
MOST_CHARACTERS = 300

# Every `code` that an answer can carry: its status and its title.
PROBLEMS: Mapping[str, tuple[int, str]] = {
    "invalid_request": (400, "The request is wrong"),
    "malformed_body": (400, "The body cannot be read"),
    "not_authenticated": (401, "No API key"),
    "authentication_failed": (401, "No valid API key"),
    "api_key_expired": (401, "The API key has expired"),
    "api_key_revoked": (401, "The API key was revoked"),
    "api_key_rotated": (401, "The secret was replaced"),
    "insufficient_credits": (402, "Not enough credits"),
    "tenant_cap_reached": (402, "The tenant's cap of the month is reached"),
    "key_cap_reached": (402, "The API key's cap of the month is reached"),
    "max_credits_too_low": (402, "The search can cost more than its max_credits"),
    "price_missing": (402, "The source has no price"),
    "permission_denied": (403, "Not allowed"),
    "scope_missing": (403, "The API key lacks a scope"),
    "address_not_allowed": (403, "The API key is not taken from here"),
    "tenant_suspended": (403, "The tenant is suspended"),
    "not_found": (404, "Not found"),
    "results_erased": (404, "The results are no longer kept"),
    "method_not_allowed": (405, "This path does not take this method"),
    "not_acceptable": (406, "No such form"),
    "credential_missing": (409, "No credential for the provider"),
    "too_many_credentials": (409, "As many provider keys as there may be"),
    "credential_unusable": (409, "The credential does not work"),
    "nothing_to_compare": (409, "The provider's count cannot be compared"),
    "image_in_use": (409, "A search needs the picture"),
    "too_many_images": (409, "As many pictures as there may be"),
    "too_many_searches": (409, "As many searches as there may be"),
    "image_deleted": (409, "The picture is gone"),
    "too_many_endpoints": (409, "As many webhook endpoints as there may be"),
    "endpoint_disabled": (409, "The webhook endpoint is disabled"),
    "too_many_attempts": (409, "Tried as often as one delivery may be"),
    "too_large": (413, "Too large"),
    "unsupported_media_type": (415, "Not a content type that is taken"),
    "rate_limited": (429, "Asked too often"),
    "too_many_waiting_lookups": (429, "As many lookups wait as there may be"),
    "internal_error": (500, "Our mistake"),
    "not_ready": (503, "Not ready"),
    "provider_unavailable": (503, "The provider cannot be asked now"),
}
# What a status means, and what to do about it; `detail` says it for the case.
MEANINGS: Mapping[int, str] = {
    400: "The body, a header or a parameter is wrong. Mend what `errors` names, then send the request again.",
    401: "Send a valid API key in the header `Authorization`.",
    402: "The search would cost more than may be spent, or has no price. Ask for less, or have credits granted, a cap raised or "
    "a price set.",
    403: "The key or its tenant may not do this. Use another key, or ask the operators.",
    404: "Nothing is there, or it belongs to another tenant. Check the path and the id.",
    405: "The header `Allow` names the methods that the path takes.",
    406: "Ask for one of the forms that `detail` names, in the header `Accept`.",
    409: "The request is right, but what is stored does not allow it. Change that first, as `detail` says.",
    413: "Send less: JSON has at most 64 KB and a picture at most 20 MB.",
    415: "Send application/json, or a picture as a file in multipart/form-data.",
    429: "Too much was asked for. Send the request again after the seconds that `Retry-After` names.",
    500: "Nothing is wrong with the request. Name the `request_id` when you ask about it.",
    503: "Nothing is wrong with the request. Send it again after the seconds that `Retry-After` names.",
}
NOT_FOUND = "Nothing of yours is here under this id; it may have been deleted, or never have been."
NO_SUCH_PATH = "There is no such path; /v1/openapi.json lists those that there are."
UNAVAILABLE = "The database cannot be reached right now; send the request again in a moment."
INTERNAL = "Something went wrong on our side, and it was noted; name the request_id when you ask about it."


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Answers any exception of a view with a problem, and reports the unexpected ones."""
    request, error = context["request"], _as_api_exception(exc)
    set_rollback()
    response = answer(request.META, described(error), headers=_headers(error))
    if is_server_error(error.status_code) and not isinstance(exc, ServiceUnavailable):
        signals.got_request_exception.send(sender=None, request=request._request)
        log_response("%s: %s", error.detail, request.path, response=response, request=request._request, exception=exc)
    return response


def _as_api_exception(exc: Exception) -> exceptions.APIException:
    """Returns an exception of Django or of a database as one of DRF, which has a status and a text for the caller."""
    if isinstance(exc, exceptions.APIException):
        return exc
    if isinstance(exc, Http404):
        return exceptions.NotFound(NOT_FOUND)
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(exc, OperationalError | InterfaceError):
        return ServiceUnavailable(UNAVAILABLE)
    if isinstance(exc, RequestDataTooBig):
        return PayloadTooLarge(f"Send a form with at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes of text.")
    if isinstance(exc, TooManyFieldsSent):
        # Raised for the query. The parser of forms counts their fields itself.
        most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        detail = f"Has more than {most} parameters; give those alone that are known."
        return exceptions.ValidationError({"query": [exceptions.ErrorDetail(detail, code="too_many")]})
    if isinstance(exc, SuspiciousOperation | UnreadablePostError):
        return exceptions.ParseError("The body cannot be read; send it whole, and as its type says.")
    return exceptions.APIException(INTERNAL)


def _headers(exc: exceptions.APIException) -> dict[str, str]:
    """Returns the header fields that an exception asks for: those of the rate, `WWW-Authenticate` and `Retry-After`."""
    headers: dict[str, str] = dict(getattr(exc, "fields", {}))
    if scheme := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = scheme
    if wait := getattr(exc, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers


def described(exc: exceptions.APIException) -> dict[str, Any]:
    if isinstance(exc, exceptions.ValidationError):
        errors = list(islice(wrong_fields(exc.detail), MOST_ERRORS))
        return problem("invalid_request", in_one_sentence(errors), errors=errors)
    code = "malformed_body" if isinstance(exc, exceptions.ParseError) else exc.get_codes()
    if code == "error" or not isinstance(code, str):
        code = "internal_error"
    return problem(code, hint(exc) or str(exc.detail), status=exc.status_code, **getattr(exc, "members", {}))


def problem(code: str, detail: str, *, status: int | None = None, **more: Any) -> dict[str, Any]:
    """Returns the body of a problem; its `type` is the address of the page that explains the code."""
    usual, title = PROBLEMS.get(code, (500, ""))
    status = status or usual
    return {
        "type": f"{settings.PUBLIC_URL}/docs/problems#{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }


def answer(meta: Mapping[str, Any], body: dict[str, Any], *, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Returns the problem as the response to the request with that `META`."""
    body = body | {"request_id": meta.get(REQUEST_ID, "")}
    return JsonResponse(body, status=body["status"], content_type=MEDIA_TYPE, headers=headers)


def hint(exc: exceptions.APIException) -> str | None:
    """Returns what to do about the errors that DRF words itself."""
    if isinstance(exc, exceptions.NotAcceptable):
        forms = ", ".join(renderer.media_type for renderer in exc.available_renderers or [])
        return f"The Accept header asks for a form that is not offered here; ask for {forms}."
    if isinstance(exc, exceptions.UnsupportedMediaType):
        return f"{exc.detail} Send application/json; a picture can also come as a file, in multipart/form-data."
    if isinstance(exc, exceptions.NotAuthenticated):
        return "Send an API key: `Authorization: Bearer sl_live_…` or `sl_test_…`."
    return None


def wrong_fields(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """Yields DRF's nested errors one by one, each with the path of its field: `lookups[0].parameters.age.min`."""
    if isinstance(detail, exceptions.ErrorDetail):
        yield {
            "field": printable(path) or "body",
            "code": detail.code or "invalid",
            "detail": printable(str(detail)),
        }
    elif isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from wrong_fields(inner, joined(path, name))
    else:
        for index, inner in enumerate(detail):
            is_item = not isinstance(inner, exceptions.ErrorDetail)
            yield from wrong_fields(inner, joined(path, index) if is_item else path)


def printable(text: str) -> str:
    """Cuts the text, and escapes half a surrogate pair: JSON may contain one, and few readers accept it."""
    return text[:MOST_CHARACTERS].encode(errors="backslashreplace").decode()


def joined(path: str, name: Any) -> str:
    if name == api_settings.NON_FIELD_ERRORS_KEY:
        return path
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else str(name)


def in_one_sentence(errors: list[dict[str, str]]) -> str:
    if len(errors) == 1:
        return f"{errors[0]['field']}: {errors[0]['detail']}"
    names = ", ".join(dict.fromkeys(error["field"] for error in errors))
    return f"These are wrong: {names}. `errors` says what to mend in each."


@csrf_exempt
def no_such_path(request: HttpRequest, path: str = "") -> HttpResponse:
    """Answers every path under /v1 that has no view, for all methods."""
    return answer(request.META, problem("not_found", NO_SUCH_PATH))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not of_the_api(request):
        return defaults.bad_request(request, exception)
    return answer(request.META, problem("invalid_request", "The request cannot be read; mend its headers."))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answers any exception that no view handles, on every path. An unreachable database is a 503 there too."""
    away = isinstance(sys.exception(), OperationalError | InterfaceError)
    wait = {"Retry-After": str(ServiceUnavailable.wait)} if away else {}
    if of_the_api(request):
        return answer(
            request.META, problem(*("not_ready", UNAVAILABLE) if away else ("internal_error", INTERNAL)), headers=wait
        )
    if away:
        return HttpResponse(f"<h1>Not ready</h1><p>{UNAVAILABLE}</p>", status=503, headers=wait)
    return defaults.server_error(request)


def of_the_api(request: HttpRequest) -> bool:
    return f"{request.path}/".startswith("/v1/")
