"""Bounds the deliveries under way at one network address, over all processes and tenants, whatever names lead there.

Names are free, so that twenty of them may lead to one server, which may belong to none of our tenants. The bound is checked
once a name is resolved and its address checked. A delivery that finds no slot is put back for a moment, and that counts as no
try. Quick and slow endpoints are counted separately, and one tenant has half, as in `claim.sql`.

An endpoint that fails may be a stranger's server, which wants no deliveries. Deliveries to such endpoints at one address have a
rate, too, until one of them is answered with 2xx.

Which addresses may be asked at all is decided in `accounts.net.public_addresses`. Without Redis this bound is not applied. The
bounds by host name are those of the claim (`claim.sql`), and still hold.
"""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import redis
from django.conf import settings

from accounts import redis_client
from accounts.models import Delivery, EventType
from accounts.net.networks import network_of
from accounts.web import rate_limits
from accounts.web.exceptions import TooManyRequests

log = logging.getLogger(__name__)

KEY_PREFIX = redis_client.keys("destination:")
# Seconds for which a dead process keeps a slot: longer than a delivery lasts (`LONGEST_SECONDS`).
KEPT_SECONDS = 20
# Seconds after which a delivery that found no slot is due again: about as long as a quick delivery lasts.
LEAST_AGAIN_SECONDS, MOST_AGAIN_SECONDS = 1.0, 3.0
# Key: the deliveries under way at an address, by the instant at which their slot ends. Arguments: the delivery, the prefix of its
# tenant's deliveries, the most of all tenants, the most of this one, the milliseconds for which a slot is kept.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local under_way, of_tenant = redis.call('ZRANGE', KEYS[1], 0, -1), 0
for _, each in ipairs(under_way) do
    if string.sub(each, 1, #ARGV[2]) == ARGV[2] then
        of_tenant = of_tenant + 1
    end
end
if #under_way >= tonumber(ARGV[3]) or of_tenant >= tonumber(ARGV[4]) then
    return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[5], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
"""

cooldown = redis_client.Cooldown()


class Crowded(Exception):
    """The address has no free slot. `seconds`: after which to try again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds:.1f} s")
        self.seconds = seconds


@dataclass(kw_only=True)
class Visit:
    """The slots of one attempt at the addresses that it connects to."""

    delivery: Delivery
    taken: list[str] = field(default_factory=list)

    def enter(self, address: str) -> None:
        """Acquires a slot at an address, before it is connected to. Raises `Crowded`."""
        if cooldown.active:
            return
        try:
            self._enter(network_of(address))
        except redis.RedisError as error:
            cooldown.start()
            log.warning(
                "deliveries at one address are not counted for %s s: %s", cooldown.seconds, type(error).__name__
            )

    def leave(self) -> None:
        """Releases the slots. A slot that Redis cannot release ends after `KEPT_SECONDS`."""
        with suppress(redis.RedisError):
            while self.taken:
                _client().zrem(self.taken.pop(), self._name)

    @property
    def _name(self) -> str:
        return f"{self.delivery.endpoint.tenant_id}:{self.delivery.pk}:{self.delivery.attempt_count}"

    def _enter(self, network: str) -> None:
        slow = self.delivery.endpoint.slow
        key = f"{KEY_PREFIX}{'slow' if slow else 'quick'}:{network}"
        most = settings.WEBHOOK_TARGET_AT_ONCE // (2 if slow else 1)
        parts = [max(1, most), max(1, most // 2), KEPT_SECONDS * 1000]
        if not _take(key, self._name, f"{self.delivery.endpoint.tenant_id}:", *parts):
            raise Crowded(random.uniform(LEAST_AGAIN_SECONDS, MOST_AGAIN_SECONDS))
        self.taken.append(key)
        try:
            if self.delivery.event.type == EventType.PING:
                rate_limits.test_event_at(network)
            if self.delivery.endpoint.failing_since is not None:
                rate_limits.failing_at(network, self.delivery.endpoint.tenant_id)
        except TooManyRequests as refused:
            raise Crowded(refused.wait) from None


def probe(name: str) -> None:
    """Acquires a slot under that name. Raises `redis.RedisError` if Redis refuses a command that this needs."""
    _take(f"{KEY_PREFIX}{name}", name, name, 1_000, 1_000, 1_000)


def _take(key: str, *arguments: Any) -> bool:
    return bool(_client().register_script(SCRIPT)(keys=[key], args=list(arguments)))


def _client() -> redis.Redis:
    return redis_client.of(settings.REDIS_URL)
