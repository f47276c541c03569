"""The sandbox as a program: the providers as test keys see them, in a process of its own, over real HTTP.

    SANDBOX_CALLS=1 SANDBOX_WINDOW_MS=1000   how often a key may search, where not as the provider says
    SANDBOX_ONE_ACCOUNT=true                 all keys share that limit, as the keys of one account do
    SANDBOX_LATENCY_MS=300                   how long a search takes at least
    SANDBOX_SLOW_MS=4000                     how long one with a key that is slow by magic takes
    SANDBOX_HANG_MS=35000                    and one with a key that hangs: longer than the caller waits
    SANDBOX_CREDITS=1000000                  what every key may spend
    SANDBOX_PUBLIC_URL=                      where its pictures open, if not at the address that it was called by

`granian --interface wsgi --blocking-threads 32 config.sandbox_wsgi:application` serves it, in one process: the limits
are counted in its memory. `GET /_stats` shows the counts, `POST /_reset` clears them. It stands for machines that are not
ours, so it reads none of our settings, and needs none of our secrets.
"""

from __future__ import annotations

import os
import sys

from config import environment, sandbox_settings
from config.environment import Environment
from providers.sandbox.routes import Sandbox

# A thread that ranks pictures makes a request that arrives wait for the interpreter; the limit counts milliseconds.
sys.setswitchinterval(0.0005)
with environment.in_one_line():
    environment.prepare()
    application = Sandbox(sandbox_settings.read(Environment(os.environ)))
