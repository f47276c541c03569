"""Looks names up within a time limit. The system's resolver cannot be interrupted, so it is asked in a thread, which is
abandoned where it takes too long.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

# A function from a name to all its addresses. Raises OSError if there is none.
LookUp = Callable[[str], Sequence[str]]


def by_the_system(host: str) -> list[str]:
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class LookUps:
    """Bounds the look-ups under way. An abandoned one keeps its slot until the resolver's own time limit."""

    def __init__(self, *, at_once: int) -> None:
        self.slots = threading.BoundedSemaphore(at_once)

    def ask(self, host: str, *, seconds: float, look_up: LookUp = by_the_system) -> Sequence[str]:
        """Returns the addresses of a name. Raises `TimeoutError`, or what the look-up raises."""
        deadline = time.monotonic() + seconds
        if not self.slots.acquire(timeout=seconds):
            raise TimeoutError
        answer: Future[Sequence[str]] = Future()
        try:
            threading.Thread(target=self._answer, args=(host, look_up, answer), daemon=True).start()
        except RuntimeError:
            # The thread that would release the slot could not be started.
            self.slots.release()
            raise
        return answer.result(max(0.0, deadline - time.monotonic()))

    def _answer(self, host: str, look_up: LookUp, answer: Future[Sequence[str]]) -> None:
        try:
            answer.set_result(look_up(host))
        except Exception as error:
            answer.set_exception(error)
        finally:
            self.slots.release()
