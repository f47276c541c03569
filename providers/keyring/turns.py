"""Gives the tenants that wait for one lane their turns, one after the other, over all processes.

The lane of free calls is everybody's, and whoever asks for most slots would get most of them. A tenant therefore has one call
in line or waiting for its slot at a time, and comes to the end of the line with its next one. Redis keeps the line, by its own
clock. A process that dies is forgotten after `STALE_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis
from django.conf import settings

from accounts import redis_client
from providers.limiter import Unavailable

# Longer than a call waits for its slot, during which it says nothing.
STALE_SECONDS = 5.0
KEY_PREFIX = redis_client.keys("turns:")
# Keys: the tenants in line by the instant at which they came, the call of each tenant, when each was last heard of.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local operation, tenant, call, stale_us = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local function forget(gone)
    redis.call('ZREM', KEYS[1], gone)
    redis.call('HDEL', KEYS[2], gone)
    redis.call('ZREM', KEYS[3], gone)
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - stale_us)) do
    forget(gone)
end
local present = redis.call('HGET', KEYS[2], tenant)
if present and present ~= call then
    return 0
end
if operation == 'stand' then
    if not present then
        redis.call('HSET', KEYS[2], tenant, call)
        redis.call('ZADD', KEYS[1], now, tenant)
    end
    redis.call('ZADD', KEYS[3], now, tenant)
    for _, key in ipairs(KEYS) do
        redis.call('PEXPIRE', key, math.ceil(stale_us / 1000))
    end
    return redis.call('ZRANGE', KEYS[1], 0, 0)[1] == tenant and 1 or 0
end
if operation == 'go' then
    redis.call('ZREM', KEYS[1], tenant)
else
    forget(tenant)
end
return 1
"""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One call's wait for its tenant's turn in a lane. All methods raise `Unavailable`."""

    lane: str
    tenant_id: UUID
    call: str

    def has_come(self) -> bool:
        """Joins the line if the tenant is not in it, and tells whether this call is the first there."""
        return bool(self._run("stand"))

    def go(self) -> None:
        """Lets the next tenant come first. The tenant's own next call still waits."""
        self._run("go")

    def leave(self) -> None:
        """Lets the tenant's next call join the line."""
        self._run("leave")

    def _run(self, operation: str) -> Any:
        keys = [f"{KEY_PREFIX}{{{self.lane}}}:{part}" for part in ("line", "calls", "heard")]
        arguments: list[Any] = [operation, str(self.tenant_id), self.call, int(STALE_SECONDS * 1_000_000)]
        script = redis_client.of(settings.REDIS_URL).register_script(SCRIPT)
        try:
            return script(keys=keys, args=arguments)
        except redis.RedisError as error:
            raise Unavailable from error
