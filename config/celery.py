"""The Celery application. Queues: `searches` and `sandbox` (leave to look at a lane), `sweeps` (all that is periodic)."""

from typing import Any

from celery import Celery
from celery.signals import worker_process_init

app = Celery("sightline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Without it only the thread that imports this knows the application: a web server's threads would look for a broker of
# Celery's default on localhost.
app.set_default()


@worker_process_init.connect
def warm_up(**_: Any) -> None:
    """A worker's first call should be no later than its others: what is made once is made now."""
    from searches import execution

    execution.warm_up()
