"""Plays the providers over real HTTP, as their documents describe them: a plain WSGI application in a process of its own.

It has its own settings, since it stands for machines that are not ours:

    SANDBOX_CALLS=1 SANDBOX_WINDOW_MS=1000   how often a key may search, where not as the provider says
    SANDBOX_ONE_ACCOUNT=true                 all keys share that limit, as the keys of one account do
    SANDBOX_LATENCY_MS=300                   how long a search takes at least
    SANDBOX_SLOW_MS=4000                     how long one with a key that is slow by magic takes
    SANDBOX_HANG_MS=35000                    and one with a key that hangs: longer than the caller waits
    SANDBOX_CREDITS=1000000                  what every key may spend
    SANDBOX_PUBLIC_URL=                      where its pictures open, if not at the address that it was called by

`granian --interface wsgi --blocking-threads 32 providers.sandbox.app:application` serves it, in one process: the limits
are counted in its memory. `GET /_stats` shows the counts, `POST /_reset` clears them.
"""

from __future__ import annotations

import os
import sys

from providers.sandbox.routes import Sandbox
from providers.sandbox.settings import Settings

# A thread that ranks pictures makes a request that arrives wait for the interpreter; the limit counts milliseconds.
sys.setswitchinterval(0.0005)
application = Sandbox(Settings.read(os.environ))
