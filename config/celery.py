"""Creates the Celery application. Its queues:

- `searches` and `sandbox`: look at a lane.
- `webhooks`: look at due deliveries, sweep their log, erase what is past its retention (pictures, searches, idempotency keys),
  close months, reconcile, audit the ledger, do bulk acts, and count calls, searches and deliveries for the admin's pages.
- `followers`: resolve the followers of lookups that have ended, and sweep those whose wake-up was lost.
- `sweeps`: the other periodic tasks.
"""

import gc
import importlib
import logging
import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import Any, Self

from celery import Celery
from celery.app.amqp import AMQP
from celery.concurrency.prefork import TaskPool as Prefork
from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    task_postrun,
    worker_before_create_process,
    worker_process_init,
    worker_ready,
    worker_shutting_down,
)
from django.db import connections
from kombu import Connection
from kombu.transport.redis import Channel

from accounts import redis_client
from config import environment

log = logging.getLogger(__name__)

# Name of the queue that is tried on every new connection.
PROBE = "probe"
# A sweep that no worker took expires: late enough for a machine whose clock is minutes off.
EXPIRES_SECONDS = 900
# Each sweep with the seconds between two, and its queue.
SWEEPS = (
    ("searches.tasks.sweep_lanes", 1, "sweeps"),
    ("searches.tasks.sweep_riders", 1, "followers"),
    # These may be slow, and the lanes' sweep must not wait for them.
    ("accounts.tasks.sweep_deliveries", 60, "webhooks"),
    ("accounts.tasks.sweep_idempotency_keys", 60, "webhooks"),
    ("accounts.tasks.sweep_sessions", 3600, "webhooks"),
    ("accounts.tasks.sweep_bulk_acts", 5, "webhooks"),
    ("searches.tasks.sweep_retention", 60, "webhooks"),
    ("billing.tasks.close_months", 60, "webhooks"),
    ("searches.tasks.reconcile_credentials", 60, "webhooks"),
    ("billing.tasks.expire_grants", 60, "webhooks"),
    ("billing.tasks.audit_ledger", 60, "webhooks"),
    ("searches.tasks.roll_up_lanes", 20, "webhooks"),
    ("searches.tasks.roll_up_searches", 60, "webhooks"),
    ("billing.tasks.roll_up_credits", 60, "webhooks"),
    ("accounts.tasks.roll_up_deliveries", 60, "webhooks"),
    ("searches.tasks.sweep_pictures", 600, "sweeps"),
)

with environment.in_one_line():
    environment.prepare()
    # The settings are read here, where a wrong one costs one line. Celery would print a traceback.
    importlib.import_module("config.settings")

# When a connection is lost, fetched wake-ups are not put back. The attempt used that connection and ended the worker (celery 5.7
# with kombu 5.7).
Channel.do_restore = False
# Senders of wake-ups would otherwise keep their connection to a server that a fail-over made a replica.
Channel.connection_class, Channel.connection_class_ssl = redis_client.Connection, redis_client.SSLConnection


class Broker(Connection):
    """Connects to a broker again soon after it was lost.

    Celery waits two seconds first, in which a lane of 20 calls a second loses 40 slots. A broker that answers and refuses (a
    replica, a full one, an account without a right) is treated like one that is down. Celery would connect to it, have its
    first command refused, and connect again without a pause.
    """

    def ensure_connection(
        self, errback: Callable[[Any, float], None] | None = None, *args: Any, **options: Any
    ) -> Self:
        usual: dict[str, Any] = {"interval_start": 0.1, "interval_step": 0.1, "interval_max": 2.0}
        for pause in chain((0.1, 0.2, 0.5, 1.0), repeat(2.0)):
            super().ensure_connection(errback, *args, **usual | options)
            try:
                self._try()
                break
            except self.recoverable_channel_errors + self.recoverable_connection_errors as refusal:
                self.collect()
                if errback:
                    errback(refusal, pause)
                if callback := options.get("callback"):
                    callback()
                time.sleep(pause)
        return self

    def _try(self) -> None:
        """Puts a message into a queue of its own and takes it, as a worker does."""
        channel: Any = self.default_channel
        channel.client.lpush(PROBE, "")
        channel.client.brpop([PROBE], timeout=0.01)


class Messages(AMQP):
    Connection = Broker


app = Celery("sightline", amqp=Messages)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    task: {"task": task, "schedule": seconds, "options": {"queue": queue, "expires": EXPIRES_SECONDS}}
    for task, seconds, queue in SWEEPS
}
# Without this call only the importing thread knows the application. Other threads of a web server would look for Celery's default
# broker on localhost.
app.set_default()


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Keeps Django's LOGGING in workers; Celery's own set-up would raise every level to warnings."""


@celeryd_init.connect
def need_keys(**_: Any) -> None:
    """Refuses to start a worker without keys; only beat may run without them."""
    with environment.in_one_line():
        environment.refuse_keyless("a worker")


@worker_before_create_process.connect
def share_memory(**_: Any) -> None:
    """Freezes the objects of the parent process. The collector would otherwise touch, and so copy, a third of a worker's
    memory.
    """
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def warm_up(**_: Any) -> None:
    """Creates what a worker process needs once, so that its first call is as fast as the others."""
    from searches.calls import worker

    worker.warm_up()


@worker_ready.connect
def say_what_is_lacking(**_: Any) -> None:
    """Logs what a worker lacks. A server that answers and refuses ends no worker, so nothing else would say why no work is
    done.
    """
    from config import readiness

    for sentence in readiness.lacking():
        log.error("%s", sentence)
    # django-stubs lacks `close_pool`.
    connection: Any
    for connection in connections.all():
        connection.close()
        # A child that is forked later must not inherit a pool whose threads it does not have.
        connection.close_pool()


@celeryd_after_setup.connect
def begin_to_deliver(instance: Any, **_: Any) -> None:
    """Starts the delivery threads without waiting for Redis. The children of a prefork worker would not inherit the threads."""
    if "webhooks" in instance.app.amqp.queues.consume_from and not issubclass(instance.pool_cls, Prefork):
        from accounts.webhooks import dispatcher

        dispatcher.of_this_process()


@worker_shutting_down.connect
def take_no_more_deliveries(**_: Any) -> None:
    """Stops claiming deliveries; those in flight are finished."""
    from accounts.webhooks import dispatcher

    dispatcher.end()


@task_postrun.connect
def leave_broken_connections(**_: Any) -> None:
    """Closes a connection after an error on it. Healthy ones are kept from task to task."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close()
