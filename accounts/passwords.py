"""Hashes operators' passwords, one at a time in a process and after everything else.

A hash takes half a second of a processor on purpose. A client that sends many log-ins would otherwise slow every request.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.hashers import PBKDF2PasswordHasher

# A third of the weight of a thread that serves requests.
NICE = 5


def _give_way() -> None:
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, 0, NICE)


_aside = ThreadPoolExecutor(1, "passwords", initializer=_give_way)


class Hasher(PBKDF2PasswordHasher):
    """Django's default hasher, under the same name in stored hashes."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        return _aside.submit(super().encode, password, salt, iterations).result()
