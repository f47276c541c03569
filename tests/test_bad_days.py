"""Kills processes, and stops, suspends and empties servers in the middle of the work. No search is lost, none is charged
twice, the provider's limit is never broken, and all searches end.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from accounts import redis_client
from tests import processes, programs
from tests.processes import Sightline, Worker, suspended, wait_until

pytestmark = pytest.mark.long

# Two results a lookup, at Modash's price.
COST = Decimal("0.05")
# The most seconds that a submit may take, whatever is down.
SECONDS_TO_ACCEPT = 3.0
# The most calls that a killed worker's processes may have in flight.
MOST_CUT_OFF = 4
# The limiter says of calls that were claimed sooner after the lane's log began that they may have been sent.
DOUBT_SECONDS = 2.5


class Day:
    """Holds the orders of one test, and checks how all of them ended."""

    def __init__(self, sightline: Sightline) -> None:
        self.sightline = sightline
        self.searches: list[str] = []
        self.ended_well = False
        sightline.sandbox.post("/_reset")

    def submit(self, *, lookups: int) -> str:
        began = time.monotonic()
        search = self.sightline.submit(lookups=lookups)
        assert time.monotonic() - began < SECONDS_TO_ACCEPT
        self.searches.append(search)
        return search

    def wait_for_calls(self, count: int) -> None:
        wait_until(lambda: bool(self.sightline.stats()["calls"] >= count))

    def ends_well(self, *, most_unknown: int = 0) -> None:
        """Checks the end. `most_unknown`: calls that may have been interrupted in flight, so that nobody knows whether they
        were billed.
        """
        wait_until(lambda: not self.lookups().keys() & {"queued", "running"})
        self.the_limit_was_kept(most_unknown)
        calls = self.calls(*self.searches)
        answered, unknown = calls["answered"], calls.get("unknown", 0)
        assert self.lookups() == {"succeeded": answered}
        assert answered + unknown == sum(calls.values()), calls
        assert unknown <= most_unknown
        self.the_credits_agree(answered, unknown)
        assert "deadlock" not in (self.sightline.folder / "postgresql" / "log").read_text()
        self.ended_well = True

    def the_limit_was_kept(self, most_unknown: int) -> None:
        """Checks the limit. A call that was interrupted in the middle of its body is refused as unreadable, which breaks no
        limit.
        """
        stats = self.sightline.stats()
        assert stats["breaches"] == 0, stats
        assert stats["refusals"] <= most_unknown, stats

    def the_credits_agree(self, answered: int, unknown: int) -> None:
        """Checks that each answer was charged once, and that everything else that the sandbox billed is among the unknown."""
        stats = self.sightline.stats()
        assert answered <= stats["calls"] <= answered + unknown
        assert Decimal(stats["credits"]) == (stats["calls"] - stats["refusals"]) * COST
        assert self.money() == [answered * COST, unknown * COST, Decimal(0)]
        assert self.sightline.manage("audit_ledger").startswith("Every balance follows")

    def lookups(self) -> dict[str, int]:
        return self._counts("SELECT status, count(*) FROM mine GROUP BY status", self.searches)

    def calls(self, *searches: str) -> dict[str, int]:
        calls = "SELECT state, count(*) FROM searches_call WHERE lookup_id IN (SELECT id FROM mine) GROUP BY state"
        return self._counts(calls, searches)

    def money(self) -> list[Decimal]:
        """Returns the charged, the unknown and the still held credits."""
        references = "reference IN (SELECT 'lookup:' || id FROM mine)"
        charged = f"SELECT sum(amount) FROM billing_entry WHERE kind = 'charge' AND {references}"
        held = f"SELECT sum(unknown) AS unknown, sum(open) AS open FROM billing_hold WHERE {references}"
        row = self._rows(f"SELECT ({charged}), unknown, open FROM ({held}) AS held", self.searches)[0]
        return [amount or Decimal(0) for amount in row]

    def _counts(self, statement: str, searches: Any) -> dict[str, int]:
        return dict(self._rows(statement, searches))

    def _rows(self, statement: str, searches: Any) -> list[tuple[Any, ...]]:
        mine = "WITH mine AS (SELECT * FROM searches_lookup WHERE search_id = ANY(%s::uuid[]))"
        return self.sightline.rows(f"{mine} {statement}", list(searches))


class Installation:
    """Runs a Sightline with two workers for searches, and replaces it after a test that left it in disorder."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._start()

    def replace(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._stack.close()

    def _start(self) -> None:
        folder = self._stack.enter_context(programs.state_folder())
        self.sightline = self._stack.enter_context(processes.sightline(folder))
        self.workers = [self.sightline.start_worker(f"searches-{number}") for number in range(2)]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    installation = Installation()
    yield installation
    installation.stop()


@pytest.fixture
def day(installation: Installation) -> Iterator[Day]:
    """Yields a day. After a failed test Sightline is replaced, because the next test would count its searches, calls and
    locks.
    """
    # An earlier test may have killed processes that are still starting.
    wait_until(lambda: all_are_up(installation.workers))
    day = Day(installation.sightline)
    yield day
    if not day.ended_well:
        installation.replace()


@pytest.fixture
def workers(day: Day, installation: Installation) -> list[Worker]:
    return installation.workers


@pytest.mark.chaos
def test_a_worker_killed_in_the_middle_of_a_hundred_lookups(day: Day, workers: list[Worker]) -> None:
    for _ in range(5):
        day.submit(lookups=20)
    day.wait_for_calls(20)
    workers[-1].start_again()
    day.ends_well(most_unknown=MOST_CUT_OFF)


def test_followers_are_resolved_while_the_sweeps_hang(day: Day) -> None:
    sweeps = next(program for program in day.sightline.programs if program.name == "sweeps")
    # After an earlier test's failure of Redis no wake-ups are sent for so long, and the sweeps would be needed.
    time.sleep(redis_client.COOLDOWN_SECONDS)
    with suspended(sweeps.process, *sweeps.process.children()):
        search = day.sightline.submit(lookups=20, max_age=1)
        day.searches.append(search)
        wait_until(lambda: day.lookups() == {"succeeded": 20})
    assert sum(day.calls(search).values()) <= 1
    day.ended_well = True


# Points at which a process is held so that it can be killed there. It is held by a lock on the table that it needs next, by a
# picture that is a pipe without a writer, or by an answer that has not come yet.
POINTS = {
    "before it claims": "providers_policy",
    "claimed, not sent": "the picture",
    "sent, not answered": "the answer",
    "answered, not settled": "searches_result",
}
CALLS_OF = {
    "before it claims": {"answered": 1},
    "claimed, not sent": {"answered": 1},
    "sent, not answered": {"answered": 1, "unknown": 1},
    "answered, not settled": {"answered": 1, "unknown": 1},
}


@pytest.mark.chaos
def test_a_process_killed_at_each_point_of_a_call(day: Day, workers: list[Worker]) -> None:
    """The longest leases come first, so that they lapse at the same time."""
    day.submit(lookups=1)
    day.wait_for_calls(1)
    time.sleep(DOUBT_SECONDS)
    searches = {point: fall(day, workers, point) for point in reversed(POINTS)}
    day.ends_well(most_unknown=len(searches))
    assert {point: day.calls(search) for point, search in searches.items()} == CALLS_OF


def all_are_up(workers: list[Worker]) -> bool:
    """Starts ended workers again, as a supervisor does: Celery gives up if its processes are killed while it starts."""
    for worker in workers:
        if worker.has_ended:
            worker.start_again()
    return all(worker.is_up for worker in workers)


def fall(day: Day, workers: list[Worker], point: str) -> str:
    """Returns a search of one lookup, whose worker was killed at this point of its call."""
    wait_until(lambda: all_are_up(workers))
    held_by, calls = POINTS[point], day.sightline.stats()["calls"]
    with ExitStack() as released:
        with suspended(*(process for worker in workers for process in (worker.process, *worker.children))):
            search = day.submit(lookups=1)
            if held_by == "the picture":
                released.enter_context(pictures_hang(day.sightline.folder / "pictures"))
            elif held_by != "the answer":
                session = released.enter_context(day.sightline.session())
                session.execute(f"LOCK TABLE {held_by} IN ACCESS EXCLUSIVE MODE".encode())
        if held_by == "the picture":
            wait_until(lambda: day.calls(search) == {"armed": 1})
        elif held_by == "the answer":
            day.wait_for_calls(calls + 1)
        else:
            wait_until(lambda: bool(waiting_for(held_by, day.sightline)))
        for worker in workers:
            worker.kill_children()
    return search


@contextmanager
def pictures_hang(folder: Path) -> Iterator[None]:
    """Makes a process that opens a stored picture wait, as a storage does that does not answer."""
    kept = [path for path in folder.rglob("*") if path.is_file()]
    for path in kept:
        path.rename(path.with_name(f"{path.name}.kept"))
        os.mkfifo(path)
    try:
        yield
    finally:
        for path in kept:
            path.with_name(f"{path.name}.kept").replace(path)


def waiting_for(table: str, sightline: Sightline) -> list[str]:
    """Returns the names of the workers whose transactions wait for a lock on the table, whatever statement asked for it."""
    waiting = (
        "SELECT DISTINCT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE relation = %s::regclass AND NOT granted AND application_name LIKE 'searches-%%'"
    )
    return [name for (name,) in sightline.rows(waiting, table)]


@pytest.mark.chaos
def test_a_worker_that_hangs_in_a_transaction_delays_the_others_for_seconds_only(
    day: Day, workers: list[Worker]
) -> None:
    wait_until(lambda: all_are_up(workers))
    with ExitStack() as hanging:
        with day.sightline.session() as session:
            session.execute("LOCK TABLE searches_result IN ACCESS EXCLUSIVE MODE")
            day.submit(lookups=5)
            wait_until(lambda: bool(waiting_for("searches_result", day.sightline)))
            name = waiting_for("searches_result", day.sightline)[0]
            worker = next(worker for worker in workers if worker.name == name)
            hanging.enter_context(suspended(worker.process, *worker.children))
        wait_until(lambda: day.calls(*day.searches).get("answered", 0) > 0, seconds=15)
    day.ends_well()


def test_redis_killed_and_started_again(day: Day) -> None:
    day.submit(lookups=20)
    day.wait_for_calls(5)
    day.sightline.valkey.process.kill()
    day.ends_well()


def test_redis_flushed(day: Day) -> None:
    day.submit(lookups=20)
    day.wait_for_calls(5)
    day.sightline.redis.flushall()
    day.ends_well()


@pytest.mark.chaos
def test_redis_full(day: Day) -> None:
    day.submit(lookups=20)
    day.wait_for_calls(5)
    day.sightline.redis.config_set("maxmemory", 1)
    try:
        submit_for(day, seconds=3)
    finally:
        day.sightline.redis.config_set("maxmemory", 0)
    day.ends_well()


def test_redis_killed_after_all_processes_of_a_worker_ended_at_once(day: Day, workers: list[Worker]) -> None:
    # Celery gives up if its processes are killed while it starts.
    day.submit(lookups=20)
    wait_until(lambda: day.lookups() == {"succeeded": 20})
    for worker in workers:
        with suspended(worker.process):
            worker.kill_children()
    wait_until(lambda: all(worker.is_up for worker in workers))
    day.sightline.valkey.process.kill()
    day.submit(lookups=5)
    day.ends_well()
    assert [worker.name for worker in workers if worker.has_ended] == []


@pytest.mark.chaos
def test_redis_away_for_a_while(day: Day) -> None:
    day.submit(lookups=20)
    day.wait_for_calls(5)
    with day.sightline.valkey.away():
        submit_for(day, seconds=5)
    day.ends_well()


@pytest.mark.chaos
def test_redis_silent_for_a_while(day: Day) -> None:
    day.submit(lookups=20)
    day.wait_for_calls(5)
    with day.sightline.valkey.silent():
        submit_for(day, seconds=5)
    day.ends_well()


# Ways in which a Redis refuses, each with its repair: as after a fail-over, and after a right was taken away.
REFUSALS = {
    "a replica": ("REPLICAOF 127.0.0.1 9", "REPLICAOF NO ONE"),
    "without a right of the worker": ("ACL SETUSER default -brpop", "ACL SETUSER default +@all"),
    "without a right of the limiter": ("ACL SETUSER default -info", "ACL SETUSER default +@all"),
    "too few replicas": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
}


@pytest.mark.chaos
@pytest.mark.parametrize("kind", REFUSALS)
def test_redis_answers_and_refuses_for_a_while(day: Day, kind: str) -> None:
    refuse, repair = REFUSALS[kind]
    day.submit(lookups=20)
    day.wait_for_calls(5)
    day.sightline.redis.execute_command(refuse)
    try:
        submit_for(day, seconds=5)
        ready = day.sightline.api.get("/readyz")
    finally:
        day.sightline.redis.execute_command(repair)
    assert (ready.status_code, ready.headers["Retry-After"]) == (503, "5")
    assert [program.name for program in day.sightline.programs if program.has_ended] == []
    day.ends_well()


def submit_for(day: Day, *, seconds: float) -> None:
    until = time.monotonic() + seconds
    day.submit(lookups=20)
    while time.monotonic() < until:
        day.submit(lookups=1)
        time.sleep(0.5)


def test_postgresql_restarted(day: Day) -> None:
    day.submit(lookups=20)
    day.wait_for_calls(5)
    day.sightline.postgres.process.send_signal(signal.SIGINT)
    day.ends_well()


def test_postgresql_only_reads_for_a_while(day: Day) -> None:
    """Simulates a fail-over that left its address with the standby."""
    day.submit(lookups=20)
    day.wait_for_calls(5)
    with day.sightline.postgres.only_reading():
        paths, session = ("/v1/searches", "/admin/", "/readyz"), {"Cookie": "sessionid=an-operators"}
        answers = [day.sightline.api.get(path, headers=session) for path in paths for _ in range(5)]
    assert {(answer.status_code, answer.headers.get("Retry-After")) for answer in answers} == {(503, "5")}
    assert "it is a standby" in answers[-1].json()["detail"]
    assert [program.name for program in day.sightline.programs if program.has_ended] == []
    day.ends_well()
