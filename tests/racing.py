"""Runs races in threads, for laws that must hold however a race ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from django.db import connection

from searches import pictures

T = TypeVar("T")


def at_once(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs each task in a thread of its own, all from one instant on. Returns their outcomes."""
    barrier = Barrier(len(tasks))

    def begin(task: Callable[[], Any]) -> Any:
        barrier.wait()
        return run(task)

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [running.result() for running in [pool.submit(begin, task) for task in tasks]]


def run(task: Callable[[], T]) -> T:
    """Runs a task of a thread, and closes the thread's connection."""
    try:
        return task()
    finally:
        connection.close()


def patiently(ask: Callable[[], T]) -> T:
    """Returns the answer, asking again while too many pictures are being read."""
    while True:
        try:
            return ask()
        except pictures.Busy:
            time.sleep(0.05)
