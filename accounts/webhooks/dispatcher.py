"""The threads of a worker process that deliver, and the thread that claims deliveries for them.

A delivery may hang for 15 seconds, so there are many threads, of which no more than half wait for endpoints that are known to be
slow: a hundred endpoints that hang delay no other. Celery's own pool cannot tell the two apart. A Celery message only says that
something is due; without messages, or without Redis, the rows are looked at every second all the same.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from accounts import log_context
from accounts.webhooks import delivery, wakeups
from accounts.webhooks.delivery import ClaimedDelivery

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# The wait after a wake-up, which serves everything that a process records within `WAKE_UP_SECONDS`.
AGAIN_SECONDS = 2 * wakeups.WAKE_UP_SECONDS


@dataclass
class Slot:
    """The thread that a delivery occupies. `slow`: one of those that slow endpoints may occupy."""

    slow: bool
    taken: bool = True


class Dispatcher:
    """Delivers on so many threads at once."""

    def __init__(self, threads: int) -> None:
        self._lock = threading.Lock()
        self._free, self._free_for_slow = threads, max(1, threads // 2)
        self._pool = ThreadPoolExecutor(threads, "delivery")
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._claiming = threading.Thread(target=self._claim_and_submit, name="dispatcher", daemon=True)
        self._claiming.start()

    def look(self) -> None:
        self._wake.set()

    def end(self) -> None:
        """Ends claiming, and waits for nothing: the interpreter lets the threads of its pools finish."""
        self._ended.set()
        self._wake.set()

    def join(self) -> None:
        """Waits for the deliveries under way, after `end`."""
        self._claiming.join()
        self._pool.shutdown()

    def _claim_and_submit(self) -> None:
        woken = False
        while not self._ended.is_set():
            try:
                for claimed in self._claim():
                    self._submit(claimed)
            except (OperationalError, InterfaceError) as error:
                kind = type(error.__cause__ or error).__name__
                log.warning("the database does not say what is due (%s); it is asked again", kind)
            except Exception:
                log.exception("what is due cannot be looked at")
            finally:
                connection.close()
            woken = self._wake.wait(AGAIN_SECONDS if woken else LOOK_SECONDS)
            self._wake.clear()

    def _claim(self) -> list[ClaimedDelivery]:
        with self._lock:
            free, free_for_slow = self._free, self._free_for_slow
        return delivery.claim(most=free, most_slow=max(0, free_for_slow)) if free > 0 else []

    def _submit(self, claimed: ClaimedDelivery) -> None:
        slot = Slot(slow=claimed.delivery.endpoint.slow)
        with self._lock:
            self._free -= 1
            self._free_for_slow -= slot.slow
        try:
            self._pool.submit(self._deliver, claimed, slot)
        except RuntimeError:
            # No thread could be started. The pool may have queued the delivery all the same; else its lease ends.
            self._release(slot)
            raise

    def _deliver(self, claimed: ClaimedDelivery, slot: Slot) -> None:
        try:
            with log_context.about(delivery=claimed.delivery.pk, event=claimed.delivery.event_id):
                delivery.deliver(claimed)
        except Exception:
            # The lease ends, and the delivery is due again.
            log.exception("delivery %s could not be settled", claimed.delivery.pk)
        finally:
            connection.close()
            self._release(slot)
            self.look()

    def _release(self, slot: Slot) -> None:
        """Releases a slot, at most once."""
        with self._lock:
            self._free += slot.taken
            self._free_for_slow += slot.taken and slot.slow
            slot.taken = False


@cache
def of_this_process() -> Dispatcher:
    return Dispatcher(settings.WEBHOOK_THREADS)


def end() -> None:
    """Ends the dispatcher of this process, if there is one."""
    if of_this_process.cache_info().currsize:
        of_this_process().end()
