"""Gives the tenants that wait for one lane their turns, one after the other, over all processes.

All tenants share the lane of free calls, and without turns the tenant that asks most often would get most slots. A tenant
therefore has one call at a time in line or waiting for its slot, and its next call joins at the end of the line. Redis keeps
the line, by its own clock. The calls of a process that died are forgotten after `STALE_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts import redis_client
from providers.limiter import failing_closed

# Longer than a call waits for its slot (`free_calls.SLOT_SECONDS`), for it says nothing meanwhile.
STALE_SECONDS = 5.0
KEY_PREFIX = redis_client.keys("turns:")
# Keys: the tenants in line by the instant at which they joined (sorted set), the call of each tenant (hash), the instant at
# which each tenant last asked (sorted set). Arguments: operation, tenant, call, microseconds after which a tenant is
# forgotten. Answer: 1 where the call is first in line, was removed or has ended; else 0.
SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local operation, tenant, call, stale_us = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local function forget(each)
    redis.call('ZREM', KEYS[1], each)
    redis.call('HDEL', KEYS[2], each)
    redis.call('ZREM', KEYS[3], each)
end
for _, stale in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - stale_us)) do
    forget(stale)
end
local present = redis.call('HGET', KEYS[2], tenant)
if present and present ~= call then
    return 0
end
if operation == 'join' then
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
if operation == 'pass_on' then
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
        """Joins the line if the tenant is not in it, and returns whether this call is first."""
        return bool(self._run("join"))

    def pass_on(self) -> None:
        """Makes the next tenant first. The tenant's own next call still waits."""
        self._run("pass_on")

    def end(self) -> None:
        """Lets the tenant's next call join the line."""
        self._run("end")

    def _run(self, operation: str) -> Any:
        keys = [f"{KEY_PREFIX}{{{self.lane}}}:{part}" for part in ("line", "calls", "asked")]
        arguments: list[Any] = [operation, str(self.tenant_id), self.call, int(STALE_SECONDS * 1_000_000)]
        script = redis_client.of(settings.REDIS_URL).register_script(SCRIPT)
        with failing_closed():
            return script(keys=keys, args=arguments)
