"""On the path of a worker whose clock is to be five minutes ahead: Python imports it before anything else."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import time_machine

time_machine.travel(datetime.now(UTC) + timedelta(minutes=5), tick=True).start()
assert time.time() - time.clock_gettime(time.CLOCK_REALTIME) < 1, "every clock but the monotonic one goes along"
