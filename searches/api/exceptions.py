"""Turns what the domain raises into the statuses and codes of the API's contract.

Domain modules know no HTTP. Each exception of theirs that a request can cause has its one entry here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from django.db import IntegrityError
from django.http import Http404
from rest_framework.exceptions import ErrorDetail, ValidationError

from accounts.net.failures import AnswerTooLarge, OutboundFailure
from accounts.web.exceptions import Conflict, PayloadTooLarge, PaymentRequired, ServiceUnavailable, TooManyRequests
from accounts.web.strict_fields import Wrong
from billing.caps import LimitReached
from billing.price_defaults import PriceMissing
from billing.serializers import LimitSerializer
from searches import pictures
from searches.lanes import backlog
from searches.lifecycle import stored_searches
from searches.orders import retries
from searches.orders.order import BadOffset, CredentialMissing, Rejected, UnknownCredential, WrongOrder

UNPAYABLE = (PriceMissing, LimitReached)
LIMIT = LimitSerializer()
PRICE_MISSING = "{} has no price, so it cannot be searched; ask the operator of this Sightline to set one."
CREDENTIAL_DELETED = "The credential was deleted while this request was handled; store another, or name one."
IMAGE_DELETED = "The picture was deleted while this request was handled; send the request again."
NOTHING_FAILED = (
    "No lookup of this search has failed, so there is nothing to retry; create a new search to ask canceled or expired ones "
    "again."
)
PICTURE_ERASED = (
    "The picture of this search was erased when its retention was over; create a new search with the picture."
)
# The field of a lookup that each rejection is about, and its code.
REJECTIONS: Mapping[type[Rejected], tuple[str, str]] = {
    UnknownCredential: ("credential", "does_not_exist"),
    BadOffset: ("offset", "bad_offset"),
}


def field_error(detail: str, code: str) -> list[ErrorDetail]:
    """Returns one error in the form in which DRF keeps those of a field."""
    return [ErrorDetail(detail, code=code)]


@contextmanager
def translate_domain_errors() -> Iterator[None]:
    """Translates every exception that storing a picture or submitting an order can raise."""
    try:
        with translate_picture_errors(), translate_credit_errors():
            yield
    except pictures.TooManyImages as error:
        raise Conflict(str(error), code="too_many_images") from None
    except stored_searches.TooManySearches as error:
        raise Conflict(str(error), code="too_many_searches") from None
    except backlog.TooManyWaitingLookups as error:
        raise TooManyRequests(str(error), code="too_many_waiting_lookups", wait=backlog.WAIT_SECONDS) from None
    except CredentialMissing as error:
        raise Conflict(f"lookups[{error.index}]: {error.detail}", code="credential_missing") from None
    except pictures.Deleted:
        raise Conflict(IMAGE_DELETED, code="image_deleted") from None
    except IntegrityError as error:
        constraint = violated_constraint(error)
        if "_credential_id_" in constraint:
            raise Conflict(CREDENTIAL_DELETED, code="credential_missing") from None
        if "_image_id_" in constraint:
            raise Conflict(IMAGE_DELETED, code="image_deleted") from None
        raise


@contextmanager
def translate_retry_errors() -> Iterator[None]:
    """Translates every exception that retrying a search can raise. A retry has no body whose fields could be wrong."""
    try:
        with translate_domain_errors():
            yield
    except retries.Erased:
        raise Http404 from None
    except retries.NothingFailed:
        raise Conflict(NOTHING_FAILED, code="nothing_to_retry") from None
    except retries.PictureErased:
        raise Conflict(PICTURE_ERASED, code="image_deleted") from None
    except WrongOrder as error:
        raise Conflict(f"{error} Create a new search instead.", code="retry_impossible") from None


@contextmanager
def translate_credit_errors() -> Iterator[None]:
    """Translates every reason for which a search may not be paid for."""
    try:
        yield
    except UNPAYABLE as error:
        raise payment_required(error) from None


def payment_required(error: PriceMissing | LimitReached) -> PaymentRequired:
    """Returns the 402 of a submit, which a quote of the same order repeats."""
    if isinstance(error, PriceMissing):
        return PaymentRequired(PRICE_MISSING.format(error.source), code="price_missing")
    return PaymentRequired(str(error), code=error.code, limit=LIMIT.to_representation(error.limit))


@contextmanager
def translate_picture_errors() -> Iterator[None]:
    """Translates every exception that reading or fetching a picture can raise."""
    try:
        yield
    except (pictures.TooLarge, AnswerTooLarge) as error:
        raise PayloadTooLarge(error.detail) from None
    except pictures.BadPicture as error:
        raise ValidationError({error.field: field_error(error.detail, error.code)}) from None
    except OutboundFailure as error:
        raise ValidationError({"image": {"url": field_error(error.detail, error.code)}}) from None
    except pictures.Busy as error:
        raise ServiceUnavailable(error.detail) from None


def lookup_errors(rejections: Sequence[Rejected], numbers: Sequence[int]) -> Wrong:
    """Returns the rejections as errors of fields. `numbers`: the index in the request of each lookup of the order."""
    errors: Wrong = {}
    for rejection in rejections:
        field, code = REJECTIONS[type(rejection)]
        errors.setdefault(numbers[rejection.index], {})[field] = field_error(rejection.detail, code)
    return {"lookups": errors} if errors else {}


def violated_constraint(error: IntegrityError) -> str:
    """Returns the name of the constraint that PostgreSQL reports; empty where it reports none."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or ""
