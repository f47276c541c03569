"""Delivers events to endpoints: claims due deliveries under a lease, sends them, and settles the outcome.

Delivers at least once: if a worker dies, its deliveries are due again when their leases end, with the same ids and bodies. No
transaction is open during a request.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, F, When
from django.db.models.functions import Coalesce, Greatest, Now

from accounts import vault
from accounts.models import Attempt, Delivery, Endpoint, EventType
from accounts.net import outbound, public_addresses
from accounts.net.failures import OutboundFailure, TimedOut
from accounts.webhooks import endpoints, events, retry_schedule, signing
from accounts.webhooks.delivery_limits import Crowded, Visit

log = logging.getLogger(__name__)

CLAIM = (Path(__file__).parent / "claim.sql").read_text()
# The advisory lock of claims. One claim at a time, over all machines: it counts what an endpoint has under way, and adds to it.
CLAIMING = 7_301_201
# Deliveries at once to a quick endpoint, and to a slow one.
AT_ONCE, AT_ONCE_SLOW = 4, 1
# A delivery that takes longer makes its endpoint slow, until one takes less.
SLOW_SECONDS = 2.0
LONGEST_SECONDS = 15.0
LEASE = timedelta(seconds=LONGEST_SECONDS + 10)
ANSWER_BYTES = 1024
GIVEN_UP_AFTER = timedelta(days=5)
# Longer than the longest pause between tries. After so long without a failure an endpoint counts as failing anew.
FORGOTTEN_AFTER = timedelta(days=2)
# The causes that say nothing about the endpoint.
OWN_CAUSES = frozenset({"internal_error", "secret_unreadable", "dns_unavailable"})
# A test event has few tries: a person watches the outcome, and can send another.
TRIES_OF_A_TEST = 3
# The attempts of a delivery that are kept. Resent again and again, it would have an endless log.
ATTEMPTS_KEPT = 30
# The columns that identify an attempt.
IDENTITY = ("delivery", "number")


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """A delivery under a lease, with its event and its endpoint as they were at the claim."""

    delivery: Delivery
    claimed_at: datetime
    clock: float = field(default_factory=time.monotonic)

    def now(self) -> datetime:
        """Returns the time by the database's clock. This machine's may be minutes off, which receivers refuse."""
        return self.claimed_at + timedelta(seconds=time.monotonic() - self.clock)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of an attempt. `cause`: empty if it arrived. `asked`: the seconds for which the endpoint asks for a pause."""

    cause: str = ""
    detail: str = ""
    status: int | None = None
    answer: str = ""
    asked: float = 0.0


@transaction.atomic
def claim(*, most: int, most_slow: int) -> list[ClaimedDelivery]:
    """Claims due deliveries: at most `most`, of which at most `most_slow` to slow endpoints."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp() FROM pg_advisory_xact_lock(%s)", [CLAIMING])
        [now] = cursor.fetchone()
        limits = _limits() | {"most": most, "most_slow": most_slow}
        cursor.execute(CLAIM, {**limits, "now": now, "until": now + LEASE})
        lapsed = dict(cursor.fetchall())
    taken = Delivery.objects.select_related("event", "endpoint").filter(pk__in=lapsed)
    batch = [ClaimedDelivery(delivery=delivery, claimed_at=now) for delivery in taken]
    _note_interrupted([claimed for claimed in batch if lapsed[claimed.delivery.pk]])
    return batch


def _limits() -> dict[str, int]:
    """Returns the bounds of a claim.

    One tenant has a quarter of a process's threads, so that none has all, and three quarters of those may wait for its slow
    endpoints. One tenant has half of the deliveries that one host may have under way.
    """
    of_a_target = settings.WEBHOOK_TARGET_AT_ONCE
    of_a_tenant = max(AT_ONCE, settings.WEBHOOK_THREADS // 4)
    return {
        "at_once": AT_ONCE,
        "at_once_slow": AT_ONCE_SLOW,
        "of_a_tenant": of_a_tenant,
        "slow_of_a_tenant": max(1, of_a_tenant * 3 // 4),
        "of_a_target": of_a_target,
        "of_a_tenants_target": max(1, of_a_target // 2),
        "slow_of_a_target": max(1, of_a_target // 2),
        "slow_of_a_tenants_target": max(1, of_a_target // 4),
    }


def _note_interrupted(batch: list[ClaimedDelivery]) -> None:
    """Notes an attempt that was interrupted: the claim before ended without an outcome."""
    detail = "Our process ended before the answer came; it may have arrived."
    Attempt.objects.bulk_create(
        (
            Attempt(
                delivery=claimed.delivery,
                number=claimed.delivery.attempt_count - 1,
                started_at=claimed.claimed_at - LEASE,
                duration_ms=0,
                cause="interrupted",
                detail=detail,
            )
            for claimed in batch
        ),
        ignore_conflicts=True,
    )


def deliver(claimed: ClaimedDelivery) -> None:
    """Sends a delivery, and settles the outcome. Puts it back if its address takes no more at the moment."""
    started_at, begun = claimed.now(), time.monotonic()
    try:
        outcome = attempt(claimed.delivery, at=started_at)
    except Crowded as crowded:
        _put_back(claimed, crowded.seconds)
        return
    settle(claimed, outcome, started_at=started_at, seconds=time.monotonic() - begun)


def _put_back(claimed: ClaimedDelivery, seconds: float) -> None:
    """Makes a delivery due after so long, as if it had not been claimed."""
    mine = Delivery.objects.filter(pk=claimed.delivery.pk, leased_until=claimed.delivery.leased_until)
    mine.update(
        next_attempt_at=Now() + timedelta(seconds=seconds),
        leased_until=None,
        tries=Greatest(F("tries") - 1, 0),
        attempt_count=F("attempt_count") - 1,
    )


def attempt(delivery: Delivery, *, at: datetime) -> Outcome:
    """Sends a delivery once. Raises `Crowded` if its address takes no more at the moment."""
    visit = Visit(delivery=delivery)
    try:
        request = _request(delivery, at)
        return _answered(
            outbound.send(request, most_bytes=ANSWER_BYTES, seconds=LONGEST_SECONDS, admit=visit.enter), at
        )
    except Crowded:
        raise
    except TimedOut as failure:
        return Outcome(cause=failure.code, detail=f"No answer came within {LONGEST_SECONDS:g} seconds.")
    except OutboundFailure as failure:
        return Outcome(cause=failure.code, detail=failure.detail)
    except vault.Unopenable:
        return Outcome(cause="secret_unreadable", detail="The signing secret cannot be opened any more; rotate it.")
    except Exception as error:
        # The text of the error could quote the request, so only its type is logged.
        log.error("delivery %s: sending it raised %s", delivery.pk, type(error).__name__)
        return Outcome(cause="internal_error", detail="It could not be sent; we were notified.")
    finally:
        visit.leave()


def _request(delivery: Delivery, at: datetime) -> httpx.Request:
    body = delivery.event.body
    secrets = endpoints.secrets_of(delivery.endpoint, at=at)
    headers = signing.headers(str(delivery.event_id), body, at=at, secrets=secrets)
    headers["Content-Type"] = "application/json"
    return httpx.Request("POST", public_addresses.parse(delivery.endpoint.url), headers=headers, content=body.encode())


def _answered(reply: outbound.OutboundReply, now: datetime) -> Outcome:
    """Returns the outcome of an answer. Only 2xx means that the delivery was received."""
    # PostgreSQL keeps no NUL.
    answer = reply.content.decode(errors="replace").replace("\0", "\ufffd")
    if 200 <= reply.status < 300:
        return Outcome(status=reply.status, answer=answer)
    asked = retry_schedule.asked(reply.headers, now=now)
    if 300 <= reply.status < 400:
        cause = "redirected"
        detail = f"The endpoint redirects ({reply.in_words}), which is not followed; change its URL to the final one."
    else:
        cause = "bad_status"
        detail = f"The endpoint answered {reply.in_words}; what it has received it must answer with 2xx."
    return Outcome(cause=cause, detail=detail, status=reply.status, answer=answer, asked=asked)


@transaction.atomic
def settle(claimed: ClaimedDelivery, outcome: Outcome, *, started_at: datetime, seconds: float) -> None:
    """Notes the attempt, and updates the delivery and its endpoint. Does nothing if they were deleted meanwhile."""
    # Locks the endpoint before the delivery, as deleting does.
    if not events.key_shared(Endpoint.objects.filter(pk=claimed.delivery.endpoint_id)):
        return
    delivery = Delivery.objects.select_for_update(no_key=True).filter(pk=claimed.delivery.pk).first()
    if delivery is None:
        return
    _note(claimed, outcome, started_at, seconds)
    gone = _judge(claimed.delivery.endpoint, outcome, seconds)
    if not outcome.cause:
        _end(delivery, Delivery.State.DELIVERED)
    elif delivery.leased_until == claimed.delivery.leased_until:
        is_test = claimed.delivery.event.type == EventType.PING
        _try_again(delivery, outcome, gone, most=TRIES_OF_A_TEST if is_test else None)


def _note(claimed: ClaimedDelivery, outcome: Outcome, started_at: datetime, seconds: float) -> None:
    """Writes the attempt, over the note of an interruption if there is one, and deletes the oldest beyond `ATTEMPTS_KEPT`."""
    noted = Attempt(
        delivery=claimed.delivery,
        number=claimed.delivery.attempt_count,
        started_at=started_at,
        duration_ms=round(1000 * seconds),
        status=outcome.status,
        cause=outcome.cause,
        detail=outcome.detail[:500],
        answer=outcome.answer,
    )
    written = [field.name for field in Attempt._meta.concrete_fields if field.name not in ("id", *IDENTITY)]
    Attempt.objects.bulk_create([noted], update_conflicts=True, unique_fields=IDENTITY, update_fields=written)
    Attempt.objects.filter(delivery=noted.delivery, number__lte=noted.number - ATTEMPTS_KEPT).delete()


def _try_again(delivery: Delivery, outcome: Outcome, gone: bool, *, most: int | None) -> None:
    pause = retry_schedule.pause(delivery.tries, asked=outcome.asked, most=most)
    if pause is None or gone:
        _end(delivery, Delivery.State.FAILED)
    else:
        Delivery.objects.filter(pk=delivery.pk).update(
            next_attempt_at=Now() + timedelta(seconds=pause), leased_until=None
        )


def _end(delivery: Delivery, state: Delivery.State) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(
        state=state, next_attempt_at=None, leased_until=None, finished_at=Now()
    )


def _judge(endpoint: Endpoint, outcome: Outcome, seconds: float) -> bool:
    """Updates the endpoint after an attempt, and disables it after days of failures or on 410. Returns whether it was 410.

    Neither failures of a former URL nor our own count against the endpoint.
    """
    mine = Endpoint.objects.filter(pk=endpoint.pk, url=endpoint.url)
    slow = seconds > SLOW_SECONDS
    if not outcome.cause:
        settled = mine.exclude(slow=slow, failing_since=None, quiet_until=None)
        settled.update(slow=slow, failing_since=None, quiet_until=None)
        return False
    # The update locks the row, with its present URL.
    is_own = outcome.cause in OWN_CAUSES
    if not mine.update(slow=slow, **({} if is_own else _failed(outcome))) or is_own:
        return False
    gone = outcome.status == HTTPStatus.GONE
    if gone:
        endpoints.disable(endpoint, "410 Gone")
    elif mine.filter(failing_since__lte=Now() - GIVEN_UP_AFTER).exists():
        endpoints.disable(endpoint, f"failed for {GIVEN_UP_AFTER.days} days")
    return gone


def _failed(outcome: Outcome) -> dict[str, Any]:
    still = When(last_failed_at__gt=Now() - FORGOTTEN_AFTER, then=Coalesce("failing_since", Now()))
    values: dict[str, Any] = {"failing_since": Case(still, default=Now()), "last_failed_at": Now()}
    if outcome.asked:
        values["quiet_until"] = Now() + timedelta(seconds=outcome.asked)
    return values
