"""Compares what a provider counted for a key with what the calls with it cost, between two readings of its account.

The comparison raises no false alarm. Calls that were under way at a reading may be counted before or after it, and calls whose
outcome is unknown may have been billed or not: both make a range. Drift is what is outside of the range. If the provider counted
more, the account was used elsewhere too, which is its owner's affair. Only what cannot be explained so is announced.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import QuerySet

from billing import events
from billing.models import Reading, Reconciliation
from billing.serializers import credits_text
from providers.keyring.verification import AccountReading
from providers.models import Credential

log = logging.getLogger(__name__)

ZERO, FINEST = Decimal(0), Decimal("0.000001")
# The largest number of credits that is read. A provider that names more has said nothing that can be compared.
MOST = Decimal(10) ** 11
# A provider may show its count rounded to hundredths, in both readings.
ROUNDING = Decimal("0.01")
# A provider may count a call so long after its answer. No document says how long. A minute is little of a day, so that few calls
# are in doubt.
LAG = timedelta(minutes=1)

# Readings that are further apart are not compared: all calls between them would have to be added up.
APART_AT_MOST = timedelta(days=7)

State = Reconciliation.State


class CannotReconcile(Exception):
    """A refusal to compare. The message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class CostOfCalls:
    """The cost of calls with one key between two readings.

    `calls`: those that surely were between them; `billed` and `overbilled` are of these. `open_calls`: those that
    were under way at a reading, or whose outcome is unknown, and cost `overlapping` and `unknown` at most.
    """

    calls: int = 0
    open_calls: int = 0
    billed: Decimal = ZERO
    overbilled: Decimal = ZERO
    overlapping: Decimal = ZERO
    unknown: Decimal = ZERO

    def __add__(self, other: CostOfCalls) -> CostOfCalls:
        return CostOfCalls(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The cost of all calls with one key: a tenant sees those of its own credentials, and operators see all."""

    own: CostOfCalls = CostOfCalls()
    of_others: CostOfCalls = CostOfCalls()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a comparison."""

    state: State
    drift: Decimal = ZERO
    topped_up: Decimal = ZERO


def compare(counted: Decimal, cost: CostOfCalls, *, requests: int | None = None) -> Finding:
    """Compares by how much the credits left fell with what the calls cost. `requests`: by how much the count of requests rose."""
    most = cost.billed + cost.overlapping
    if counted < -ROUNDING:
        # The calls were paid from what was added.
        return Finding(state=State.TOPPED_UP, topped_up=cost.billed - counted)
    if counted < cost.billed - ROUNDING:
        # It billed less, or credits were added: neither is told from the other.
        return Finding(state=State.COUNTED_LESS, drift=counted - cost.billed)
    if counted <= most + ROUNDING:
        return Finding(state=State.MATCHES)
    if counted <= most + cost.unknown + ROUNDING:
        return Finding(state=State.EXPLAINED_BY_UNKNOWN)
    state = State.UNEXPLAINED if _is_ours_alone(cost, requests) else State.SHARED_ACCOUNT
    return Finding(state=state, drift=counted - most - cost.unknown)


def _is_ours_alone(cost: CostOfCalls, requests: int | None) -> bool:
    """Returns whether the provider's own count of requests says that nobody else called with the key.

    A count that does not rise with the calls says nothing: it may be of something else.
    """
    return requests is not None and requests > 0 and cost.calls <= requests <= cost.calls + cost.open_calls


def last_reading(credential: Credential) -> Reading | None:
    """Returns the last reading of the credential's present key."""
    return _readings_of_key(credential).order_by("answered_at").last()


def are_comparable(opening: Reading, closing: Reading) -> bool:
    """Returns whether two readings are near enough to add up the calls between them."""
    return closing.answered_at - opening.asked_at <= APART_AT_MOST


def uncompared(reading: Reading) -> str:
    """Returns a sentence for a reading without a comparison: the first of its key, or the first after a long time."""
    left = f"{credits_text(reading.credits)} credits are left; the next reading is compared with this one."
    before = Reading.objects.filter(credential=reading.credential_id, key_fingerprint=reading.key_fingerprint)
    if not before.filter(answered_at__lt=reading.answered_at).exists():
        return left
    return f"{left} The one before is more than {APART_AT_MOST.days} days older, so it is not compared with this one."


def read(credential: Credential, found: AccountReading) -> Reading:
    """Returns the unsaved reading. Raises `CannotReconcile` where the provider named no credits that can be compared."""
    credits = found.account.credits
    if credits is None or abs(credits) > MOST:
        raise CannotReconcile(f"{credential.provider} did not say how many credits are left; nothing was compared.")
    return Reading(
        credential=credential,
        key_fingerprint=credential.key_fingerprint,
        asked_at=found.asked_at,
        answered_at=found.answered_at,
        credits=credits.quantize(FINEST),
        requests=found.account.requests,
    )


@transaction.atomic
def record(credential: Credential, reading: Reading, opening: Reading | None, costs: Costs | None) -> Reading:
    """Saves a reading of a credential, with its comparison with the one before, and announces drift that nothing explains.

    `costs`: None if the two are not compared.
    Two may read one key at once. The first is kept: the second returns the first one's reading, and writes nothing.
    """
    if Credential.objects.same_key(credential).select_for_update(no_key=True).first() is None:
        raise CannotReconcile("The key was replaced or deleted meanwhile; nothing was compared.")
    last = last_reading(credential)
    if last is not None and last != opening:
        return last
    reading.save()
    if opening is not None and costs is not None:
        _record_comparison(credential, reading, opening, costs)
    return reading


def _record_comparison(credential: Credential, closing: Reading, opening: Reading, costs: Costs) -> None:
    cost, own = costs.own + costs.of_others, costs.own
    counted = opening.credits - closing.credits
    found = compare(counted, cost, requests=_rise(opening.requests, closing.requests))
    row = Reconciliation.objects.create(
        tenant_id=credential.tenant_id,
        provider=credential.provider,
        key_label=credential.label,
        credential=credential,
        opening=opening,
        closing=closing,
        state=found.state,
        counted=counted,
        calls=cost.calls,
        billed=cost.billed,
        overbilled=cost.overbilled,
        overlapping=cost.overlapping,
        unknown=cost.unknown,
        own_calls=own.calls,
        own_billed=own.billed,
        own_overbilled=own.overbilled,
        own_overlapping=own.overlapping,
        own_unknown=own.unknown,
        topped_up=found.topped_up,
        drift=found.drift,
    )
    if found.state == State.UNEXPLAINED:
        drift = credits_text(found.drift)
        log.error("credential %s: its provider's count differs by %s credits", row.credential_id, drift)
        events.drift_found(row)


def _rise(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def detail(row: Reconciliation) -> str:
    """Returns a sentence that says what was found, for the key's owner and for operators."""
    difference = credits_text(abs(row.drift))
    match row.state:
        case State.MATCHES:
            return "The provider counted what the calls with this key cost."
        case State.EXPLAINED_BY_UNKNOWN:
            return "The provider counted more; calls whose outcome is unknown explain it."
        case State.SHARED_ACCOUNT:
            return (
                f"The provider counted {difference} credits more than all calls with this key can have cost: its account "
                "is shared with calls that are made elsewhere."
            )
        case State.TOPPED_UP:
            added = credits_text(row.topped_up)
            return (
                f"At least {added} credits were added to the account, so the provider's count proves nothing this time."
            )
        case State.COUNTED_LESS:
            return (
                f"The provider counted {difference} credits less than the calls with this key cost. It billed less, or "
                "gave credits back, or some were added meanwhile; the count proves nothing this time."
            )
        case _:
            return (
                f"The provider counted {difference} credits more than the calls with this key can have cost, and by its "
                "count of requests nobody else made any. It billed more than its price."
            )


def _readings_of_key(credential: Credential) -> QuerySet[Reading]:
    return Reading.objects.filter(credential=credential, key_fingerprint=credential.key_fingerprint)
