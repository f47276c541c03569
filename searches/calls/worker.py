"""Carries out visits to a lane: waits for a slot, claims whose turn it is, asks the adapter.

No transaction is open while the network is; what came is settled in one (`settlement`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection
from kombu.exceptions import OperationalError as KombuError

from accounts import vault
from accounts.models import Mode
from providers import http, limiter, policies, registry
from providers.contract import Answer, Question, Secret
from providers.failures import BadCredential, Failure, Garbled, Refused
from providers.keyring import sealing
from providers.limiter import KeyRests, Rate, Token, TokenRefused, Unavailable, Waiter
from providers.models import Credential, Policy
from searches import pictures
from searches.calls import settlement
from searches.lanes import pauses, queue, wakeups
from searches.lanes.queue import Errand
from searches.lifecycle import completion, live_updates
from searches.models import Lane, Lookup

log = logging.getLogger(__name__)

# What fetching a lookup and preparing its request may take: this long before its slot it is claimed. A slow lane can
# afford more of it, for a connection that is cold.
SHORTEST_LEAD_SECONDS, LONGEST_LEAD_SECONDS = 0.050, 0.150
# A slot further off than this is not waited for in a worker.
FARTHEST_SLOT_SECONDS = 5.0
# A worker stays with a lane for so long: to send, take and begin another message costs a third of a visit. A visit that has
# begun is finished first; then whatever waits in the queue has its turn, as a rule another lane.
STAY_SECONDS = 1.0
# A server that went is looked for so often meanwhile, and Redis for longer than the stay: without it no call leaves and no
# message comes, and the waiter that this one holds is given up by nobody else.
LOOK_SECONDS, LOOKS_FOR_STAYS = 0.1, 10


def run(lane_name: str, waiter_name: str, *, stay_seconds: float = 0.0) -> None:
    """Visits a lane, and again where there is more to do and the time to stay is not over; leaves word for others then."""
    lane = _lane(lane_name)
    policy = lane.policy_in_force
    waiter = wakeups.waiter(lane, policy, waiter_name)
    began = time.monotonic()
    stays_until, looks_until = began + stay_seconds, began + LOOKS_FOR_STAYS * stay_seconds
    while True:
        try:
            return _stay(lane, policy, waiter, stays_until)
        except Unavailable:
            if time.monotonic() >= looks_until:
                return log.warning("lane %s: Redis is unreachable, so no call leaves", lane.name)
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() >= stays_until:
                _give_up(waiter)
                raise
        except Exception:
            _give_up(waiter)
            raise
        time.sleep(LOOK_SECONDS)


def _stay(lane: Lane, policy: Policy, waiter: Waiter, stays_until: float) -> None:
    """One visit at least, under the policy that is in force at each."""
    wait = waiter.acquire()
    while wait is not None:
        more = visit(lane, policy, waiter, wait)
        if more is None or time.monotonic() >= stays_until:
            return wakeups.release(lane, waiter, more=more is not None)
        policy, waiter = more, wakeups.waiter(lane, more, waiter.name)
        wait = waiter.reacquire()
    return None


def _give_up(waiter: Waiter) -> None:
    """It would count as under way for as long as a call may take."""
    with suppress(Unavailable):
        waiter.release()


def _lane(name: str) -> Lane:
    """The connection was kept since the last task, and the database may have been restarted meanwhile."""
    lanes = Lane.objects.select_related("policy")
    try:
        return lanes.get(pk=name)
    except (OperationalError, InterfaceError):
        connection.close()
        return lanes.get(pk=name)


def visit(lane: Lane, policy: Policy, waiter: Waiter, wait: float) -> Policy | None:
    """Waits for the slot and uses it. The policy by now, where somebody should look again at once; else None."""
    if wait > FARTHEST_SLOT_SECONDS:
        return None
    slot_at = time.monotonic() + wait
    time.sleep(max(0.0, wait - lead_seconds(waiter.limiter.rate)))
    try:
        errand = queue.claim(lane.name, policy, lease=timedelta(seconds=settlement.armed_seconds(policy)))
    except queue.Held:
        return policy
    if errand is None:
        return None
    # The limit may have been changed while this one waited for its slot.
    policy = errand.policy
    waiter = wakeups.waiter(lane, policy, waiter.name)
    try:
        wakeups.start(lane, waiter, seconds=settlement.longest_seconds(policy), more=errand.more)
        if errand.begun:
            live_updates.announce(errand.lookup.search_id)
        token = Token(waiter=waiter, call=str(errand.call.pk), key=_resting_name(errand), slot_at=slot_at)
        answer = ask(errand, policy, token)
    except Failure as failure:
        came = failure
        _surely(lambda: settlement.failed(errand, policy, came))
    except (TokenRefused, Unavailable) as reason:
        log.info("lane %s: a slot passed unused (%s)", lane.name, type(reason).__name__)
        rests_for = reason.seconds if isinstance(reason, KeyRests) else 0.0
        _surely(lambda: settlement.unsent(errand.call, errand.lookup, rests_for=rests_for))
    else:
        _surely(lambda: settlement.answered(errand, answer))
    return policy if errand.more or queue.is_ready(lane.name) else None


def _resting_name(errand: Errand) -> str:
    credential = errand.lookup.credential
    return pauses.resting_name(credential) if credential is not None else ""


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
    http.transport()
    with suppress(Unavailable, Error, KombuError, OSError):
        # Finds nobody in a lane that is none; the database has planned a claim then, which takes it longer than to make one.
        queue.claim("", Policy(), lease=timedelta())
        limiter.connect()
        with current_app.producer_pool.acquire(block=True) as producer:
            producer.channel  # noqa: B018 - opened on first use
    connection.close()


def ask(errand: Errand, policy: Policy, token: Token) -> Answer:
    """Raises a `Failure`, `TokenRefused` or `Unavailable`, and nothing else: what is our own mistake fails one lookup only."""
    lookup = errand.lookup
    adapter = registry.adapter(lookup.source)
    question, secret = _question(errand), _secret(lookup)
    try:
        return adapter.ask(
            question, secret=secret, base_url=_base_url(lookup), client=policies.client(policy), token=token
        )
    except (Failure, TokenRefused, Unavailable):
        raise
    except Exception as error:
        # Its text could quote the answer or the request, so only its kind is kept.
        log.error("lookup %s: the %s adapter raised %s", lookup.pk, adapter.provider, type(error).__name__)
        # Where nothing left, nothing can have been billed.
        status = None if token.sent_at is None else 200
        raise Garbled(
            "internal_error", "The provider's answer could not be handled; we were told.", status=status
        ) from None
    finally:
        errand.call.finished_at = errand.instant(time.monotonic())
        if token.sent_at is not None:
            errand.call.sent_at = errand.instant(token.sent_at)


def _question(errand: Errand) -> Question:
    lookup = errand.lookup
    try:
        if errand.rendering is None:
            raise FileNotFoundError
        picture = pictures.read(errand.rendering)
    except OSError:
        raise Refused("picture_gone", "The picture is no longer stored; send it again.") from None
    return Question(picture=picture, parameters=lookup.parameters, page=errand.call.page, page_size=lookup.page_size)


def _secret(lookup: Lookup) -> Secret:
    if lookup.search.mode == Mode.TEST:
        return _sandbox_key(lookup)
    if lookup.credential is None:
        raise completion.credential_deleted()
    return _opened(lookup.credential)


def _sandbox_key(lookup: Lookup) -> Secret:
    """The sandbox takes any key and limits each by itself, so each tenant gets one, and each credential that is named. Of
    what tenants store it is sent magic keys alone: the others are for the providers.
    """
    if lookup.credential is None:
        return Secret(value=f"sandbox-{lookup.tenant_id}")
    stored = _opened(lookup.credential)
    if sealing.is_magic(stored):
        return stored
    return Secret(value=f"sandbox-{lookup.tenant_id}-{lookup.credential.pk}")


def _opened(credential: Credential) -> Secret:
    try:
        return sealing.secret_of(credential)
    except vault.Unopenable:
        raise BadCredential("credential_unreadable", "The stored key cannot be opened and needs re-entry.") from None


def _base_url(lookup: Lookup) -> str:
    adapter = registry.adapter(lookup.source)
    if lookup.search.mode == Mode.TEST:
        return f"{settings.SANDBOX_URL}{adapter.sandbox_path}"
    return registry.base_url(adapter)
