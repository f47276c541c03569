"""Finds any row by any id that an operator may have in hand: the one search box of all admin pages.

An id names its row, whatever its kind, so a whole id leads straight there. Other texts are compared with what rows are called
elsewhere: a request's id, a provider's, how an API key begins, a picture's hash, a tenant's name. Every comparison is answered by
an index, and only rows are found whose pages the operator may see.

The box sends its text in a form's body. An operator may paste a whole API key, and addresses are logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import CharField, Model, Q, QuerySet, Value
from django.db.models.functions import Collate, Upper
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from accounts import keys
from accounts.models import Act, ApiKey, Delivery, Endpoint, Event, Tenant, User
from accounts.web.admin_columns import page_of
from billing.models import Account, Entry, Hold, Reconciliation, Statement, ThresholdAlert
from providers.models import Credential, Policy
from searches.models import Call, Image, Lane, Lookup, Result, Search

# The models whose rows have an id that no other row has.
WITH_ID: tuple[type[Model], ...] = (
    *(Search, Lookup, Call, Result, Image),
    *(Tenant, ApiKey, Credential, Act),
    *(Endpoint, Event, Delivery),
    *(Account, Entry, Statement, Reconciliation, ThresholdAlert),
)
# The rows of one kind that are shown; who means another one types more.
MOST = 20
# No id is longer: an entry's key has 100 characters, and a tenant's name 200.
LONGEST = 200
# Shorter beginnings are those of thousands of rows.
LEAST_OF_A_NAME, LEAST_OF_A_FINGERPRINT = 2, 8
HEX = re.compile("[0-9a-f]+")
SHA256 = 64
PREFIXES = ("sl_live_", "sl_test_")
# `lookup:<id>` is what the ledger calls a lookup, and `search:<id>` what events and budgets call a search.
REFERENCE = re.compile(r"(lookup|search|call|entry|event):(.+)")
UNREADABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A row, and by what of it the text was found."""

    row: Model
    by: str

    @property
    def kind(self) -> str:
        return capfirst(str(self.row._meta.verbose_name))

    @property
    def address(self) -> str:
        return page_of(self.row)


def page(request: HttpRequest) -> HttpResponse:
    """Leads to the row that a text names. Shows all where it names several, and what can be found where it names none."""
    term = shown(" ".join(request.POST.get("q", request.GET.get("q", "")).split()))
    found, problem = [], refusal(term)
    if term and not problem:
        found = find(term, may_see(request))
        if len(found) == 1:
            return HttpResponseRedirect(found[0].address)
    context = {
        **admin.site.each_context(request),
        "title": "Find",
        "term": "" if problem else term,
        "found": found,
        "most": MOST,
        "problem": problem,
    }
    return TemplateResponse(request, "admin/find.html", context)


def shown(term: str) -> str:
    """Returns the text without what is not its own: the rest of an API key, which is a secret, or the dots behind a beginning."""
    if term.startswith(PREFIXES):
        return term[: keys.SHOWN_CHARACTERS].rstrip("…")
    return term.rstrip("…").strip()


def refusal(term: str) -> str:
    """Returns why nothing can be called so; empty where something can."""
    if len(term) > LONGEST:
        return f"This has {len(term):,} characters, and no id has more than {LONGEST}; paste the id alone."
    if UNREADABLE.search(term):
        return "This holds a character that no id has; type the id anew."
    return ""


def may_see(request: HttpRequest) -> Callable[[type[Model]], bool]:
    pages = admin.site._registry
    return lambda model: model in pages and pages[model].has_view_permission(request)


def find(term: str, visible: Callable[[type[Model]], bool]) -> list[Found]:
    """Returns the rows that the text names, each once, from the surest comparison to the vaguest."""
    found = _by_id(term, visible)
    if found and not REFERENCE.fullmatch(term):
        return found
    for model, condition, by in _comparisons(term):
        if visible(model):
            found += [Found(row=row, by=by) for row in _rows(model).filter(condition)[:MOST]]
    return list({(type(each.row), each.row.pk): each for each in reversed(found)}.values())[::-1]


def _by_id(term: str, visible: Callable[[type[Model]], bool]) -> list[Found]:
    """Returns the row with this id, whatever its kind, by one query of all tables."""
    reference = REFERENCE.fullmatch(term)
    try:
        wanted = UUID(reference[2] if reference else term)
    except ValueError:
        return []
    models = {model._meta.label: model for model in WITH_ID if visible(model)}
    queries = [_ids(model, label, wanted) for label, model in models.items()]
    if not queries:
        return []
    hits = queries[0].union(*queries[1:], all=True)
    return [Found(row=_rows(models[label]).get(pk=pk), by="its id") for label, pk in hits]


def _ids(model: type[Model], label: str, wanted: UUID) -> Any:
    rows = model._default_manager.filter(pk=wanted).order_by()
    return rows.annotate(found_in=Value(label, output_field=CharField())).values_list("found_in", "pk")


def _rows(model: type[Model]) -> QuerySet[Any]:
    """Returns the rows of a model, with what their names are made of."""
    keys = {field.name for field in model._meta.concrete_fields if field.is_relation}
    related = [path for path in ("tenant", "account__tenant") if path.split("__")[0] in keys]
    return model._default_manager.select_related(*related)


def _comparisons(term: str) -> Iterator[tuple[type[Model], Q, str]]:
    """Yields where a text may stand that is not a row's own id. Each comparison is answered by an index."""
    yield Search, ~Q(request_id="") & Q(request_id=term), "its request's id"
    yield Call, ~Q(provider_request_id="") & Q(provider_request_id=term), "the provider's request id"
    yield from _of_the_ledger(term)
    yield from _of_hashes(term.lower())
    if term.startswith(PREFIXES) and term not in PREFIXES:
        yield ApiKey, Q(prefix__startswith=term), "how the key begins"
    for model, field in ((Lane, "pk"), (Policy, "pk"), (User, "username")):
        yield model, Q(**{field: term}), "its name"
    if len(term) >= LEAST_OF_A_NAME:
        named = Tenant.objects.alias(known_as=Collate(Upper("name"), "C")).filter(known_as__startswith=term.upper())
        yield Tenant, Q(pk__in=list(named.values_list("pk", flat=True)[:MOST])), "its name"


def _of_the_ledger(term: str) -> Iterable[tuple[type[Model], Q, str]]:
    return (
        (Hold, Q(pk=term), "its reference"),
        (Entry, Q(key=term), "its key"),
        (Entry, Q(reference=term), "its reference"),
    )


def _of_hashes(term: str) -> Iterator[tuple[type[Model], Q, str]]:
    if not HEX.fullmatch(term):
        return
    if len(term) == SHA256:
        yield Image, Q(sha256=term), "the hash of its file"
        yield Image, Q(pixels_sha256=term), "the hash of its pixels"
    if len(term) >= LEAST_OF_A_FINGERPRINT:
        yield Credential, Q(fingerprint__startswith=term), "its key's fingerprint"
