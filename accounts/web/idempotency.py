"""The header `Idempotency-Key` on POST (draft-ietf-httpapi-idempotency-key-header): a request that is sent again does nothing
again.

The first request claims the key, and is remembered if it did what it was sent for (2xx). A request that is refused or fails
leaves the key free, so that it may be sent again, as it was or mended. A repeat is answered from what the first one did,
without the view's handler.

Requests are compared as values: method, path, and the body as `TenantView.compared` returns it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from typing import Any, ClassVar, Protocol
from uuid import UUID

from django.db import DatabaseError, transaction
from rest_framework.exceptions import ErrorDetail, NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import idempotency_keys, vault
from accounts.idempotency_keys import Claim
from accounts.models import ApiKey, IdempotencyKey, Tenant
from accounts.web.exceptions import Conflict, UnprocessableContent
from accounts.web.strict_fields import Wrong

log = logging.getLogger(__name__)

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
MOST_CHARACTERS = 255
# Printable ASCII, or a string of RFC 8941, which is taken as its content.
PLAIN = re.compile(r"[\x20\x21\x23-\x7e][\x20-\x7e]{0,254}")
QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
FORM = f"Must be 1 to {MOST_CHARACTERS} printable ASCII characters, such as a UUID; in quotes or without."
IN_USE = (
    "The first request with this key is still being handled; send this one again after the seconds of `Retry-After`."
)
UNOPENABLE = (
    "What the first request with this key was answered can no longer be opened; read what it made, or send another key."
)
REUSED = "This key was used for another request in the last {:,} hours; send another request with another key."


class Repeatable(Protocol):
    """The part of a `TenantView` that this module uses."""

    claim: Claim | None
    in_one_transaction: ClassVar[bool]

    @property
    def tenant(self) -> Tenant: ...

    @property
    def api_key(self) -> ApiKey: ...

    def compared(self) -> Any: ...

    def made_by(self, response: Response) -> UUID | None: ...

    def replayed(self, done: IdempotencyKey) -> Response: ...


class IdempotencyKeyInUse(Conflict):
    default_code = "idempotency_key_in_use"
    # Nearly every request takes less. Where its process died, the key is free after the lease.
    wait = 1


def key_of(request: Request) -> str | None:
    """Returns the key; None if there is none, or none that can be read."""
    text = request.headers.get(HEADER, "").strip(" \t")
    if quoted := QUOTED.fullmatch(text):
        return re.sub(r'\\(["\\])', r"\1", quoted[1])
    return text if PLAIN.fullmatch(text) else None


def wrong_header(request: Request) -> Wrong:
    if request.method != "POST" or HEADER not in request.headers or key_of(request) is not None:
        return {}
    return {HEADER: [ErrorDetail(FORM, code="invalid")]}


def once(view: Repeatable, handler: Callable[..., Response], request: Request, *args: Any, **kwargs: Any) -> Response:
    """Returns the handler's response, or a replay of what it did before.

    Raises `IdempotencyKeyInUse` or `UnprocessableContent`.
    """
    key = key_of(request)
    fingerprint = key and _fingerprint(view, key, request)
    if not key or not fingerprint:
        # The handler names everything that is wrong.
        return handler(request, *args, **kwargs)
    try:
        claimed = idempotency_keys.claim(view.tenant, view.api_key.mode, key, fingerprint)
    except idempotency_keys.KeyInUse:
        raise IdempotencyKeyInUse(IN_USE) from None
    except idempotency_keys.KeyReused:
        hours = idempotency_keys.kept().total_seconds() // 3600
        raise UnprocessableContent(REUSED.format(int(hours)), code="idempotency_key_reused") from None
    if isinstance(claimed, IdempotencyKey):
        response = view.replayed(claimed)
        response[REPLAYED] = "true"
        return response
    view.claim = claimed
    return _first(view, claimed, lambda: handler(request, *args, **kwargs))


def _fingerprint(view: Repeatable, key: str, request: Request) -> str | None:
    """Returns the fingerprint; None for a request that the handler refuses. Keeps no reference to the body."""
    compared = view.compared()
    return None if compared is None else fingerprint_of(key, [request.method, request.path, compared])


def _first(view: Repeatable, claim: Claim, handle: Callable[[], Response]) -> Response:
    try:
        with transaction.atomic() if view.in_one_transaction else nullcontext():
            response = handle()
            if not claim.is_complete:
                remember(view, claim, response)
    except idempotency_keys.ClaimLost:
        raise IdempotencyKeyInUse(IN_USE) from None
    except BaseException:
        _release(claim)
        raise
    return response


def remember(view: Repeatable, claim: Claim, response: Response) -> None:
    """Completes the claim with the answer: with the id of what it shows, or with the whole of it."""
    if not 200 <= response.status_code < 300:
        idempotency_keys.release(claim)
    elif (made := view.made_by(response)) is not None:
        idempotency_keys.complete(claim, response.status_code, made=made)
    else:
        body = JSONRenderer().render(response.data).decode()
        answer = json.dumps({"body": body, "headers": dict(response.headers)})
        idempotency_keys.complete(claim, response.status_code, answer=answer)


def stored(done: IdempotencyKey) -> Response:
    """Returns the answer that the first request got. Raises `NotFound` if its sealing key was taken away."""
    try:
        answer = json.loads(idempotency_keys.answer_of(done))
    except vault.Unopenable:
        raise NotFound(UNOPENABLE) from None
    body = json.loads(answer["body"]) if answer["body"] else None
    return Response(body, status=done.status, headers=answer["headers"])


def _release(claim: Claim) -> None:
    try:
        idempotency_keys.release(claim)
    except DatabaseError as error:
        # The lease ends it.
        log.warning("an idempotency key is in use until its lease is over: %s", type(error).__name__)


def fingerprint_of(key: str, request: Any) -> str:
    """Returns a digest of the request. A body may hold a secret; under the key, which is not kept, none can be guessed."""
    text = json.dumps(canonical(request), sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def canonical(value: Any) -> Any:
    """Returns one form for all spellings of a value: 1, 1.0 and 1e0 are one number, and the order of names does not count."""
    if isinstance(value, dict):
        return {str(name): canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value if value is None or isinstance(value, str | int) else str(value)
