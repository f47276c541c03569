"""Searches KeyAPI for products of TikTok Shop that look like what a picture shows.

KeyAPI reports the outcome twice: by the HTTP status, and by `code` in the body, which may be a failure under a status of
success. The status decides first. The document gives one example of an answer and no schema, so only the identity of a
product is required. KeyAPI bills the request and not its results: a body whose code means success was billed, whatever the
rest of it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from accounts.web.strict_fields import StrictSerializer, StrictText
from providers.adapters import encoded_pictures
from providers.adapters.failure_kinds import FailureKind, FailureKinds
from providers.adapters.fields import Fields, has_objects, items
from providers.adapters.regions import NOT_ISO, REGIONS
from providers.adapters.replies import ParsedReply
from providers.contract import Access, Adapter, Answer, Hit, PictureLimits, PolicyDefaults, PriceDefaults, Question
from providers.failures import Failure, Refused

# "Maximum return 30 items", and no field that would ask for the next ones.
MOST_PRODUCTS = 30
# No limit of a picture is documented. 5 MB of base64 text is assumed, which keeps the file below 5 MB too.
ENCODED_BYTES = 5_000_000
# KeyAPI answers with ids only. The address follows TikTok Shop's public pages.
PRODUCT_PAGE = "https://www.tiktok.com/shop/pdp/{product_id}"

SUCCESS = 0
# A code that comes as a text.
CODE = re.compile(r"-?[0-9]{1,9}")
KINDS = FailureKinds("KeyAPI")
# KeyAPI's pages say never to retry a 403, and its published skills that it may mean "plan quota exceeded or feature
# restricted"; a dead key gets 401. If the message names what is used up (`USED_UP`), all lookups with the key wait. Otherwise
# one lookup fails, and the others that the key can serve continue.
NOT_PERMITTED = FailureKind(
    Refused,
    "not_permitted",
    "KeyAPI does not let this key search products by picture: see what its plan allows, or use another key.",
)
FORBIDDEN = 403
USED_UP = re.compile(r"(?<![a-z])(quota|credit|plan)s?(?![a-z])", re.IGNORECASE)
# Keys are HTTP statuses, and the body's `code`, which uses the same numbers.
BY_NUMBER: dict[int, FailureKind] = {
    400: KINDS.refused,
    401: KINDS.dead_key,
    402: KINDS.no_credits,
    FORBIDDEN: NOT_PERMITTED,
    429: KINDS.too_soon,
    500: KINDS.their_fault,
}


class RegionCode(RegexValidator):
    """Refuses a region's code with which KeyAPI would silently find nothing, and names the right one."""

    regex = rf"\A({'|'.join(sorted(REGIONS))})?\Z"
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


class ProductParameters(StrictSerializer):
    """The filters of products."""

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
    # The number behind its "qps limit exceeded" is not public. Two attempts, for its page says to retry a 500 once at most.
    # Its published clients wait 60 s after a 429, which names no time. An earlier call gets the next 429.
    policy = PolicyDefaults(
        calls=1, window_ms=1000, guard_ms=Decimal(3), page_size=MOST_PRODUCTS, attempts=2, throttled_seconds=60
    )
    price = PriceDefaults(per_call=Decimal(1))
    default_limit = MOST_PRODUCTS
    max_results = MOST_PRODUCTS
    lag = "Data are of the day before at best (T+1)."
    key_prefix = "sk_live_"
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

    def ask(self, question: Question, access: Access) -> Answer:
        reply = ParsedReply.to(_request(question, self.effective(question.parameters), access), access)
        number = _outcome(reply)
        if number != SUCCESS:
            raise _failure(number, reply)
        found = items(_products(reply), _identity)
        return reply.answer(found, (_hit(product_id, product) for product_id, product in found.known), last=True)


def _request(question: Question, wanted: Mapping[str, Any], access: Access) -> httpx.Request:
    """Returns the request, without empty fields, for the page says: "do not send empty optional parameters"."""
    return encoded_pictures.request(
        access,
        "/v1/tiktok/product/image-search/analytics",
        values={**wanted, "size": question.page_size},
        name="image_base64",
        picture=question.picture.content,
    )


def _outcome(reply: ParsedReply) -> float:
    """Returns the HTTP status, or the body's `code` if the status is a success. Products without a readable code are a
    success.
    """
    if not reply.has_success_status:
        return reply.status
    if not isinstance(reply.body, dict):
        raise _unreadable(reply, "it is not a JSON object")
    code = _code(reply.body)
    if code is not None:
        return code
    if has_objects(reply.body.get("data")):
        return SUCCESS
    raise _unreadable(reply, "code is not a number" if "code" in reply.body else "code is missing")


def _code(envelope: Mapping[str, Any]) -> float | None:
    code = envelope.get("code")
    if isinstance(code, str) and CODE.fullmatch(code):
        return int(code)
    number: float | None = Fields(envelope).number("code")
    return number


def _products(reply: ParsedReply) -> list[Any]:
    """Returns the listed products.

    The document shows `data: null` with errors only. Missing or null `data` beside the message "success" is taken for an empty
    list; without that message its meaning is unknown.
    """
    products = reply.envelope.get("data")
    if products is None and reply.envelope.get("message") == "success":
        return []
    if not isinstance(products, list):
        raise _unreadable(reply, "data is not a list" if "data" in reply.envelope else "data is missing")
    return products


def _failure(number: float, reply: ParsedReply) -> Failure:
    message = f"{reply.envelope.get('code', '')} {reply.envelope.get('message', '')}".strip()
    kind = _kind(int(number), is_status=not reply.has_success_status)
    if kind is NOT_PERMITTED and USED_UP.search(message):
        kind = KINDS.no_credits
    return reply.failure(kind, message=message)


def _kind(number: int, *, is_status: bool) -> FailureKind:
    """Returns the kind of a failure. An unknown code means a refusal, for nothing says that asking again would help."""
    if number in BY_NUMBER:
        return BY_NUMBER[number]
    return KINDS.by_status(number) if is_status or 400 <= number < 600 else KINDS.refused


def _unreadable(reply: ParsedReply, problem: str) -> Failure:
    """Returns the failure of an unreadable answer. It bills no results if its code says success, which bills the request
    itself. Without such a code the bill is unknown.
    """
    billed = 0 if _code(reply.envelope) == SUCCESS else None
    return reply.failure(KINDS.unreadable(problem), billed_results=billed)


def _identity(product: Fields) -> str | None:
    """Returns the product's id, which the document shows in two places."""
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
            # An address with the scheme tos://, which is data and never a link.
            "source_image": source.text("vector_source_image"),
        },
        raw=product.value,
    )
