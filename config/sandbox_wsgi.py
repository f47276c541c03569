"""Runs the sandbox, which plays the providers for test keys, as a program of its own that serves real HTTP.

    SANDBOX_CALLS=1 SANDBOX_WINDOW_MS=1000   the limit of a key, if it is not the provider's own
    SANDBOX_ONE_ACCOUNT=true                 all keys share that limit, as the keys of one account do
    SANDBOX_LATENCY_MS=300                   the least time that a search takes
    SANDBOX_SLOW_MS=4000                     the time that a search with a slow magic key takes
    SANDBOX_HANG_MS=35000                    the time that a search with a hanging magic key takes: longer than a caller waits
    SANDBOX_CREDITS=1000000                  the credits of each key
    SANDBOX_BILLED_PERCENT=100               so much of its price each search is billed, to play a provider that bills wrongly
    SANDBOX_SURPLUS=0                        so many results more than a page holds are answered and billed (Modash)
    SANDBOX_PUBLIC_URL=                      the address of its pictures, if it is not the one that the caller used

`granian --interface wsgi --blocking-threads 32 config.sandbox_wsgi:application` serves it, in one process, since the limits are
counted in its memory. `GET /_stats` shows the counts, and `POST /_reset` clears them. The sandbox plays other companies'
servers, so it reads none of Sightline's settings and needs none of its secrets.
"""

from __future__ import annotations

import os
import sys

from config import server_starts

# The imports below take a second.
server_starts.end_at_once_when_asked()

from config import environment, sandbox_settings
from config.environment import Environment
from providers.sandbox.routes import Sandbox

# The limit counts milliseconds, and a thread that ranks pictures must not keep an arriving request from the interpreter.
sys.setswitchinterval(0.0005)
with environment.in_one_line():
    environment.prepare()
    application = Sandbox(sandbox_settings.read(Environment(os.environ)))
