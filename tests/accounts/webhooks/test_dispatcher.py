"""The threads that deliver: endpoints that hang delay no others, and a killed worker loses nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from uuid import uuid4

import pytest
from celery import current_app
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from accounts import webhooks
from accounts.models import Attempt, Delivery, Endpoint, EventType, Mode, Tenant
from accounts.webhooks import dispatcher, endpoints
from accounts.webhooks.dispatcher import Dispatcher
from tests.accounts.receiving import EveryThird, Receiver, receiver
from tests.bench.system import process

pytestmark = pytest.mark.django_db(transaction=True)
FAILED = EventType.SEARCH_FAILED


@pytest.fixture(autouse=True)
def loopback(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.0/8")]
    # The receivers of a test are all at one host.
    settings.WEBHOOK_TARGET_AT_ONCE = settings.WEBHOOK_TARGET_ENDPOINTS = 1000


def record(tenant: Tenant) -> None:
    webhooks.record(tenant.pk, Mode.LIVE, FAILED, {"id": 7})


def listen(tenant: Tenant, receiver: Receiver) -> Endpoint:
    """Makes a quick endpoint at the receiver."""
    endpoint, _ = endpoints.create(tenant, Mode.LIVE, url=f"{receiver.url}{uuid4()}")
    Endpoint.objects.filter(pk=endpoint.pk).update(slow=False)
    return endpoint


@contextmanager
def working(threads: int) -> Iterator[Dispatcher]:
    those = Dispatcher(threads)
    try:
        yield those
    finally:
        those.end()
        those.join()


def wait_until(happened: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)


def test_what_is_recorded_is_delivered_without_any_wake_up(alice: Tenant) -> None:
    with receiver() as it:
        listen(alice, it)
        with working(4):
            for _ in range(10):
                record(alice)
            wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 10)
    assert len({heard.id for heard in it.heard}) == len(it.heard) == 10


def test_endpoints_that_hang_take_half_of_the_threads_and_the_others_go_on(alice: Tenant, bob: Tenant) -> None:
    with receiver() as hanging, receiver() as quick, working(8) as dispatcher:
        hanging.answering = hanging.hang
        slow = [listen(alice, hanging) for _ in range(8)]
        listen(bob, quick)
        Endpoint.objects.filter(pk__in=[endpoint.pk for endpoint in slow]).update(slow=True)
        record(alice)
        dispatcher.look()
        wait_until(lambda: len(hanging.heard) == 4)
        for _ in range(20):
            record(bob)
            dispatcher.look()
        wait_until(lambda: len(quick.heard) == 20)
        assert len(hanging.heard) == 4
        hanging.released.set()


def test_a_delivery_that_cannot_be_settled_does_not_cost_its_thread(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as it, working(1):
        listen(alice, it)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE accounts_attempt RENAME TO accounts_attempt_away")
        try:
            record(alice)
            wait_until(lambda: len(it.heard) == 1)
            time.sleep(0.1)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE accounts_attempt_away RENAME TO accounts_attempt")
        record(alice)
        wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 1)


def test_a_thread_that_cannot_be_started_costs_no_slot(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    refused: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("delivery_"):
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    with receiver() as it, working(2) as dispatcher:
        listen(alice, it)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        for count in (1, 2):
            record(alice)
            wait_until(partial(_is_as_long, refused, count))
        monkeypatch.setattr(threading.Thread, "start", start)
        record(alice)
        wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 3)
        wait_until(lambda: (dispatcher._free, dispatcher._free_for_slow) == (2, 1))


def _is_as_long(refused: list[threading.Thread], count: int) -> bool:
    return len(refused) == count


# Whole workers


@contextmanager
def worker(folder: Path, name: str, *, redis: str = "") -> Iterator[int]:
    """Runs a Celery worker that delivers, and yields its process id."""
    environment = {
        "DATABASE_URL": os.environ["DATABASE_URL"].replace("/app?", f"/{connection.settings_dict['NAME']}?"),
        "REDIS_URL": redis or django_settings.REDIS_URL,
        "OUTBOUND_ALLOW": "127.0.0.0/8",
        "WEBHOOK_PAUSES": "0.1,0.1,0.1,0.1,0.1,0.1,0.1",
    }
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-n", name, "-Q", "webhooks"]
    quiet = ("--without-gossip", "--without-mingle", "--pool", "threads", "-c", "1")
    with process(*command, *quiet, log=folder / f"{name}.log", **environment) as started:
        yield started.pid


def let_leases_pass() -> None:
    """Ends the leases of dead workers. A delivery that is really under way is settled within a moment here."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_delivery SET next_attempt_at = now(), leased_until = now()"
            " WHERE leased_until BETWEEN now() AND now() + interval '24 seconds'"
        )


@pytest.mark.chaos
def test_every_event_arrives_though_workers_are_killed_and_every_third_is_refused(
    alice: Tenant, tmp_path: Path
) -> None:
    events = 300
    with receiver(EveryThird()) as it, ExitStack() as workers:
        listen(alice, it)
        pids = [workers.enter_context(worker(tmp_path, f"w{number}@test")) for number in range(2)]
        for _ in range(events):
            record(alice)
        current_app.send_task("accounts.tasks.deliver", queue="webhooks")
        current_app.send_task("accounts.tasks.deliver", queue="webhooks")
        wait_until(lambda: len(it.heard) > 50, seconds=60)
        os.killpg(pids[0], signal.SIGKILL)
        wait_until(lambda: len(it.heard) > 150, seconds=60)
        os.killpg(pids[1], signal.SIGKILL)
        workers.enter_context(worker(tmp_path, "w2@test"))

        def all_delivered() -> bool:
            current_app.send_task("accounts.tasks.deliver", queue="webhooks")
            let_leases_pass()
            return not Delivery.objects.exclude(state="delivered").exists()

        wait_until(all_delivered, seconds=90)
    bodies = {heard.id: heard.body for heard in it.heard}
    assert len(bodies) == events
    assert {(heard.id, heard.body) for heard in it.heard} == set(bodies.items())
    most = Counter(heard.id for heard in it.heard)
    logged = Counter(str(id) for id in Attempt.objects.values_list("delivery__event", flat=True))
    assert all(logged[id] >= count for id, count in most.items())


def test_a_worker_that_starts_while_redis_is_away_delivers(alice: Tenant, tmp_path: Path) -> None:
    with receiver() as it, worker(tmp_path, "w@test", redis="redis://127.0.0.1:1/0"):
        listen(alice, it)
        record(alice)
        wait_until(lambda: Delivery.objects.filter(state="delivered").exists(), seconds=60)


def test_a_worker_that_is_stopped_finishes_its_deliveries(alice: Tenant, tmp_path: Path) -> None:
    with receiver() as it:
        it.answering = it.hang
        listen(alice, it)
        record(alice)
        with worker(tmp_path, "w@test") as pid:
            current_app.send_task("accounts.tasks.deliver", queue="webhooks")
            wait_until(lambda: len(it.heard) == 1, seconds=60)
            record(alice)
            record(alice)
            wait_until(lambda: len(it.heard) == 3)
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.5)
            record(alice)
            it.released.set()
            wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 3)
    assert Delivery.objects.filter(state="pending", attempt_count=0).count() == 1


def test_none_are_ended_where_there_are_none() -> None:
    dispatcher.of_this_process.cache_clear()
    dispatcher.end()
    assert dispatcher.of_this_process.cache_info().currsize == 0
