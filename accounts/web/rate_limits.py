"""Limits how often a tenant may ask for something: buckets in Redis, for all web processes together.

A bucket is one number, the instant at which it is full again (the generic cell rate algorithm), by Redis' own clock. Several
buckets are charged together or not at all, so that a refused request costs nothing. The header fields `RateLimit` and
`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11) tell how many requests are left, or which bucket refused.
A caller that spreads what is left over the seconds that `RateLimit` names sends at the average rate, and is not refused.

Without Redis, requests are accepted, because the API must take searches while Redis is down. Everything else is refused, because
it makes calls to third parties. Key checks need no rule of their own then: without Redis the limiter lets no call leave.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from uuid import UUID

import redis
from django.conf import settings

from accounts import redis_client
from accounts.models import Tenant
from accounts.web.exceptions import ServiceUnavailable, TooManyRequests

log = logging.getLogger(__name__)

# Requests of so many seconds may be sent at once.
BURST_SECONDS = 10
MINUTE_SECONDS, HOUR_SECONDS = 60, 3600
# Deliveries that one tenant may resend to one host in an hour, by ranges: as many as two ranges may hold.
MOST_RESENT = 20_000
# Longer than a working Redis takes. A request waits for it, and is accepted without it.
PATIENCE_SECONDS = 0.3
# A refusal of a request is repeated for so long. It told the caller to wait for a second.
REPEATED_SECONDS = 0.2
KEY_PREFIX = redis_client.keys("rate:")
NOT_COUNTED = "How often this is asked cannot be counted right now; send the request again in a moment."
# Keys: the buckets. Arguments: the units to charge, and for each bucket the microseconds that one unit takes to come back, the
# most units it holds, and 1 if it takes no more than the next one has left. Answer: the number of the bucket that refuses, or 0;
# then for each its units left and the microseconds until it is full or, where it refuses, until it would accept.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local refused, states, full_at = 0, {}, {}
local function used(i)
    return math.max((tonumber(redis.call('GET', KEYS[i])) or 0) - now, 0)
end
for i, key in ipairs(KEYS) do
    local interval, most = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
    local spent = used(i) + interval * tonumber(ARGV[1])
    local room = most * interval - spent
    full_at[i] = now + spent
    if ARGV[3 * i + 1] == '1' then
        -- Both come closer to each other while time passes.
        room = math.min(room, (most * interval - used(i + 1) - spent) / 2)
    end
    states[2 * i - 1] = math.max(0, math.floor(room / interval))
    states[2 * i] = math.ceil(room < 0 and -room or spent)
    if room < 0 and refused == 0 then
        refused = i
    end
end
if refused == 0 then
    for i, key in ipairs(KEYS) do
        redis.call('SET', key, string.format('%.0f', full_at[i]), 'PX', math.ceil((full_at[i] - now) / 1000))
    end
end
return {refused, unpack(states)}
"""

cooldown = redis_client.Cooldown()
# The last refusals of requests in this process, by tenant.
_refused: dict[str, tuple[float, TooManyRequests]] = {}


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A limit of `most` at once, and of `most` in `seconds` on average. `rule`: the limit in a sentence for the tenant.

    `part_of_next`: the bucket takes no more than what the next bucket, which is as large, has left.
    """

    key: str
    most: int
    rule: str
    seconds: int = MINUTE_SECONDS
    part_of_next: bool = False

    @property
    def interval_us(self) -> int:
        return max(1, round(self.seconds * 1_000_000 / self.most))


def request(tenant: Tenant) -> dict[str, str]:
    """Counts a request, and returns the header fields of its answer. Raises `TooManyRequests`.

    Accepts without counting, and returns no fields, where Redis is down.
    """
    if cooldown.active:
        return {}
    most = tenant.limit("requests_per_second")
    bucket = Bucket(
        key=f"requests:{tenant.pk}",
        most=most * BURST_SECONDS,
        seconds=BURST_SECONDS,
        rule=f"You may send {most:,} requests a second.",
    )
    try:
        return _spend([bucket], redis_client.of(settings.REDIS_URL, seconds=PATIENCE_SECONDS))
    except TooManyRequests as refusal:
        # The exception that is raised has a traceback, which would keep the request in memory.
        again = TooManyRequests(str(refusal.detail), wait=refusal.wait, fields=refusal.fields)
        _refused[str(tenant.pk)] = time.monotonic() + REPEATED_SECONDS, again
        raise
    except redis.RedisError as error:
        cooldown.start()
        log.warning("requests are not counted for %s s: %s", cooldown.seconds, type(error).__name__)
        return {}


def repeated(tenant_id: str) -> TooManyRequests | None:
    """Returns the refusal that this tenant's request gets because one was refused a moment ago; None without one.

    A caller that goes on without a pause costs no query and nothing in Redis meanwhile.
    """
    until, refusal = _refused.get(tenant_id, (0.0, None))
    if refusal is not None and time.monotonic() > until:
        _refused.pop(tenant_id, None)
        return None
    return refusal


def key_check(tenant: Tenant) -> None:
    """Counts a provider key that is stored, replaced, verified or reconciled. Raises `TooManyRequests`.

    Accepts where Redis is down: the key is stored then, and no check of it leaves (`providers.keyring.free_calls`).
    """
    most = tenant.limit("key_checks_per_minute")
    rule = f"You may store, replace, verify or reconcile {most:,} provider keys a minute."
    with suppress(redis.RedisError):
        _spend([Bucket(key=f"key_checks:{tenant.pk}", most=most, rule=rule)], redis_client.of(settings.REDIS_URL))


def test_event(tenant: Tenant, target: str) -> None:
    """Counts a test event to this host. Raises `TooManyRequests`, or `ServiceUnavailable` where Redis is down."""
    _to_target(tenant, target, "test_events", "You may send {:,} test events a minute.")


def test_event_at(network: str) -> None:
    """Counts a test event that is about to leave for a network. Raises `TooManyRequests`, or `redis.RedisError`."""
    most = settings.WEBHOOK_TARGET_REQUESTS_PER_MINUTE
    rule = f"One address takes {most:,} test events a minute."
    _spend([Bucket(key=f"address:{network}", most=most, rule=rule)], redis_client.of(settings.REDIS_URL))


def failing_at(network: str, tenant_id: UUID) -> None:
    """Counts a delivery to an endpoint that fails, before it leaves for a network. Raises `TooManyRequests`, or
    `redis.RedisError`.
    """
    most = settings.WEBHOOK_TARGET_FAILURES_PER_MINUTE
    rule = f"One address takes {most:,} deliveries a minute to endpoints that fail."
    part = Bucket(key=f"failing:{tenant_id}:{network}", most=most, rule=rule, part_of_next=True)
    shared = Bucket(key=f"failing:{network}", most=most, rule=rule)
    _spend([part, shared], redis_client.of(settings.REDIS_URL))


def redelivery(tenant: Tenant, target: str) -> None:
    """Counts a request for deliveries to this host. Raises `TooManyRequests`, or `ServiceUnavailable` where Redis is down."""
    _to_target(tenant, target, "redeliveries", "You may ask for {:,} redeliveries a minute.")


def probe(name: str) -> None:
    """Counts one unit in a bucket of that name. Raises `redis.RedisError` where Redis refuses what counting takes."""
    _spend([Bucket(key=name, most=1_000_000, seconds=1, rule="")], redis_client.of(settings.REDIS_URL))


def resending(tenant: Tenant, target: str, count: int) -> None:
    """Counts deliveries that a range sends to this host. Raises `TooManyRequests`, or `ServiceUnavailable`."""
    if not count:
        return
    rule = f"You may have {MOST_RESENT:,} deliveries an hour sent to one host once more."
    closed([Bucket(key=f"resent:{tenant.pk}:{target}", most=MOST_RESENT, seconds=HOUR_SECONDS, rule=rule)], cost=count)


def _to_target(tenant: Tenant, target: str, name: str, rule: str) -> None:
    """Charges the tenant, its part of the host, and the host over all tenants' endpoints: the host's owner may be no tenant.

    A tenant is let in while the host has more left than the tenant has taken, as in `accounts.web.bulkhead`.
    """
    most, of_target = tenant.limit(f"{name}_per_minute"), settings.WEBHOOK_TARGET_REQUESTS_PER_MINUTE
    of_all = f"One host takes {of_target:,} test events and redeliveries a minute"
    of_one = f"{of_all}, of which some is left to other tenants."
    own = Bucket(key=f"{name}:{tenant.pk}", most=most, rule=rule.format(most))
    part = Bucket(key=f"part:{tenant.pk}:{target}", most=of_target, rule=of_one, part_of_next=True)
    closed([own, part, Bucket(key=f"target:{target}", most=of_target, rule=f"{of_all}.")])


def forget(client: redis.Redis, *buckets: Bucket) -> None:
    """Fills buckets again."""
    client.delete(*(f"{KEY_PREFIX}{bucket.key}" for bucket in buckets))


def closed(buckets: Sequence[Bucket], *, cost: int = 1) -> None:
    """Charges the buckets. Raises `TooManyRequests`, or `ServiceUnavailable` where Redis is down."""
    try:
        _spend(buckets, redis_client.of(settings.REDIS_URL), cost=cost)
    except redis.RedisError:
        raise ServiceUnavailable(NOT_COUNTED) from None


def _spend(buckets: Sequence[Bucket], client: redis.Redis, *, cost: int = 1) -> dict[str, str]:
    """Charges so many units to each, and returns the first bucket's state as header fields. Raises `TooManyRequests`."""
    keys = [f"{KEY_PREFIX}{bucket.key}" for bucket in buckets]
    arguments = [cost]
    for bucket in buckets:
        arguments += [bucket.interval_us, bucket.most, int(bucket.part_of_next)]
    refused, *numbers = client.register_script(SCRIPT)(keys=keys, args=arguments)
    index = refused - 1 if refused else 0
    bucket, remaining = buckets[index], numbers[2 * index]
    wait = max(1, ceil(numbers[2 * index + 1] / 1_000_000)) if refused else 0
    name = bucket.key.partition(":")[0]
    fields = {
        "RateLimit-Policy": f'"{name}";q={bucket.most};w={bucket.seconds}',
        "RateLimit": f'"{name}";r={remaining};t={wait or max(1, ceil(remaining * bucket.interval_us / 1_000_000))}',
    }
    if refused:
        raise TooManyRequests(f"{bucket.rule} Ask again in {wait} s.", wait=wait, fields=fields)
    return fields
