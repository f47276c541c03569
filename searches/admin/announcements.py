"""Reads what was announced of a search: its events, and their deliveries to the tenant's endpoints, in two queries."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import JSONField
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast

from accounts.models import Delivery, Event
from searches.lifecycle import events
from searches.models import Search

# A search has one event for each of its 20 lookups at most, and one for itself. A tenant has few endpoints.
MOST_EVENTS = 60
MOST_DELIVERIES = 240


@dataclass(frozen=True, kw_only=True)
class Announced:
    """The events about each lookup and about the search, by their ids, and the deliveries of each event, by its id."""

    events: dict[str, list[Event]] = field(default_factory=dict)
    deliveries: dict[UUID, list[Delivery]] = field(default_factory=dict)


def of(search: Search) -> Announced:
    told: dict[str, list[Event]] = defaultdict(list)
    # The body is large. Of it, only the id of its subject is read.
    subject: Any = KeyTextTransform("id", KeyTransform("data", Cast("body", JSONField())))
    about = Event.objects.filter(reference=f"{events.PREFIX}{search.pk}").annotate(subject=subject)
    for event in about.defer("body").order_by("created_at", "pk")[:MOST_EVENTS]:
        told[str(event.subject)].append(event)
    sent: dict[UUID, list[Delivery]] = defaultdict(list)
    deliveries = Delivery.objects.filter(event__in=[event for each in told.values() for event in each])
    hidden = ("endpoint__sealed", "endpoint__previous_sealed")
    for delivery in deliveries.select_related("endpoint").defer(*hidden).order_by("pk")[:MOST_DELIVERIES]:
        sent[delivery.event_id].append(delivery)
    return Announced(events=dict(told), deliveries=dict(sent))
