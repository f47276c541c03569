"""Sets the clock of a worker five minutes ahead. Python imports this module first, from the worker's path."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import time_machine

time_machine.travel(datetime.now(UTC) + timedelta(minutes=5), tick=True).start()
assert time.time() - time.clock_gettime(time.CLOCK_REALTIME) < 1, "every clock but the monotonic one goes along"
