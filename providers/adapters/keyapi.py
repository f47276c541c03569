"""KeyAPI: products of TikTok Shop that look like what a picture shows.

KeyAPI says how a request went twice: by its HTTP status, and by `code` in the body, which may be a failure where the status
is none. The status decides first. Its document gives one example of an answer and no schema: what identifies a product
must be there, the rest may be missing, and nothing may be of another type. A request is paid, not what it finds: its code
for success is enough to know that it was, whatever the rest looks like.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from providers.adapters import reading
from providers.adapters.failures import Kind, Kinds, failure
from providers.adapters.reading import Fields, Unreadable
from providers.adapters.regions import NOT_ISO, REGIONS
from providers.contract import (
    Adapter,
    Answer,
    Hit,
    KeyForm,
    PictureLimits,
    PolicyDefaults,
    PriceDefaults,
    Question,
    Secret,
)
from providers.failures import Failure, Refused
from providers.parameters import Parameters, StrictText

if TYPE_CHECKING:
    from providers.http import ProviderClient, Reply
    from providers.limiter import Token

# "Maximum return 30 items", and no field that would ask for the next ones.
MOST_PRODUCTS = 30
# No limit of a picture is documented. 5 MB is assumed, of the base64 text, which the file is then within as well.
ENCODED_BYTES = 5_000_000
# Inferred from TikTok Shop's public pages: KeyAPI answers with ids only.
PRODUCT_PAGE = "https://www.tiktok.com/shop/pdp/{product_id}"

SUCCESS = 0
# The number, should it ever come in quotes.
CODE = re.compile(r"-?[0-9]{1,9}")
KINDS = Kinds("KeyAPI")
# Its pages say never to retry a 403. Its published skills say that one may mean "plan quota exceeded or feature restricted", and
# a key that is dead has its 401. Where the message names what is used up, no lookup with the key helps until there is more of it;
# else it fails one lookup, and does not stop all others that the key would still serve.
NOT_PERMITTED: Kind = (
    Refused,
    "not_permitted",
    "KeyAPI does not let this key search products by picture: see what its plan allows, or use another key.",
)
FORBIDDEN = 403
USED_UP = re.compile(r"(?<![a-z])(quota|credit|plan)s?(?![a-z])", re.IGNORECASE)
# By the HTTP status; where that is a success, by the body's `code`, which counts in the same numbers.
BY_NUMBER: dict[int, Kind] = {
    400: KINDS.refused,
    401: KINDS.dead_key,
    402: KINDS.no_credits,
    FORBIDDEN: NOT_PERMITTED,
    429: KINDS.too_soon,
    500: KINDS.their_fault,
}


class RegionCode(RegexValidator):
    """Says of a code that would silently find nothing which one is meant."""

    regex = r"\A([A-Z]{2})?\Z"
    message = "Must be an ISO 3166 region code of two capital letters, such as US."

    def __call__(self, value: Any) -> None:
        code = str(value).upper()
        meant = NOT_ISO.get(code, code)
        if not value or (value == meant and code in REGIONS):
            return
        if meant not in REGIONS:
            raise ValidationError(self.message, code="invalid")
        raise ValidationError(
            f"Must be {meant}: an ISO 3166 region code of two capital letters, such as US.", code="invalid"
        )


class ProductParameters(Parameters):
    product_name = StrictText(
        required=False,
        allow_blank=True,
        max_length=255,
        help_text="Words of the product's name. Empty is the same as left out.",
    )
    region = StrictText(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        validators=[RegionCode()],
        help_text="Only products of this region: its ISO 3166 code of two capital letters, such as US or GB (never UK). Empty is "
        "the same as left out.",
    )


class TikTokProducts(Adapter):
    provider = "keyapi"
    source = "tiktok-products"
    result_type = "product"
    title = "Products of TikTok Shop that look like what the picture shows"
    base_url = "https://api.keyapi.ai"
    sandbox_path = "/keyapi"
    parameters = ProductParameters
    picture_limits = PictureLimits(formats=("JPEG",), max_bytes=ENCODED_BYTES // 4 * 3)
    # The number behind its "qps limit exceeded" is not public. Two attempts: a 500 is to be tried again once at most.
    # Its own published clients wait 60 s after a 429, which names no time: one that asks sooner earns the next.
    policy = PolicyDefaults(
        calls=1, window_ms=1000, guard_ms=Decimal(3), page_size=MOST_PRODUCTS, attempts=2, throttled_seconds=60
    )
    price = PriceDefaults(per_call=Decimal(1))
    default_limit = MOST_PRODUCTS
    max_results = MOST_PRODUCTS
    lag = "Data are of the day before at best (T+1)."
    key_form = KeyForm(begins="sk_live_")
    caveats = (
        "KeyAPI searches yesterday's data at best (T+1): an empty answer does not prove that there is no such product.",
        "A search finds 30 products at most, and there is no asking for more.",
        "score is KeyAPI's own relevance: it has no upper end, and compares within one answer only.",
        "url is made from product_id after TikTok Shop's public pages; KeyAPI does not say where a product is sold.",
        "source_image is an address inside KeyAPI's storage, which no browser opens; image_url is always null.",
        "Its rate limit is not public; 1 call a second is assumed.",
    )

    def effective(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value.strip() for name, value in parameters.items() if value.strip()}

    def ask(self, question: Question, *, secret: Secret, base_url: str, client: ProviderClient, token: Token) -> Answer:
        wanted = self.effective(question.parameters)
        reply = client.send(_request(question, wanted, secret, base_url), token=token)
        body = reading.parse(reply.content, reply.headers.get("Content-Type", ""))
        envelope = body if isinstance(body, dict) else {}
        request_id = reading.request_id(envelope.get("requestId"), secret.value)
        try:
            number = _outcome(reply, body)
            if number != SUCCESS:
                raise _failure(number, reply, envelope, secret, request_id)
            products = _products(envelope)
        except Unreadable as problem:
            kind, billed = KINDS.unreadable(str(problem)), _billed(envelope)
            raise failure(kind, reply, secret, billed_results=billed, request_id=request_id) from None
        found = reading.items(products, _identity)
        return Answer(
            hits=tuple(_hit(product_id, product) for product_id, product in found.known),
            billed_results=len(products),
            last=True,
            status=reply.status,
            request_id=request_id,
            unreadable=len(found.others),
            excerpt=found.excerpt(secret.value),
        )


def _request(question: Question, wanted: Mapping[str, Any], secret: Secret, base_url: str) -> httpx.Request:
    """Without the optional fields that are empty: "do not send empty optional parameters"."""
    body = {"image_base64": b64encode(question.picture.content).decode(), **wanted, "size": question.page_size}
    return httpx.Request(
        "POST",
        f"{base_url.rstrip('/')}/v1/tiktok/product/image-search/analytics",
        headers={"Authorization": f"Bearer {secret.value}", "Content-Type": "application/json"},
        content=json.dumps(body).encode(),
    )


def _outcome(reply: Reply, body: Any) -> float:
    """The number that says how it went: the HTTP status, or, where that is a success, the body's `code`. Where that is none,
    products that came say that it was a success.
    """
    if not _is_success(reply):
        return reply.status
    if not isinstance(body, dict):
        raise Unreadable("it is not a JSON object")
    code = _code(body)
    if code is not None:
        return code
    if reading.brought_something(body.get("data")):
        return SUCCESS
    raise Unreadable("code is not a number" if "code" in body else "code is missing")


def _code(envelope: Mapping[str, Any]) -> float | None:
    code = envelope.get("code")
    if isinstance(code, str) and CODE.fullmatch(code):
        return int(code)
    number: float | None = Fields(envelope).number("code")
    return number


def _products(envelope: Mapping[str, Any]) -> list[Any]:
    """Its document shows `data: null` with errors alone. With a success, in word as well as number, it is taken for nothing
    found, and so is no `data` at all; without that word it is not known what was meant.
    """
    products = envelope.get("data")
    if products is None and envelope.get("message") == "success":
        return []
    if not isinstance(products, list):
        raise Unreadable("data is not a list" if "data" in envelope else "data is missing")
    return products


def _failure(number: float, reply: Reply, envelope: Mapping[str, Any], secret: Secret, request_id: str) -> Failure:
    said = f"{envelope.get('code', '')} {envelope.get('message', '')}".strip()
    kind = _kind(int(number), is_status=not _is_success(reply))
    if kind is NOT_PERMITTED and USED_UP.search(said):
        kind = KINDS.no_credits
    return failure(kind, reply, secret, said=said, request_id=request_id)


def _kind(number: int, *, is_status: bool) -> Kind:
    """A code that is unheard of says that it failed, and not that asking again would help."""
    if number in BY_NUMBER:
        return BY_NUMBER[number]
    return KINDS.by_status(number) if is_status or 400 <= number < 600 else KINDS.refused


def _is_success(reply: Reply) -> bool:
    return 200 <= reply.status < 300


def _billed(envelope: Mapping[str, Any]) -> int | None:
    """What they took for a success they bill; where they didn't say whether it was one, nobody knows."""
    return 0 if _code(envelope) == SUCCESS else None


def _identity(product: Fields) -> str | None:
    """The document shows the same number in two places."""
    return product.object("_source").identity("product_id") or product.identity("_id")


def _hit(product_id: str, product: Fields) -> Hit:
    source = product.object("_source")
    name = source.text("product_name")
    return Hit(
        type="product",
        external_id=product_id,
        title=name or product_id,
        url=PRODUCT_PAGE.format(product_id=quote(product_id, safe="")),
        score=product.score("_score"),
        detail={
            "product_id": product_id,
            "name": name,
            "region": source.text("priority_region"),
            # A tos:// address: data, never a link.
            "source_image": source.text("vector_source_image"),
        },
        raw=product.value,
    )
