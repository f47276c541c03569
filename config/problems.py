"""Answers everything that goes wrong in one form: RFC 9457 problem details, with each wrong field by its path.

Outside /v1 a browser gets a page with the same sentence. The answer is a plain Django response, because the renderer that the
caller asked for may be one for tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.template.loader import render_to_string
from django.utils.log import log_response
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.settings import api_settings
from rest_framework.status import is_server_error
from rest_framework.views import APIView, set_rollback

from accounts.web.exceptions import PayloadTooLarge, ServiceUnavailable
from accounts.web.strict_fields import MOST_ERRORS
from config.error_words import in_our_words
from config.problem_codes import PROBLEMS

MEDIA_TYPE = "application/problem+json"
# The name under which a request's `META` has its id.
REQUEST_ID = "sightline.request_id"
# The most characters of a name or a text that are repeated: a name can be as long as a body.
MOST_CHARACTERS = 300

# A page of a problem loads our stylesheet, and nothing else.
PAGE_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

NOT_FOUND = "Nothing of yours is here under this id; it may have been deleted, or never have been."
NO_SUCH_PAGE = "There is no such page; it may have been moved or deleted."
UNREADABLE = "The request cannot be read; mend its headers."
FORBIDDEN = "Your account may not see or do this; ask the person who manages the operators' accounts."
FORGED = "The form did not come from a page of this site, or the page is too old; load it again and send the form from there."
NO_SUCH_PATH = (
    "There is no such path; /v1/openapi.json lists all. A path ends without a slash, and an id in it is a UUID."
)
UNAVAILABLE = "The database cannot be reached right now; send the request again in a moment."
INTERNAL = "Something went wrong on our side, and it was noted; name the request_id when you ask about it."


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Answers any exception of a view with a problem, and reports the unexpected ones."""
    request, view, error = context["request"], context["view"], _as_api_exception(exc)
    set_rollback()
    response = answer(request.META, described(error, view), headers=_headers(error))
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


def answered(meta: Mapping[str, Any], error: exceptions.APIException) -> HttpResponse:
    """Returns the response to an error of a request that reaches no view."""
    body = problem(str(error.get_codes()), str(error.detail), status=error.status_code)
    return answer(meta, body, headers=_headers(error))


def described(exc: exceptions.APIException, view: APIView) -> dict[str, Any]:
    if isinstance(exc, exceptions.ValidationError):
        errors = list(islice(wrong_fields(exc.detail), MOST_ERRORS))
        return problem("invalid_request", in_one_sentence(errors), errors=errors)
    code = "malformed_body" if isinstance(exc, exceptions.ParseError) else exc.get_codes()
    if code == "error" or not isinstance(code, str):
        code = "internal_error"
    return problem(code, hint(exc, view) or str(exc.detail), status=exc.status_code, **getattr(exc, "members", {}))


def problem(code: str, detail: str, *, status: int | None = None, **more: Any) -> dict[str, Any]:
    """Returns the body of a problem; its `type` is the address of the page that explains the code."""
    known = PROBLEMS.get(code)
    status = status or (known.status if known else 500)
    return {
        "type": f"{settings.PUBLIC_URL}/docs/errors#{code}",
        "title": known.title if known else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }


def answer(meta: Mapping[str, Any], body: dict[str, Any], *, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Returns the problem as the response to the request with that `META`."""
    body = body | {"request_id": meta.get(REQUEST_ID, "")}
    if wants_page(meta):
        page = render_to_string("problem.html", body | {"start": start_of(meta["PATH_INFO"])})
        policy = {"Content-Security-Policy": PAGE_POLICY}
        return HttpResponse(page, status=body["status"], headers={**policy, **(headers or {})})
    return JsonResponse(body, status=body["status"], content_type=MEDIA_TYPE, headers=headers)


def wants_page(meta: Mapping[str, Any]) -> bool:
    """Returns whether a person reads the answer: outside /v1, where the request would rather have HTML than JSON."""
    request = HttpRequest()
    request.META = dict(meta)
    forms = ["application/json", MEDIA_TYPE, "text/html"]
    return not is_below_v1(meta.get("PATH_INFO", "")) and request.get_preferred_type(forms) == "text/html"


def start_of(path: str) -> str:
    return "/admin/" if f"{path}/".startswith("/admin/") else "/docs"


def hint(exc: exceptions.APIException, view: APIView) -> str | None:
    """Returns what to do about the errors that DRF words itself."""
    if isinstance(exc, exceptions.MethodNotAllowed):
        return f"This path takes {listed(view.allowed_methods)}, and not {printable(str(view.request.method))}."
    if isinstance(exc, exceptions.NotAcceptable):
        forms = " or ".join(renderer.media_type for renderer in exc.available_renderers or [])
        return f"The Accept header asks for a form that is not offered here; ask for {forms}."
    if isinstance(exc, exceptions.UnsupportedMediaType):
        return unread(str(view.request.content_type or ""), [parser.media_type for parser in view.parser_classes])
    if isinstance(exc, exceptions.NotAuthenticated):
        return "Send an API key: `Authorization: Bearer sl_live_…` or `sl_test_…`."
    return None


def unread(sent: str, taken: Sequence[str | None]) -> str:
    """Returns why a body is not read. `sent`: its type; `taken`: the types that the route reads."""
    forms = " or ".join(filter(None, taken))
    if not sent:
        return f"The body has no Content-Type; send {forms}, and say so in that header."
    return f"This route does not read {printable(sent.partition(';')[0])}; send {forms}."


def listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def wrong_fields(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """Yields DRF's nested errors one by one, each with the path of its field: `lookups[0].parameters.age.min`."""
    if isinstance(detail, exceptions.ErrorDetail):
        yield {
            "field": printable(path) or "body",
            "code": detail.code or "invalid",
            "detail": printable(in_our_words(str(detail))),
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
    """Answers what Django itself refuses: a host that is not ours, or a form that it cannot read."""
    detail = UNREADABLE
    if isinstance(exception, BadRequest):
        detail = str(exception)
    if isinstance(exception, DisallowedHost):
        detail = f"The header Host names no host of this server; send the request to {settings.PUBLIC_URL}."
    return answer(request.META, problem("invalid_request", detail))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request.META, problem("permission_denied", FORBIDDEN))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request.META, problem("not_found", NO_SUCH_PAGE))


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answers a form of the operators' pages that another site may have sent. Routes below /v1 take no cookies."""
    return answer(request.META, problem("permission_denied", FORGED))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answers any exception that no view handles, on every path. An unreachable database is a 503 there too."""
    if isinstance(sys.exception(), OperationalError | InterfaceError):
        wait = {"Retry-After": str(ServiceUnavailable.wait)}
        return answer(request.META, problem("not_ready", UNAVAILABLE), headers=wait)
    return answer(request.META, problem("internal_error", INTERNAL))


def is_below_v1(path: str) -> bool:
    return f"{path}/".startswith("/v1/")
