"""Carries out one call: waits for a slot, claims whose turn it is, asks the adapter, and settles what came of it.

No transaction is open while the network is. What came is settled in one transaction: the call, its results, the charge,
the lookup's next standing, the release at its end. A call is settled once: whoever moves its row out of `armed` does it,
the worker that made it or, when its lease is over, the sweep.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from kombu.exceptions import OperationalError as KombuError

from accounts import vault
from accounts.models import Mode
from billing import ledger
from providers import credentials, http, limiter, policies, registry
from providers.contract import Answer, BadCredential, Failure, Garbled, Lost, Question, Refused, Secret
from providers.http import Door
from providers.limiter import Fate, Rate, Seat, Token, Unavailable, Withheld
from providers.models import Credential, Policy
from searches import ending, nudges, pictures, results, retries, scheduler
from searches.models import Call, Lane, Lookup, Place, Status
from searches.scheduler import Errand

log = logging.getLogger(__name__)

# What fetching a lookup and preparing its request may take: this long before its slot it is claimed. A slow lane can
# afford more of it, for a connection that is cold.
SHORTEST_LEAD_SECONDS, LONGEST_LEAD_SECONDS = 0.030, 0.150
# A slot further off than this is not waited for in a worker.
FARTHEST_SLOT_SECONDS = 5.0
# A worker that has not sent its call by then, or has had no answer for this long after the call's time, is gone.
MARGIN_SECONDS = 5.0


def run(lane_name: str, seat_name: str) -> None:
    """One visit to a lane: at most one call. Leaves word for the next visit while there is work."""
    lane = Lane.objects.get(pk=lane_name)
    policy = policies.of(lane.provider)
    seat = nudges.seat(lane.name, policy, seat_name)
    try:
        wait = seat.take()
        if wait is not None:
            nudges.leave(lane, seat, more=_visit(lane, policy, seat, wait))
    except Unavailable:
        log.warning("lane %s: Redis is unreachable, so no call leaves", lane.name)


def _visit(lane: Lane, policy: Policy, seat: Seat, wait: float) -> bool:
    """Whether somebody should look again at once."""
    if wait > FARTHEST_SLOT_SECONDS:
        return False
    time.sleep(max(0.0, wait - lead_seconds(seat.rate)))
    errand = scheduler.claim(lane.name, policy, lease=timedelta(seconds=limiter.PATIENCE_SECONDS + MARGIN_SECONDS))
    if errand is None:
        return False
    try:
        seconds = limiter.PATIENCE_SECONDS + call_seconds(policy)
        nudges.bind(lane, seat, seconds=seconds, more=errand.more)
        answer = ask(errand, policy, Token(seat=seat, call=str(errand.call.pk)))
    except Failure as failure:
        came = failure
        _surely(lambda: settle_failure(errand, policy, came))
    except (Withheld, Unavailable) as reason:
        log.info("lane %s: a slot passed unused (%s)", lane.name, type(reason).__name__)
        _surely(lambda: return_unsent(errand.call, errand.lookup))
    else:
        _surely(lambda: settle_answer(errand, answer))
    return errand.more or scheduler.is_ready(lane.name)


def _surely(settle: Callable[[], None]) -> None:
    """Settles even if the database is away for a moment: what came is paid for, and here alone. Settling twice is harmless."""
    for pause in (0.1, 0.3, 1.0, 2.0, 4.0, 8.0):
        try:
            return settle()
        except (OperationalError, InterfaceError):
            log.warning("the database is away; what came is settled in %s s", pause)
            connection.close()
            time.sleep(pause)
    return settle()


def lead_seconds(rate: Rate) -> float:
    """How long before its slot a lookup is claimed: late enough for whoever comes by then to be counted in."""
    return min(LONGEST_LEAD_SECONDS, max(SHORTEST_LEAD_SECONDS, rate.interval_seconds / 2))


def warm_up() -> None:
    """Opens in a new process what its first call would wait for. What cannot be opened now is opened then."""
    http.client()
    with suppress(Unavailable, OperationalError, KombuError, OSError):
        connection.ensure_connection()
        limiter.reach()
        with current_app.producer_pool.acquire(block=True) as producer:
            producer.channel  # noqa: B018 - opened on first use
    connection.close()


def call_seconds(policy: Policy) -> float:
    """After this long a call that left has an answer, or none that counts."""
    return policy.total_timeout_ms / 1000 + MARGIN_SECONDS


def ask(errand: Errand, policy: Policy, token: Token) -> Answer:
    """Raises a `Failure`, `Withheld` or `Unavailable`, and nothing else: what is our own mistake fails one lookup only."""
    lookup = errand.lookup
    adapter = registry.adapter(lookup.source)
    door = Door(connect_seconds=policy.connect_timeout_ms / 1000, total_seconds=policy.total_timeout_ms / 1000)
    question, secret = _question(errand), _secret(lookup)
    try:
        return adapter.ask(question, secret=secret, base_url=_base_url(lookup), door=door, token=token)
    except (Failure, Withheld, Unavailable):
        raise
    except Exception as error:
        # Its text could quote the answer or the request, so only its kind is kept.
        log.error("lookup %s: the %s adapter raised %s", lookup.pk, adapter.provider, type(error).__name__)
        raise Garbled(
            "internal_error", "The provider's answer could not be handled; we were told.", status=200
        ) from None


def _question(errand: Errand) -> Question:
    lookup = errand.lookup
    try:
        picture = pictures.rendering(lookup.search.image_id, lookup.provider)
    except (OSError, ObjectDoesNotExist):
        raise Refused("picture_gone", "The picture is no longer stored; send it again.") from None
    return Question(picture=picture, parameters=lookup.parameters, page=errand.call.page, page_size=lookup.page_size)


def _secret(lookup: Lookup) -> Secret:
    if lookup.credential is not None:
        try:
            return credentials.secret_of(lookup.credential)
        except vault.Unopenable:
            raise BadCredential(
                "credential_unreadable", "The stored key cannot be opened and needs re-entry."
            ) from None
    if lookup.search.mode == Mode.LIVE:
        raise Refused("credential_missing", "The credential was deleted; store your key and search again.")
    # The sandbox takes any key and limits each by itself, so each tenant gets one.
    return Secret(value=f"sandbox-{lookup.tenant_id}")


def _base_url(lookup: Lookup) -> str:
    adapter = registry.adapter(lookup.source)
    if lookup.search.mode == Mode.TEST:
        return f"{settings.SANDBOX_URL}{adapter.sandbox_path}"
    url: str = getattr(settings, adapter.base_url_setting)
    return url


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The rows that a settlement moves, locked in order. `place`: where the lookup may go back in line."""

    call: Call
    lookup: Lookup
    place: Place


def _lock(call: Call, lookup: Lookup, *, became: Call.State, **values: Any) -> Ours | None:
    """Locks what a settlement needs and moves the call out of `armed`; None where somebody else did."""
    place = scheduler.lock_place(lookup.lane_id, lookup.tenant_id)
    locked = Lookup.objects.select_for_update(no_key=True).get(pk=lookup.pk)
    moved = Call.objects.filter(pk=call.pk, state=Call.State.ARMED).update(state=became, finished_at=Now(), **values)
    return Ours(call=call, lookup=locked, place=place) if moved else None


@transaction.atomic
def settle_answer(errand: Errand, answer: Answer) -> None:
    """Keeps what came, charges it, and either ends the lookup or puts it back in line for its next page."""
    cost = price_of(errand.lookup, results=answer.billed_results)
    ours = _lock(
        errand.call,
        errand.lookup,
        became=Call.State.ANSWERED,
        status=answer.status,
        returned=len(answer.hits),
        provider_request_id=answer.request_id[:100],
    )
    if ours is None:
        _settle_late(errand, cost)
        return
    lookup = ours.lookup
    if errand.lookup.lane.backoff:
        Lane.objects.filter(pk=lookup.lane_id).update(backoff=0)
    results.keep(lookup, answer)
    lookup.pages_done += 1
    lookup.attempts = 0
    lookup.save(update_fields=["pages_done", "attempts", "total", "result_count", "duplicates"])
    charge(lookup, ours.call, cost)
    if lookup.cancel_requested:
        ending.finish(lookup, Status.CANCELED)
    elif answer.last or lookup.pages_done >= lookup.pages:
        ending.finish(lookup, Status.SUCCEEDED)
    else:
        scheduler.put_back(lookup, ours.place)
        ending.touch(lookup.search_id)


def settle_failure(errand: Errand, policy: Policy, failure: Failure) -> None:
    """Does what follows from a failure (`retries.decide`)."""
    lane = errand.lookup.lane
    verdict = retries.decide(failure, attempts=errand.lookup.attempts, allowed=policy.attempts, throttled=lane.backoff)
    log.info("lookup %s: %s, so %s", errand.lookup.pk, failure.code, type(verdict).__name__)
    if isinstance(verdict, retries.Unknown):
        settle_unknown(errand.call, errand.lookup, policy, failure)
        return
    if isinstance(verdict, retries.Pause):
        limiter.pause(lane.name, policies.rate(policy), seconds=verdict.seconds)
    with transaction.atomic():
        if isinstance(verdict, retries.Pause):
            scheduler.pause(lane.name, seconds=verdict.seconds)
        _apply(errand, failure, verdict)


def _apply(errand: Errand, failure: Failure, verdict: retries.Verdict) -> None:
    ours = _lock(
        errand.call,
        errand.lookup,
        became=Call.State.FAILED,
        status=failure.status,
        returned=0,
        error_code=failure.code,
        error_detail=failure.detail[:500],
        provider_request_id=failure.request_id[:100],
        excerpt=failure.excerpt if isinstance(failure, Garbled) else "",
    )
    if ours is None:
        return None
    lookup = ours.lookup
    if lookup.cancel_requested and not isinstance(verdict, retries.Stop):
        return ending.finish(lookup, Status.CANCELED)
    match verdict:
        case retries.Again(after=seconds):
            Lookup.objects.filter(pk=lookup.pk).update(attempts=F("attempts") + 1)
            scheduler.put_back(lookup, ours.place, after=timedelta(seconds=seconds))
        case retries.Pause():
            scheduler.put_back(lookup, ours.place)
        case retries.Park(state=state) if lookup.credential is not None:
            credentials.mark(lookup.credential, Credential.State(state))
            scheduler.park(lookup, ours.place)
        case retries.Stop(billed_results=None):
            set_unknown(lookup)
            return ending.finish(lookup, Status.FAILED, failure)
        case retries.Stop(billed_results=int(results)) if results:
            charge(lookup, ours.call, price_of(lookup, results=results))
            return ending.finish(lookup, Status.FAILED, failure)
        case _:
            return ending.finish(lookup, Status.FAILED, failure)
    return ending.touch(lookup.search_id)


@transaction.atomic
def settle_unknown(call: Call, lookup: Lookup, policy: Policy, failure: Failure) -> None:
    """Nobody knows whether the provider billed it: that part stays held, and the policy says whether to ask once more."""
    ours = _lock(call, lookup, became=Call.State.UNKNOWN, error_code=failure.code, error_detail=failure.detail[:500])
    if ours is None:
        return
    set_unknown(ours.lookup)
    Lookup.objects.filter(pk=lookup.pk).update(unknown_calls=F("unknown_calls") + 1)
    if ours.lookup.cancel_requested:
        ending.finish(ours.lookup, Status.CANCELED)
    elif _may_ask_again(ours.lookup, policy, call):
        scheduler.put_back(ours.lookup, ours.place)
        ending.touch(lookup.search_id)
    else:
        ending.finish(ours.lookup, Status.FAILED, failure)


@transaction.atomic
def return_unsent(call: Call, lookup: Lookup) -> None:
    """The call never left: it leaves no row, costs nothing, and the lookup has its turn again."""
    place = scheduler.lock_place(lookup.lane_id, lookup.tenant_id)
    locked = Lookup.objects.select_for_update(no_key=True).get(pk=lookup.pk)
    if not Call.objects.filter(pk=call.pk, state=Call.State.ARMED).delete()[0]:
        return
    if locked.cancel_requested:
        ending.finish(locked, Status.CANCELED)
    else:
        scheduler.put_back(locked, place, void=True)


def recover(call: Call) -> None:
    """Settles a call whose lease is over: its worker is gone, or hangs. Raises `Unavailable` where the log can't be read."""
    lookup = call.lookup
    policy = policies.of(lookup.provider)
    age = (scheduler.now() - call.armed_at).total_seconds()
    fate = limiter.revoke(lookup.lane_id, policies.rate(policy), str(call.pk), age_seconds=age)
    if fate is Fate.NEVER_SENT:
        return_unsent(call, lookup)
        return
    longest = limiter.PATIENCE_SECONDS + call_seconds(policy)
    if age < longest:
        # It left, or may have: its worker may still be waiting for the answer.
        until = call.armed_at + timedelta(seconds=longest)
        Call.objects.filter(pk=call.pk, state=Call.State.ARMED).update(leased_until=until)
        return
    gone = Lost("outcome_unknown", "The call was sent, and its answer was lost; it may have been billed.")
    settle_unknown(call, lookup, policy, gone)


def price_of(lookup: Lookup, *, results: int) -> Decimal:
    """What a call with so many results costs, under the prices of the submit; nothing in the sandbox."""
    cost: Decimal = lookup.price_per_call + results * lookup.price_per_result
    return cost


def charge(lookup: Lookup, call: Call, cost: Decimal) -> None:
    if not cost:
        return
    charged = ledger.charge(lookup.reference, cost, key=str(call.pk))
    if charged != cost:
        log.error("lookup %s: the provider billed %s where %s was held", lookup.pk, cost, charged)
    Call.objects.filter(pk=call.pk).update(credits=charged)


def set_unknown(lookup: Lookup) -> None:
    most = price_of(lookup, results=lookup.page_size)
    if most:
        ledger.set_unknown(lookup.reference, most)


def _may_ask_again(lookup: Lookup, policy: Policy, call: Call) -> bool:
    """Once, under a second hold: no money is spent above what was held."""
    if policy.on_unknown != Policy.OnUnknown.RETRY or lookup.unknown_calls:
        return False
    most = price_of(lookup, results=lookup.page_size)
    return not most or ledger.hold_more(lookup.reference, most, key=str(call.pk))


def _settle_late(errand: Errand, cost: Decimal) -> None:
    """The sweep gave the call up as unknown before its answer came: now it is known what it cost."""
    late = Call.objects.filter(pk=errand.call.pk, state=Call.State.UNKNOWN)
    most = price_of(errand.lookup, results=errand.lookup.page_size)
    if most and late.update(state=Call.State.ANSWERED, credits=min(cost, most)):
        ledger.settle(errand.lookup.reference, amount=most, charged=min(cost, most), key=str(errand.call.pk))
