"""The threads of a worker process that carry deliveries, and the one that hands them out.

A delivery may hang for 15 seconds, so there are many threads, and no more than half of them ever wait for endpoints that
are known to be slow: a hundred that hang leave the others' deliveries as quick as ever. Celery's own pool cannot tell the
two apart; its messages only say "look", and without any, or without Redis, the rows are looked at every second all the same.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from accounts.webhooks import delivery, wakeups
from accounts.webhooks.delivery import ClaimedDelivery

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# After a word of something due: it stands for what is recorded a moment later, too.
AGAIN_SECONDS = 2 * wakeups.WAKE_UP_SECONDS


@dataclass
class Place:
    """What a delivery takes up."""

    taken: bool = True


class Dispatcher:
    """So many at once."""

    def __init__(self, threads: int) -> None:
        self._lock = threading.Lock()
        self._room, self._slow_room = threads, max(1, threads // 2)
        self._pool = ThreadPoolExecutor(threads, "delivery")
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._handing_out = threading.Thread(target=self._hand_out, name="dispatcher", daemon=True)
        self._handing_out.start()

    def look(self) -> None:
        self._wake.set()

    def end(self) -> None:
        """Takes nothing more, and waits for nothing: the interpreter ends its pools' threads when they have finished."""
        self._ended.set()
        self._wake.set()

    def join(self) -> None:
        """Once ended: until what is under way is finished."""
        self._handing_out.join()
        self._pool.shutdown()

    def _hand_out(self) -> None:
        woken = False
        while not self._ended.is_set():
            try:
                for claimed in self._claim():
                    self._send_out(claimed)
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
            room, slow_room = self._room, self._slow_room
        return delivery.claim(room=room, slow_room=max(0, slow_room)) if room > 0 else []

    def _send_out(self, claimed: ClaimedDelivery) -> None:
        slow = claimed.delivery.endpoint.slow
        place = Place()
        with self._lock:
            self._room -= 1
            self._slow_room -= slow
        try:
            self._pool.submit(self._deliver, claimed, slow, place)
        except RuntimeError:
            # No thread could be started. Its lease passes, or, where it was put in line all the same, another carries it.
            self._give_back(place, slow)
            raise

    def _deliver(self, claimed: ClaimedDelivery, slow: bool, place: Place) -> None:
        try:
            delivery.deliver(claimed)
        except Exception:
            # Its lease passes, and it is due again.
            log.exception("delivery %s could not be settled", claimed.delivery.pk)
        finally:
            connection.close()
            self._give_back(place, slow)
            self.look()

    def _give_back(self, place: Place, slow: bool) -> None:
        """Once."""
        with self._lock:
            self._room += place.taken
            self._slow_room += place.taken and slow
            place.taken = False


@cache
def of_this_process() -> Dispatcher:
    return Dispatcher(settings.WEBHOOK_THREADS)


def end() -> None:
    """If there are any."""
    if of_this_process.cache_info().currsize:
        of_this_process().end()
