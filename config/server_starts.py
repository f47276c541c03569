"""Lets a process of the web server end while it still starts.

granian's main process forks each process that answers requests. A fork has the main process's handlers of signals until granian
gives it its own, which is after the application's imports. A SIGTERM that came before was lost: the main process then waited for
a process that served on, until both were killed.
"""

from __future__ import annotations

import multiprocessing
import signal


def end_at_once_when_asked() -> None:
    """Gives the signals back their default until granian takes them. Programs that only import the application keep theirs."""
    if multiprocessing.parent_process() is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
