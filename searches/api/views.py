"""The product over HTTP: searches, their results and calls, pictures, sources.

A key sees the searches of its own mode only, so that a test key in many hands reads nothing live. Pictures have no mode:
they are the tenant's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, ProtectedError, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils.http import parse_etags
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts.models import Tenant
from accounts.net import outbound
from accounts.web.exceptions import Conflict, PayloadTooLarge, PaymentRequired, ServiceUnavailable, TooManyRequests
from accounts.web.pagination import CursorPages, PageQuery
from accounts.web.renderers import CSVRenderer, NDJSONRenderer, columns_of
from accounts.web.strict_fields import Nothing, Wrong, merged
from accounts.web.tenant_view import TenantView
from billing import ledger, prices
from billing.serializers import credits_text
from providers import registry
from providers.contract import PictureLimits
from searches import pictures, representations
from searches.api import long_poll, request_serializers, schema, source_catalog
from searches.api.parsers import Form, PictureForm, StrictJSON
from searches.api.request_serializers import GivenPicture, ImageQuery, ResultQuery, SearchQuery, wrong
from searches.lanes import backlog
from searches.models import Call, Image, Lookup, Result, Search, Status
from searches.orders import recall, submission

OPEN = (Status.QUEUED, Status.RUNNING)


class SearchView(TenantView):
    queryset = Search.objects.all()

    def get_queryset(self) -> QuerySet[Search]:
        return super().get_queryset().filter(mode=self.api_key.mode, erased_at=None)

    def shown(self, id: UUID, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """The search as it is now."""
        search = get_object_or_404(representations.with_lookups(self.get_queryset()), pk=id)
        return answered(representations.shown([search])[0], status=status, headers=headers or {})

    def wait(self, id: UUID, over: Callable[[str, int], bool]) -> dict[str, str]:
        """Waits as the caller prefers; returns the header that says so."""
        seconds = long_poll.asked(self.request)
        if seconds is None:
            return {}
        news = long_poll.until(lambda: over(*self.state(id)), id, tenant_id=self.tenant.pk, seconds=seconds)
        if not news:
            return {}
        return {"Preference-Applied": f"wait={seconds}"}

    def state(self, id: UUID) -> tuple[str, int]:
        """Its status and version. A search that is gone is a 404, also while somebody waits for it."""
        found = self.get_queryset().filter(pk=id).values_list("status", "version").first()
        if found is None:
            raise Http404
        return found


class PictureView(TenantView):
    """Takes a picture, as a file or in JSON. Whatever else is wrong, the picture is looked at too."""

    parser_classes = (StrictJSON, PictureForm)
    takes_pictures = True

    def opened(
        self, given: GivenPicture | None, fit: dict[str, PictureLimits], crop: str
    ) -> AbstractContextManager[Any]:
        if given is None:
            return nullcontext(NoPicture())
        if given.id is None:
            return pictures.received(self.tenant, content_of(given, self.tenant), fit=fit, crop=crop)
        image = Image.objects.for_tenant(self.tenant).filter(pk=given.id).first()
        if image is None:
            detail = "No picture of yours has this id; send the picture itself."
            raise ValidationError({"image": {"id": wrong(detail, "does_not_exist")}})
        return pictures.known(image, fit=fit, crop=crop)

    @contextmanager
    def picture(
        self, given: GivenPicture | None, *, fit: dict[str, PictureLimits] | None = None, crop: str = ""
    ) -> Iterator[Any]:
        """The picture, to be saved by who takes it. What is wrong with it is raised by its `wait`."""
        with ExitStack() as stack:
            try:
                picture = stack.enter_context(self.opened(given, fit or {}, crop))
            except UNUSABLE as error:
                picture = NoPicture(error)
            yield picture

    def refusal_with(self, picture: Any, wrong: Wrong) -> ValidationError:
        """Names what is wrong with the picture too. Raises what is no fault of the request, where nothing else is wrong."""
        try:
            with picture_refused():
                picture.wait()
        except ValidationError as error:
            wrong = merged(wrong, error.detail)
        except (PayloadTooLarge, ServiceUnavailable, pictures.Deleted) as error:
            if not self.is_wrong(wrong):
                raise
            if isinstance(error, PayloadTooLarge):
                wrong = merged(wrong, {"image": [ErrorDetail(str(error.detail), code="too_large")]})
        return self.invalid(wrong)

    def is_wrong(self, wrong: Wrong) -> bool:
        """Whether anything is: in the body, or in the form's parts, the query or the headers."""
        return bool(wrong or self.wrong or getattr(self.request.data, "wrong", None))

    def invalid(self, wrong: Wrong) -> ValidationError:
        data = self.request.data
        return super().invalid(data.with_parts(wrong) if isinstance(data, Form) else wrong)


def unfetched(given: GivenPicture | None) -> GivenPicture | None:
    """None for one that lies elsewhere: nothing is fetched for a request that is wrong anyway."""
    return None if given is None or given.url is not None else given


UNUSABLE = (pictures.BadPicture, pictures.Busy, outbound.OutboundFailure, ValidationError)


@dataclass(frozen=True)
class NoPicture:
    """Stands where a picture could not be opened, or none was given that can be read."""

    why: Exception | None = None

    def wait(self) -> None:
        if self.why is not None:
            raise self.why


@schema.SEARCHES
class Searches(PictureView, SearchView):
    pagination_class = CursorPages
    query_class = SearchQuery
    keys = ("-created_at", "-id")
    follows = False
    error_statuses = {"POST": (402, 409)}

    def post(self, request: Request) -> Response:
        new = self.submitted(request)
        self.forget_body()
        id = new.search.pk
        waited = self.wait(id, lambda status, _: status not in OPEN)
        headers = {"Location": reverse("search", kwargs={"id": id}), **waited}
        if waited or new.ended:
            return self.shown(id, status=202, headers=headers)
        return answered(representations.submitted(new.search, new.lookups, new.held), status=202, headers=headers)

    def submitted(self, request: Request) -> submission.Submission:
        """Reads the body and submits what it asks for. Nothing of the body is held on to by what it returns."""
        asked = request_serializers.asked(request.data)
        order = asked.order
        fit = limits_of(lookup.source for lookup in order.lookups)
        is_wrong = self.is_wrong(asked.wrong)
        given = unfetched(asked.picture) if is_wrong else asked.picture
        with refused(), self.picture(given, fit=fit, crop=order.crop) as picture:
            if is_wrong or isinstance(picture, NoPicture):
                rejections = submission.rejections(self.api_key, order.lookups)
                raise self.refusal_with(picture, merged(asked.wrong, wrong_lookups(rejections, asked.numbers)))
            try:
                return submission.submit(self.api_key, order, picture)
            except submission.WrongOrder as error:
                raise self.refusal_with(picture, wrong_lookups(error.rejections, asked.numbers)) from None

    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(representations.with_lookups(self.filtered())) or []
        return self.get_paginated_response(representations.shown(page))

    def filtered(self) -> QuerySet[Search]:
        query = self.query
        found = self.get_queryset()
        for name, lookup in (
            ("status", "status"),
            ("created_after", "created_at__gt"),
            ("created_before", "created_at__lt"),
        ):
            if name in query:
                found = found.filter(**{lookup: query[name]})
        if "source" in query:
            found = found.filter(Exists(Lookup.objects.filter(search=OuterRef("pk"), source=query["source"])))
        return found.filter(metadata__contains=query["metadata"]) if query["metadata"] else found


@schema.SEARCH
class OneSearch(SearchView):
    def get(self, request: Request, id: UUID) -> Response:
        known = parse_etags(request.headers.get("If-None-Match", ""))
        headers = self.wait(id, lambda status, version: is_news(known, status, version))
        response = self.shown(id, headers=headers)
        if is_known(known, response["ETag"]):
            return Response(status=304, headers={"ETag": response["ETag"], **headers})
        return response

    def delete(self, request: Request, id: UUID) -> Response:
        if not recall.erase(get_object_or_404(self.get_queryset(), pk=id)):
            raise Http404
        return Response(status=204)


@schema.CANCEL
class Cancel(SearchView):
    def post(self, request: Request, id: UUID) -> Response:
        search = get_object_or_404(self.get_queryset(), pk=id)
        self.read(Nothing())
        recall.cancel(search)
        return self.shown(id)


class PartsOfASearch(SearchView):
    """A list of what belongs to one search."""

    pagination_class = CursorPages

    def of_the_search(self, rows: QuerySet[Any], name: str) -> QuerySet[Any]:
        search = get_object_or_404(self.get_queryset(), pk=self.kwargs["id"])
        return rows.filter(**{name: search})


@schema.RESULTS
class Results(PartsOfASearch):
    renderer_classes = (JSONRenderer, CSVRenderer, NDJSONRenderer)
    query_class = ResultQuery

    @property
    def keys(self) -> tuple[str, ...]:
        return ("sequence",) if self.follows else ("lookup__ordinal", "rank")

    @property
    def follows(self) -> bool:
        return bool(self.query["order"] == "arrival")

    @property
    def columns(self) -> list[str]:
        return columns_of(representations.ResultSerializer(context={"raw": self.raw}))

    @property
    def raw(self) -> bool:
        return "include" in self.query

    def get(self, request: Request, id: UUID) -> Response:
        if self.get_queryset().filter(pk=id, results_erased_at__isnull=False).exists():
            raise NotFound(RESULTS_ERASED, code="results_erased")
        rows = self.of_the_search(Result.objects.select_related("lookup"), "search")
        for name, field in (("lookup", "lookup"), ("source", "lookup__source"), ("type", "type")):
            if name in self.query:
                rows = rows.filter(**{field: self.query[name]})
        page = self.paginate_queryset(rows if self.raw else rows.defer("raw")) or []
        shown = representations.ResultSerializer(page, many=True, context={"raw": self.raw})
        return self.get_paginated_response(shown.data)


@schema.CALLS
class Calls(PartsOfASearch):
    query_class = PageQuery
    keys = ("armed_at", "id")
    follows = False

    def get(self, request: Request, id: UUID) -> Response:
        rows = self.of_the_search(Call.objects.select_related("lookup"), "lookup__search")
        page = self.paginate_queryset(rows.defer("excerpt")) or []
        return self.get_paginated_response(representations.CallSerializer(page, many=True).data)


class ImageView(TenantView):
    queryset = Image.objects.all()

    def get_queryset(self) -> QuerySet[Image]:
        return representations.with_use(super().get_queryset())

    def described(self, images: Any, *, many: bool = False) -> Any:
        retention = self.tenant.retention("image_retention_days")
        return representations.StoredImageSerializer(images, many=many, context={"retention": retention}).data


@schema.IMAGES
class Images(PictureView, ImageView):
    pagination_class = CursorPages
    query_class = ImageQuery
    keys = ("-id",)
    follows = False
    error_statuses = {"POST": (409,)}

    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filtered()) or []
        return self.get_paginated_response(self.described(page, many=True))

    def filtered(self) -> QuerySet[Image]:
        found = self.get_queryset()
        for name, lookup in (("created_after", "created_at__gt"), ("created_before", "created_at__lt")):
            if name in self.query:
                found = found.filter(**{lookup: self.query[name]})
        if "unused" in self.query:
            is_used = Exists(Search.objects.filter(image=OuterRef("pk")))
            found = found.filter(~is_used if self.query["unused"] == "true" else is_used)
        return found

    def post(self, request: Request) -> Response:
        given, wrong = request_serializers.sent(request.data)
        is_wrong = self.is_wrong(wrong)
        with refused(), self.picture(unfetched(given) if is_wrong else given) as picture:
            if is_wrong:
                raise self.refusal_with(picture, wrong)
            picture.wait()
            with transaction.atomic():
                image = picture.save()
                picture.hold()
            pictures.refresh(image)
        headers = {"Location": reverse("image", kwargs={"id": image.pk})}
        shown = get_object_or_404(self.get_queryset(), pk=image.pk)
        return Response(self.described(shown), status=201, headers=headers)


@schema.IMAGE_VIEW
class OneImage(ImageView):
    error_statuses = {"DELETE": (409,)}

    def get(self, request: Request, id: UUID) -> Response:
        return Response(self.described(self.get_object()))

    def delete(self, request: Request, id: UUID) -> Response:
        try:
            pictures.erase(self.get_object())
        except (ProtectedError, IntegrityError):
            detail = "A search names this picture, so it is kept as long as the search is."
            raise Conflict(detail, code="image_in_use") from None
        return Response(status=204)


@schema.SOURCES
class Sources(TenantView):
    query_class = PageQuery
    pagination_class = CursorPages
    keys = ("source",)
    follows = False

    def get(self, request: Request) -> Response:
        pages = cast(CursorPages, self.paginator)
        page = pages.cut(adapters_after, self.keys, request, self)
        described = [source_catalog.described(adapter.source, self.api_key) for adapter in page]
        return self.get_paginated_response(representations.SourceSerializer(described, many=True).data)


def adapters_after(last: list[str] | None) -> list[Any]:
    return [registry.adapter(source) for source in sorted(registry.ADAPTERS) if not last or source > last[0]]


def limits_of(names: Iterable[str]) -> dict[str, PictureLimits]:
    adapters = [registry.adapter(name) for name in names]
    return {adapter.provider: adapter.picture_limits for adapter in adapters}


def content_of(given: GivenPicture, tenant: Tenant) -> bytes:
    return pictures.fetched(tenant, given.url) if given.url is not None else given.content or b""


def answered(search: dict[str, Any], *, status: int, headers: dict[str, str]) -> Response:
    return Response(search, status=status, headers={"ETag": etag_of(search["version"]), **headers})


def etag_of(version: int) -> str:
    """Weak: a position in line may change without it."""
    return f'W/"{version}"'


def is_known(known: list[str], etag: str) -> bool:
    return "*" in known or etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in known}


def is_news(known: list[str], status: str, version: int) -> bool:
    """Whether a caller who waits should be answered: with a version of its own by any other, else by the end. Nothing
    is waited for once a search has ended.
    """
    return status not in OPEN or (bool(known) and not is_known(known, etag_of(version)))


@contextmanager
def picture_refused() -> Iterator[None]:
    try:
        yield
    except (pictures.TooLarge, outbound.AnswerTooLarge) as error:
        raise PayloadTooLarge(error.detail) from None
    except pictures.BadPicture as error:
        raise ValidationError({error.field: wrong(error.detail, error.code)}) from None
    except outbound.OutboundFailure as error:
        raise ValidationError({"image": {"url": wrong(error.detail, error.code)}}) from None
    except pictures.Busy as error:
        raise ServiceUnavailable(error.detail) from None


@contextmanager
def bounded() -> Iterator[None]:
    """Turns the bounds of a tenant into the contract's statuses."""
    try:
        yield
    except pictures.TooManyImages as error:
        raise Conflict(str(error), code="too_many_images") from None
    except backlog.TooManyWaitingLookups as error:
        raise TooManyRequests(str(error), code="too_many_waiting_lookups", wait=backlog.WAIT_SECONDS) from None


@contextmanager
def refused() -> Iterator[None]:
    """Turns what the domain refuses into the contract's statuses."""
    try:
        with bounded(), picture_refused():
            yield
    except submission.CredentialMissing as error:
        raise Conflict(f"lookups[{error.index}]: {error.detail}", code="credential_missing") from None
    except prices.PriceMissing as error:
        raise PaymentRequired(PRICE_MISSING.format(error.source), code="price_missing") from None
    except ledger.InsufficientCredits as error:
        raise PaymentRequired(too_little(error), code="insufficient_credits") from None
    except (pictures.Deleted, IntegrityError) as error:
        if "_credential_id_" in constraint_of(error):
            raise Conflict(CREDENTIAL_DELETED, code="credential_missing") from None
        if not tells_of_a_deletion(error):
            raise
        raise Conflict(IMAGE_DELETED, code="image_deleted") from None


RESULTS_ERASED = "The results of this search were erased when their retention was over; search again."
PRICE_MISSING = "{} has no price, so it cannot be searched; ask the operator of this Sightline to set one."
CREDENTIAL_DELETED = "The credential was deleted while this request was handled; store another, or name one."
IMAGE_DELETED = "The picture was deleted while this request was handled; send the request again."


def wrong_lookups(rejections: Sequence[submission.Rejected], numbers: Sequence[int]) -> Wrong:
    """`numbers`: where in the request each lookup is."""
    found: Wrong = {}
    for error in rejections:
        field, code = REJECTIONS[type(error)]
        found.setdefault(numbers[error.index], {})[field] = wrong(error.detail, code)
    return {"lookups": found} if found else {}


REJECTIONS: Mapping[type[submission.Rejected], tuple[str, str]] = {
    submission.UnknownCredential: ("credential", "does_not_exist"),
    submission.BadOffset: ("offset", "bad_offset"),
}


def too_little(error: ledger.InsufficientCredits) -> str:
    needed, available = credits_text(error.needed), credits_text(error.available)
    return (
        f"This search can cost up to {needed} {error.provider} credits, and {available} are available; "
        "ask for fewer results, or have credits granted."
    )


def tells_of_a_deletion(error: pictures.Deleted | IntegrityError) -> bool:
    """Whether the picture went: before its file was read, or before a row could name it."""
    return isinstance(error, pictures.Deleted) or "_image_id_" in constraint_of(error)


def constraint_of(error: Exception) -> str:
    """The name of the one that it violates, if it does."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or ""
