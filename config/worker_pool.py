"""Adapts Celery's prefork pool, so that a worker outlives the death of several of its processes and then a lost broker.

Each process has a descriptor that becomes readable when it ends. If several end at once, Celery closes the descriptors of all of
them when it handles the first, and the new processes get the same numbers. Celery then takes what is left of the old events for
the end of the new processes, and forgets their descriptors. When it connects to a broker again, it finds None in their place and
ends the worker (celery 5.7).
"""

from __future__ import annotations

from typing import Any

from celery.concurrency import asynpool, prefork


class AsynPool(asynpool.AsynPool):
    def _track_child_process(self, process: Any, hub: Any) -> None:
        if getattr(process, "_sentinel_poll", None) is None:
            # Without the attribute, Celery makes the descriptor anew.
            vars(process).pop("_sentinel_poll", None)
        parent: Any = super()  # celery-types lacks both methods
        parent._track_child_process(process, hub)

    def _event_process_exit(self, hub: Any, process: Any) -> None:
        """Handles the end of a process. An event of an earlier process with the same descriptor is dropped."""
        if not process._is_alive():
            parent: Any = super()
            parent._event_process_exit(hub, process)


class TaskPool(prefork.TaskPool):
    Pool = AsynPool
