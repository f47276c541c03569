"""Searches over HTTP: create, list, read, cancel, retry, erase.

An API key sees the searches of its own mode only. A test key that many people have therefore reads no live search.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts.models import IdempotencyKey, Scope
from accounts.web.entity_tags import is_known, known_tags
from accounts.web.strict_fields import Nothing
from accounts.web.tenant_view import TenantView
from billing.caps import CODES
from billing.serializers import credits_text
from searches import representations
from searches.api import long_poll, schema
from searches.api.exceptions import translate_retry_errors
from searches.api.query_serializers import SearchQuery
from searches.api.views.order_view import ORDER_CODES, OrderView
from searches.lifecycle import holds
from searches.models import Lookup, Search
from searches.orders import recall, retries, submission
from searches.orders.submission import Submission

ERASED = "The search of the first request with this Idempotency-Key was erased; to search again, send another key."
# The codes of the problems that a submit can answer.
SUBMIT_CODES = (*ORDER_CODES, *CODES.values(), "price_missing")
# The ORM lookup of each query parameter.
FILTERS = {"status": "status", "created_after": "created_at__gt", "created_before": "created_at__lt"}


class SearchView(TenantView):
    """Reaches the searches of the key's mode. A POST that is sent again is answered with the present state of its search, so that
    no copy of the search is kept with the idempotency key.
    """

    queryset = Search.objects.all()
    in_one_transaction = False

    def get_queryset(self) -> QuerySet[Search]:
        return super().get_queryset().filter(mode=self.api_key.mode, erased_at=None)

    def search_now(self, id: UUID, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        search = get_object_or_404(representations.with_lookups(self.get_queryset()), pk=id)
        return search_response(representations.of_searches([search])[0], status=status, headers=headers or {})

    def complete_with(self, search: Search) -> None:
        """Completes the idempotency key in the transaction that writes the search."""
        self.complete(202, search.pk)

    def made_by(self, response: Response) -> UUID | None:
        return UUID(response.data["id"])

    def replayed(self, done: IdempotencyKey) -> Response:
        """Answers with the search of the first request. Raises `NotFound` if it was erased since."""
        assert done.made is not None
        try:
            headers = self.waited(done.made) if done.status == 202 else {}
            return self.search_now(done.made, status=done.status or 200, headers=headers)
        except Http404:
            raise NotFound(ERASED) from None

    def waited(self, id: UUID) -> dict[str, str]:
        """Waits for the end of a search that was just made, as the caller prefers. Returns the header fields of its 202."""
        self.forget_body()
        waited = self.wait(id, lambda status, _: status not in Lookup.OPEN)
        return {"Location": reverse("search", kwargs={"id": id}), **waited}

    def wait(self, id: UUID, is_over: Callable[[str, int], bool]) -> dict[str, str]:
        """Waits as long as the caller prefers. Returns the header that says so; none where there was no wait."""
        seconds = long_poll.preferred_seconds(self.request)
        if seconds is None:
            return {}
        waited = long_poll.wait(
            lambda: is_over(*self.status_and_version(id)),
            id,
            tenant_id=self.tenant.pk,
            seconds=seconds,
            look=self.recheck_key,
        )
        return {"Preference-Applied": f"wait={seconds}"} if waited else {}

    def accepted(self, new: Submission) -> Response:
        """Answers a submit, once its search has ended if the caller prefers to wait."""
        headers = credits_available(new) | self.waited(new.search.pk)
        if "Preference-Applied" in headers or new.ended:
            return self.search_now(new.search.pk, status=202, headers=headers)
        body = representations.submitted(new.search, new.lookups, new.held.amounts)
        return search_response(body, status=202, headers=headers)

    def status_and_version(self, id: UUID) -> tuple[str, int]:
        """Reads both. Raises `Http404` for a search that was erased, even while a caller waits for it."""
        found = self.get_queryset().filter(pk=id).values_list("status", "version").first()
        if found is None:
            raise Http404
        return found


@schema.SEARCHES
class Searches(OrderView, SearchView):
    scopes = {"GET": Scope.SEARCHES_READ, "POST": Scope.SEARCHES_WRITE}
    query_class = SearchQuery
    keys = ("-created_at", "-id")
    error_codes = {"POST": SUBMIT_CODES}

    def post(self, request: Request) -> Response:
        new = self.ordered(request, partial(submission.submit, written=self.complete_with))
        return self.accepted(new)

    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(representations.with_lookups(self.filtered())) or []
        return self.get_paginated_response(representations.of_searches(page))

    def filtered(self) -> QuerySet[Search]:
        query = self.query
        found = self.get_queryset().filter(**{FILTERS[name]: query[name] for name in FILTERS if name in query})
        if "source" in query:
            found = found.filter(Exists(Lookup.objects.filter(search=OuterRef("pk"), source=query["source"])))
        return found.filter(metadata__contains=query["metadata"]) if query["metadata"] else found


@schema.SEARCH
class OneSearch(SearchView):
    scopes = {"GET": Scope.SEARCHES_READ, "DELETE": Scope.SEARCHES_WRITE}

    def get(self, request: Request, id: UUID) -> Response:
        known = known_tags(request)
        headers = self.wait(id, lambda status, version: is_news(known, status, version))
        response = self.search_now(id, headers=headers)
        if is_known(known, response["ETag"]):
            return Response(status=304, headers={"ETag": response["ETag"], **headers})
        return response

    def delete(self, request: Request, id: UUID) -> Response:
        if not recall.erase(get_object_or_404(self.get_queryset(), pk=id)):
            raise Http404
        return Response(status=204)


@schema.CANCEL
class Cancel(SearchView):
    scopes = {"POST": Scope.SEARCHES_WRITE}

    def post(self, request: Request, id: UUID) -> Response:
        search = get_object_or_404(self.get_queryset(), pk=id)
        self.read(Nothing())
        recall.cancel(search)
        return self.search_now(id)


@schema.RETRY
class RetryFailed(SearchView):
    scopes = {"POST": Scope.SEARCHES_WRITE}
    error_codes = {"POST": (*SUBMIT_CODES, "nothing_to_retry", "retry_impossible")}

    def post(self, request: Request, id: UUID) -> Response:
        first = get_object_or_404(self.get_queryset().select_related("image"), pk=id)
        self.read(Nothing())
        with translate_retry_errors():
            new = retries.retry(self.api_key, first, written=self.complete_with)
        return self.accepted(new)


def credits_available(new: Submission) -> dict[str, str]:
    """Returns what each prepaid account of the search's providers has available after its hold, as header fields."""
    left = holds.available(new.search, new.lookups, new.held)
    return {f"Credits-Available-{provider}": credits_text(amount) for provider, amount in left.items()}


def search_response(search: dict[str, Any], *, status: int, headers: dict[str, str]) -> Response:
    return Response(search, status=status, headers={"ETag": etag_of(search["version"]), **headers})


def etag_of(version: int) -> str:
    """Returns a weak tag, since a position in the queue may change without the version."""
    return f'W/"{version}"'


def is_news(known: list[str], status: str, version: int) -> bool:
    """Returns whether a waiting caller gets its answer now: at the end of the search, or at a version unlike those it knows."""
    return status not in Lookup.OPEN or (bool(known) and not is_known(known, etag_of(version)))
