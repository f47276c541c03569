"""Names what needs a person: each with its number, and with the list of exactly these rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Model
from django.http import HttpRequest

from accounts.models import Endpoint
from accounts.web.admin_columns import list_of
from billing.models import Hold, LedgerAudit, Reconciliation
from config.dashboard.figures import Figures
from config.dashboard.lanes import LaneCard
from config.dashboard.words import at_most_counted
from providers.models import Credential, Policy
from searches.models import Lane


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A kind of trouble: a name of `figures.TROUBLES`, its words for one and for many, and the filter of its list."""

    name: str
    model: type[Model]
    one: str
    many: str
    filters: dict[str, str]
    is_urgent: bool = True


@dataclass(frozen=True, kw_only=True)
class Task:
    """A line of the page. `notes`: what the list would say of single rows."""

    number: str
    words: str
    address: str
    is_urgent: bool
    notes: Sequence[str] = field(default=())


TROUBLES = (
    Trouble(
        name="audits",
        model=LedgerAudit,
        one="audit of the ledger failed in 30 days",
        many="audits of the ledger failed in 30 days",
        filters={"outcome": "failed", "made": "month"},
    ),
    Trouble(
        name="breakers",
        model=Lane,
        one="lane has an open breaker: its provider fails for all tenants",
        many="lanes have an open breaker: their providers fail for all tenants",
        filters={"state": "breaker open"},
    ),
    Trouble(
        name="paused_providers",
        model=Policy,
        one="provider is paused by its policy",
        many="providers are paused by their policies",
        filters={"paused__exact": "1"},
    ),
    Trouble(
        name="paused_lanes",
        model=Lane,
        one="lane is paused by operators",
        many="lanes are paused by operators",
        filters={"state": "paused by operators"},
    ),
    Trouble(
        name="invalid",
        model=Credential,
        one="credential is rejected by its provider",
        many="credentials are rejected by their providers",
        filters={"state__exact": "invalid"},
    ),
    Trouble(
        name="exhausted",
        model=Credential,
        one="credential is out of its provider's credits",
        many="credentials are out of their providers' credits",
        filters={"state__exact": "exhausted"},
    ),
    Trouble(
        name="unknown",
        model=Hold,
        one="hold has an unknown charge to settle",
        many="holds have an unknown charge to settle",
        filters={"outcome": "unknown"},
    ),
    Trouble(
        name="drift",
        model=Reconciliation,
        one="reconciliation found unexplained drift in 30 days",
        many="reconciliations found unexplained drift in 30 days",
        filters={"state__exact": "unexplained", "made": "month"},
    ),
    Trouble(
        name="disabled",
        model=Endpoint,
        one="webhook endpoint is disabled",
        many="webhook endpoints are disabled",
        filters={"state": "disabled"},
    ),
    Trouble(
        name="failing",
        model=Endpoint,
        one="webhook endpoint fails every delivery",
        many="webhook endpoints fail every delivery",
        filters={"state": "failing"},
        is_urgent=False,
    ),
    Trouble(
        name="told_to_wait",
        model=Lane,
        one="lane waits because its provider said so",
        many="lanes wait because their providers said so",
        filters={"state": "told to wait"},
        is_urgent=False,
    ),
)


def tasks(request: HttpRequest, figures: Figures, cards: Sequence[LaneCard]) -> list[Task]:
    """Returns what needs a person, of what this operator may see."""
    notes = {
        "breakers": [f"{card.name}: {card.breaker}" for card in cards if card.breaker],
        "paused_lanes": [f"{card.name}: {card.pause}" for card in cards if card.pause],
        "paused_providers": sorted({f"{card.provider}: {card.policy_pause}" for card in cards if card.policy_pause}),
        "told_to_wait": [f"{card.name}: {card.wait}" for card in cards if card.wait],
    }
    return [
        Task(
            number=at_most_counted(number),
            words=trouble.one if number == 1 else trouble.many,
            address=list_of(trouble.model, **trouble.filters),
            is_urgent=trouble.is_urgent,
            notes=notes.get(trouble.name, ()),
        )
        for trouble in TROUBLES
        if (number := figures.troubles[trouble.name]) and may_see(request, trouble.model)
    ]


def may_see(request: HttpRequest, *models: type[Model]) -> bool:
    """Returns whether the operator may see the rows of all these models."""
    return all(request.user.has_perm(f"{one._meta.app_label}.view_{one._meta.model_name}") for one in models)
