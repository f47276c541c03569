"""Leads from holds, entries, events and deliveries back to what they are about: a call, its lookup and its search.

Those pages belong to apps that know no searches. They name a lookup, a call or a search in texts, such as `lookup:<id>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Model
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.admin.webhooks import DeliveryAdmin, EventAdmin
from accounts.models import Delivery, Event, EventType
from accounts.web.admin_columns import link, list_of, page_of
from billing.admin import EntryAdmin, HoldAdmin
from billing.models import Entry, Hold
from searches.admin.whys import WhyOfHolds
from searches.models import Call, Lookup, Search

LOOKUP_OR_CALL = re.compile(r"(lookup|call):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# The key of an entry that a call has made ends with the call's id alone (`billing.corrections`).
OF_A_CALL = re.compile(r"(?:charge|hold|settled|unknown):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class Linked:
    """Has the links of a page's row to what it is about."""

    @admin.display(description="about")
    def about(self, obj: Any) -> SafeString | str:
        found = [(link(page_of(row), f"its {row._meta.verbose_name}"),) for row in self.rows_about(obj)]
        return format_html_join(", ", "{}", found) or "-"

    def rows_about(self, obj: Any) -> Iterator[Model]:
        """Yields the rows that the page's row is about. Each page defines it."""
        raise NotImplementedError


class LinkedHoldAdmin(WhyOfHolds, Linked, HoldAdmin):
    list_display = ("reference", "account", "open_credits", "unknown_credits", "why", "created_at")
    fields: ClassVar[Any] = (*HoldAdmin.fields, "about", "entries")

    def rows_about(self, obj: Hold) -> Iterator[Model]:
        yield from _named(obj.reference)

    @admin.display(description="ledger")
    def entries(self, obj: Hold) -> SafeString:
        return link(list_of(Entry, q=obj.reference), "its entries")


class LinkedEntryAdmin(Linked, EntryAdmin):
    fields: ClassVar[Any] = (*EntryAdmin.fields, "about")

    def rows_about(self, obj: Entry) -> Iterator[Model]:
        if called := OF_A_CALL.fullmatch(obj.key):
            yield from Call.objects.filter(pk=called[1]).only("pk")
        yield from _named(obj.reference)


class LinkedEventAdmin(Linked, EventAdmin):
    fields: ClassVar[Any] = (*EventAdmin.fields, "about")

    def rows_about(self, obj: Event) -> Iterator[Model]:
        yield from _subjects(obj)


class LinkedDeliveryAdmin(Linked, DeliveryAdmin):
    fields: ClassVar[Any] = (*DeliveryAdmin.fields, "about")

    def rows_about(self, obj: Delivery) -> Iterator[Model]:
        yield from _subjects(obj.event)


def _subjects(event: Event) -> Iterator[Model]:
    """Yields what an event of a search is about: one of its lookups, and the search."""
    if event.type == EventType.LOOKUP_FINISHED:
        yield Lookup(pk=UUID(json.loads(event.body)["data"]["id"]))
    kind, _, id = event.reference.partition(":")
    if kind == "search":
        yield Search(pk=UUID(id))


def _named(reference: str) -> Iterator[Model]:
    """Yields the row that a reference names: a lookup with its search, or a call with both."""
    if (named := LOOKUP_OR_CALL.fullmatch(reference)) is None:
        return
    kind, id = named.groups()
    lookups = Lookup.objects.filter(**{"pk" if kind == "lookup" else "calls": id})
    if kind == "call":
        yield Call(pk=UUID(id))
    for lookup in lookups.only("pk", "search_id"):
        yield lookup
        yield Search(pk=lookup.search_id)


for model, page in {
    Hold: LinkedHoldAdmin,
    Entry: LinkedEntryAdmin,
    Event: LinkedEventAdmin,
    Delivery: LinkedDeliveryAdmin,
}.items():
    admin.site.unregister(model)
    admin.site.register(model, page)
