"""Schedules accidents by a seed alone, and runs them. Whatever an accident ends is started again, as supervisors do."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from shutil import rmtree
from typing import TypeVar

import psutil
import redis

from tests.processes import Program, Sightline, Worker, suspended, wait_until

AWAY_SECONDS = 4.0
HUNG_SECONDS = 6.0
NOTICED_SECONDS = 0.2

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Accident:
    """Describes one accident. `at`: seconds after the start, or as soon as the one before is over. `chance` chooses its
    victim.
    """

    at: float
    kind: str
    chance: float


class Fate:
    """Does to a Sightline what its accidents say. `workers`: those for searches."""

    def __init__(self, sightline: Sightline, workers: Sequence[Worker]) -> None:
        self.sightline = sightline
        self.workers = workers

    def strike(self, accident: Accident) -> None:
        """One that follows at once upon another meets servers that have come back."""
        wait_until(self._servers_answer)
        KINDS[accident.kind](self, accident.chance)

    def _servers_answer(self) -> bool:
        try:
            return bool(self.sightline.redis.ping() and self.sightline.rows("SELECT 1"))
        except redis.RedisError:
            return False

    def program(self, name: str) -> Program:
        return next(program for program in self.sightline.programs if program.name == name)

    def worker_killed(self, chance: float) -> None:
        _one_of(self.workers, chance).kill()

    def child_killed(self, chance: float) -> None:
        """Kills a worker's child; None if all have just ended."""
        children = [child for worker in self.workers if not worker.has_ended for child in worker.children]
        if children:
            _end(_one_of(children, chance))

    def worker_hung(self, chance: float) -> None:
        """Suspends a worker for longer than a transaction may be open. It then continues as if nothing had happened."""
        worker = _one_of(self.workers, chance)
        with suppress(psutil.NoSuchProcess), suspended(worker.process, *worker.children):
            time.sleep(HUNG_SECONDS)

    def sweeps_killed(self, chance: float) -> None:
        self.program("sweeps").kill()

    def beat_killed(self, chance: float) -> None:
        self.program("beat").kill()

    def webhooks_killed(self, chance: float) -> None:
        self.program("webhooks").kill()

    def web_killed(self, chance: float) -> None:
        self.program("web").kill()

    def redis_killed(self, chance: float) -> None:
        self.sightline.valkey.process.kill()

    def redis_emptied(self, chance: float) -> None:
        """Empties Redis: it returns without any of its data."""
        with self.sightline.valkey.away():
            for kept in (self.sightline.valkey.pid_file.parent / "data").iterdir():
                rmtree(kept)

    def redis_flushed(self, chance: float) -> None:
        self.sightline.redis.flushall()

    def redis_away(self, chance: float) -> None:
        with self.sightline.valkey.away():
            time.sleep(AWAY_SECONDS)

    def redis_silent(self, chance: float) -> None:
        with self.sightline.valkey.silent():
            time.sleep(AWAY_SECONDS)

    def postgres_restarted(self, chance: float) -> None:
        self.sightline.postgres.process.send_signal(signal.SIGINT)


KINDS: dict[str, Callable[[Fate, float], None]] = {
    "a worker is killed": Fate.worker_killed,
    "a worker's child is killed": Fate.child_killed,
    "a worker hangs": Fate.worker_hung,
    "the sweeps' worker is killed": Fate.sweeps_killed,
    "beat is killed": Fate.beat_killed,
    "the webhooks' worker is killed": Fate.webhooks_killed,
    "the web server is killed": Fate.web_killed,
    "Redis is killed": Fate.redis_killed,
    "Redis is killed and comes back empty": Fate.redis_emptied,
    "Redis is flushed": Fate.redis_flushed,
    "Redis cannot be reached": Fate.redis_away,
    "Redis says nothing": Fate.redis_silent,
    "PostgreSQL is restarted": Fate.postgres_restarted,
}


def made_up(random: Random, kinds: Sequence[str], *, seconds: float) -> list[Accident]:
    """Returns a schedule of these accidents, in any order, over so many seconds."""
    shuffled = random.sample(kinds, len(kinds))
    step = seconds / len(kinds)
    return [
        Accident(at=step * (number + random.uniform(0.2, 0.8)), kind=kind, chance=random.random())
        for number, kind in enumerate(shuffled)
    ]


def strike_all(fate: Fate, accidents: Sequence[Accident], *, after_each: Callable[[], None]) -> None:
    began = time.monotonic()
    for accident in accidents:
        time.sleep(max(0.0, began + accident.at - time.monotonic()))
        sys.stdout.write(f"{time.monotonic() - began:6.1f} s  {accident.kind}\n")
        fate.strike(accident)
        after_each()


@contextmanager
def supervised(sightline: Sightline) -> Iterator[None]:
    """Starts again whatever has ended, until the block ends."""
    over = threading.Event()

    def supervise() -> None:
        while not over.wait(NOTICED_SECONDS):
            for program in list(sightline.programs):
                if program.has_ended:
                    program.start_again()

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _one_of(several: Sequence[T], chance: float) -> T:
    return several[int(chance * len(several))]


def _end(process: psutil.Process) -> None:
    """Ends a process, which may have ended by itself."""
    with suppress(psutil.NoSuchProcess):
        process.kill()
