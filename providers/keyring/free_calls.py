"""Makes the calls that a provider answers for nothing: a key's account, its dictionaries.

Free calls have a lane of their own beside that of the searches, at the same rate, so that no search waits for them. They
leave no row. Somebody waits for the answer, so each wait is a few seconds at most; a call that could not be made by then
fails with `Unreachable`, as if the provider were. All tenants share the lane. They have turns in it (`turns`), a 429 stops
only the key that was called with, and no tenant takes more than half of a process' slots.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

from accounts.models import Mode, Tenant
from accounts.web.bulkhead import Bulkhead, Busy
from providers import limiter, policies, registry
from providers.contract import Access, Secret
from providers.failures import Failure, Garbled, Lost, Throttled, Unreachable
from providers.keyring import sealing
from providers.keyring.turns import Turn
from providers.limiter import Token, TokenRefused, Unavailable, Waiter
from providers.models import Credential, Policy

log = logging.getLogger(__name__)

# A call waits this long for its slot, for a connection and for the answer, because somebody waits for it.
SLOT_SECONDS, CONNECT_SECONDS, TOTAL_SECONDS = 3.0, 3.0, 5.0
# A call looks again this soon where enough others wait for slots.
LOOK_SECONDS = 0.1
# A call opens its connection this long before its slot.
LEAD_SECONDS = 0.1
# A key rests this long after a 429 that does not say how long, and no longer than the second number: a person asks again.
REST_SECONDS, LONGEST_REST_SECONDS = 2.0, 60.0

# The most free calls at once in one process. Each holds one of the web server's threads for seconds.
MOST_AT_ONCE = 6
slots = Bulkhead(lambda: MOST_AT_ONCE, "Too many such calls are made right now; ask again in a few seconds.")

T = TypeVar("T")
FreeCall = Callable[[Access], T]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A key, the provider that it is for, and the lane. `account`: a name of the key that does not reveal it."""

    tenant_id: UUID
    account: str
    provider: str
    secret: Secret
    base_url: str
    lane: str
    mode: Mode = Mode.LIVE


def with_key_of(credential: Credential) -> Caller:
    """Returns the caller of the provider itself, with a stored key. Raises `vault.Unopenable`."""
    provider = credential.provider
    account = f"free:{provider}:{credential.fingerprint[:32]}"
    return Caller(
        tenant_id=credential.tenant_id,
        account=account,
        provider=provider,
        secret=sealing.secret_of(credential),
        base_url=registry.base_url(registry.PROVIDERS[provider]),
        lane=account if policies.of(provider).scope == Policy.Scope.ACCOUNT else f"free:{provider}",
    )


def sandboxed(provider: str, tenant: Tenant) -> Caller:
    """Returns the caller of the sandbox, which takes any key, for a test key: on a lane of the tenant's own, as its searches."""
    account = f"free:{Mode.TEST}:{provider}:{tenant.pk}"
    return Caller(
        tenant_id=tenant.pk,
        account=account,
        provider=provider,
        secret=Secret(value=f"sandbox-{tenant.pk}"),
        base_url=registry.base_url(registry.PROVIDERS[provider], sandboxed=True),
        lane=account,
        mode=Mode.TEST,
    )


def make(call: FreeCall[T], caller: Caller) -> T:
    """Makes a call in its tenant's turn, and returns its answer. Raises a `Failure` and nothing else."""
    policy = policies.in_force(policies.of(caller.provider), caller.mode)
    if policy.paused:
        raise Unreachable("paused", f"The operators have paused calls to {caller.provider}; ask again later.")
    waiter = policies.lane_limiter(caller.lane, policy).waiter(str(uuid7()))
    try:
        with slots.acquire(caller.tenant_id):
            if seconds := limiter.account_rests_for(caller.account):
                detail = f"{caller.provider} asked this key to wait; ask again in {ceil(seconds)} s."
                raise Unreachable("busy", detail)
            return _in_turn(call, caller, policy, waiter)
    except Lost as failure:
        # A free call cannot have been billed.
        raise Lost("no_answer", failure.detail) from None
    except Throttled as failure:
        _rest(caller, failure, policy.throttled_seconds)
        raise
    except Busy as busy:
        raise Unreachable("busy", busy.detail) from None
    except TokenRefused:
        raise _busy(caller.provider) from None
    except Unavailable:
        raise Unreachable("not_ready", "Redis cannot be reached, and without it no call leaves.") from None


def _in_turn(call: FreeCall[T], caller: Caller, policy: Policy, waiter: Waiter) -> T:
    usual = policies.client(policy)
    connect, total = min(CONNECT_SECONDS, usual.connect_seconds), min(TOTAL_SECONDS, usual.total_seconds)
    turn = Turn(lane=caller.lane, tenant_id=caller.tenant_id, call=waiter.name)
    if not _wait_for_slot(waiter, turn):
        raise _busy(caller.provider)
    token = Token(waiter=waiter, call=f"free:{uuid7()}", key=caller.account)
    try:
        waiter.start(seconds=limiter.PATIENCE_SECONDS + connect + total)
        client = replace(usual, connect_seconds=connect, total_seconds=total)
        return call(Access(secret=caller.secret, base_url=caller.base_url, client=client, token=token))
    except Throttled:
        _unless_redis_is_down(lambda: _learn(caller, token))
        raise
    except (Failure, TokenRefused, Unavailable):
        raise
    except Exception as error:
        # The error's text could quote the answer or the key, so only its class is logged.
        log.error("a free call to %s raised %s", caller.provider, type(error).__name__)
        raise Garbled("internal_error", "The provider's answer could not be handled; we were told.") from None
    finally:
        _release(waiter)


def _learn(caller: Caller, token: Token) -> None:
    """Reports a refusal to the limiter, for it may be due to jitter. As in searches, one key alone teaches little."""
    is_shared = caller.lane != caller.account
    key, tenant = (caller.account, str(caller.tenant_id)) if is_shared else ("", "")
    token.waiter.limiter.record_refusal(token.call, key=key, tenant=tenant)


def _wait_for_slot(waiter: Waiter, turn: Turn) -> bool:
    """Waits until shortly before the waiter's slot. Returns False where there is none within the time."""
    deadline = time.monotonic() + SLOT_SECONDS
    try:
        while (remaining := deadline - time.monotonic()) > 0:
            wait = waiter.acquire() if turn.has_come() else None
            if wait is None:
                time.sleep(min(LOOK_SECONDS, remaining))
            elif wait <= remaining:
                turn.pass_on()
                time.sleep(max(0.0, wait - LEAD_SECONDS))
                return True
            else:
                break
    finally:
        _unless_redis_is_down(turn.end)
    _release(waiter)
    return False


def _release(waiter: Waiter) -> None:
    _unless_redis_is_down(waiter.release)


def _rest(caller: Caller, failure: Throttled, usual: int) -> None:
    asked = failure.seconds_to_wait(usual)
    seconds = min(REST_SECONDS if asked is None else asked, LONGEST_REST_SECONDS)
    _unless_redis_is_down(lambda: limiter.rest_account(caller.account, seconds=seconds))


def _unless_redis_is_down(operation: Callable[[], object]) -> None:
    try:
        operation()
    except Unavailable:
        log.info("a lane of free calls was not updated: Redis is unreachable; its waiters end by themselves")


def _busy(provider: str) -> Unreachable:
    return Unreachable("busy", f"Too many ask {provider} at once; ask again in a few seconds.")
