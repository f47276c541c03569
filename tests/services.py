"""Starts real servers for the tests before Django reads its settings, and stops them after the last test.

Each run claims a state folder that no other run has, so that two runs, or a `make serve` beside them, share nothing.
The workers of pytest-xdist find the addresses in the environment, and take a Redis database each.
"""

import itertools
import os
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from config import embedded, environment
from config.embedded import locks, state

_running = ExitStack()
# The machine's own .env must not change the tests or the programs that they start.
os.environ["ENV_FILE"] = os.devnull
environment.prepare()


def claim_state_folder() -> Path:
    account = state.account()
    runs = state.private(state.folder({}, account) / "test", account)
    for number in itertools.count(1):
        folder = state.private(runs / str(number), account)
        claim = locks.take(folder / "claimed")
        if claim is not None:
            _running.callback(os.close, claim)
            return folder
    raise AssertionError("the numbers do not end")


def give_worker_its_redis_database(worker: str) -> None:
    url = urlsplit(os.environ["REDIS_URL"])
    number = int(url.path.strip("/") or 0) + 1 + int(worker.removeprefix("gw"))
    os.environ["REDIS_URL"] = url._replace(path=f"/{number}").geturl()


if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    give_worker_its_redis_database(worker)
else:
    if "STATE_DIR" not in os.environ:
        os.environ["STATE_DIR"] = str(claim_state_folder())
    _running.enter_context(embedded.services())


def pytest_unconfigure() -> None:
    _running.close()
