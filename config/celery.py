"""The Celery application. Queues: `searches` and `sandbox` (leave to look at a lane), `sweeps` (all that is periodic)."""

from celery import Celery

app = Celery("sightline")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
