"""The design that everybody writes first, to be measured beside ours: a Lua token bucket and `self.retry`.

The message names the job; a worker that gets no token sends the message back with a countdown.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import httpx
import redis
from celery import Celery, Task

BUCKET = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local rate, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(most, tonumber(state[1] or most) + (now - tonumber(state[2] or now)) * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = (1 - tokens) / rate end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now))
return tostring(wait)
"""

app = Celery("plain", broker=os.environ.get("REDIS_URL"))
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    task_default_queue="plain",
    broker_transport_options={"global_keyprefix": "plain:"},
)


@cache
def _bucket() -> Any:
    return redis.Redis.from_url(os.environ["REDIS_URL"]).register_script(BUCKET)


@cache
def _http() -> httpx.Client:
    return httpx.Client(timeout=30)


@app.task(bind=True, max_retries=None)
def call(self: Task[Any, Any], url: str, key: str, rate: float, most: int) -> None:
    wait = float(_bucket()(keys=["plain-bucket"], args=[rate, most]))
    if wait:
        raise self.retry(countdown=wait)
    headers = {"Authorization": f"Bearer {key}"}
    reply = _http().post(f"{url}/ai/tiktok/image-search", json={}, headers=headers)
    if reply.status_code == 429:
        raise self.retry(countdown=1)
