"""Reads pictures in processes of their own, so that a bug in a decoder reaches no key, no other picture and no other request.

Each web process has one `decoder` program, which forks the processes ahead, so that no picture waits for a program to start. The
program has none of the web process's environment, files or memory, and is started again if it has ended.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts.web import turns
from accounts.web.bulkhead import Busy
from accounts.web.waiting_bulkhead import WaitingBulkhead
from providers.contract import PictureLimits
from searches.pictures import confinement, exchange
from searches.pictures.containers import judge
from searches.pictures.cropping import Crop
from searches.pictures.decoder import ANSWER, CRASHED, HEAD, NUMBER, OUT_OF_TIME, READY
from searches.pictures.exceptions import TAKEN, BadPicture, TooLarge, by_decoder, too_costly, unreadable
from searches.pictures.exchange import Limits, Made

logger = logging.getLogger(__name__)

PROGRAM = Path(__file__).with_name("decoder.py")
BUSY = "Too many pictures are being read right now; send the request again in a moment."
GONE = "The picture could not be read just now, through no fault of its own; send the request again in a moment."
# How the C library gets memory. Each process gets all of its memory anew, and the system gives it 4 kB at a time, which was 10 of
# the 24 ms that 1280 × 853 pixels took. These settings ask for pages of 2 MB where the system has them, and use again what is
# freed, up to 64 MB. One pool for all threads: another one would take 64 MB of the addresses that a process may have.
MEMORY = {"hugetlb": 1, "arena_max": 1, "mmap_threshold": 32 << 20, "trim_threshold": 64 << 20}
ENVIRONMENT = {"GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in MEMORY.items())}
# If a process is ended from outside, its picture may be good, so a second process is asked.
TRIES = 2
# Dead processes that are skipped before the program counts as broken: all that were ready, several times over.
MOST_DEAD = 4 * READY
# If no process is there within this time, none will come.
START_SECONDS = 30.0
MAX_SAID_BYTES = 65_536
# A noise of 50 megapixels as a JPEG has 60 MB.
MAX_ANSWER_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Holds the limits of one process. `seconds` are of processor time; by the clock a busy machine takes longer."""

    seconds: int
    memory_bytes: int

    @property
    def deadline_seconds(self) -> float:
        """Returns the time by the clock: twice the processor's, for a busy machine, and 5 seconds for sending the bytes."""
        return 2.0 * self.seconds + 5

    @property
    def outlasting_seconds(self) -> float:
        """Returns how long a waiter waits: longer than any one picture ahead of it takes until its process is ended."""
        return self.deadline_seconds + 5


# 50 megapixels with all their renderings take up to 4 s on a fast processor (noise), a WebP that is clear in parts 1.5 GB.
LARGE = Bound(seconds=12, memory_bytes=1_600_000_000)
# For a picture whose header says that it is small, whatever its stream hides.
SMALL = Bound(seconds=5, memory_bytes=500_000_000)
# Above this size a web process reads one picture at a time.
LARGE_PIXELS = 8_000_000
large_ones = WaitingBulkhead(at_once=1, places=16, share=4, wait_seconds=LARGE.outlasting_seconds, detail=BUSY)
# Small pictures do not wait behind large ones. Each takes milliseconds, so one tenant may send many at once.
small_ones = WaitingBulkhead(at_once=2, places=48, share=32, wait_seconds=SMALL.outlasting_seconds, detail=BUSY)


def check_size(content: bytes) -> None:
    if not content:
        raise BadPicture("empty", f"The file is empty. {TAKEN}")
    if len(content) > settings.PICTURE_MAX_BYTES:
        most = f"{settings.PICTURE_MAX_BYTES:,}"
        raise TooLarge("too_large", f"The picture has {len(content):,} bytes; send at most {most}.")


def check(content: bytes) -> None:
    """Reads a picture and drops it. Raises `BadPicture` or `Busy`."""
    read(content, limits={}, crop=Crop(), by=None)


def read(content: bytes, *, limits: Mapping[str, PictureLimits], crop: Crop, by: UUID | None) -> tuple[str, Made]:
    """Returns the format that was sent, and the picture as it is stored and sent to providers. Raises `BadPicture` or `Busy`.

    `by`: the tenant's id; None for the operator.
    """
    check_size(content)
    judged = judge(content, most_pixels=settings.PICTURE_MAX_PIXELS)
    taken = _taken(limits)
    order = {**_fitting("read", judged.format, taken, crop), "most_pixels": settings.PICTURE_MAX_PIXELS}
    said, files = _execute(order, content, pixels=judged.pixels, by=by)
    with _refusing_false_answers():
        return judged.format, exchange.made(said, files, content, taken, crop)


def fitted(
    format: str, content: bytes, *, pixels: int, limits: Mapping[str, PictureLimits], crop: Crop, by: UUID | None
) -> dict[str, tuple[str, bytes]]:
    """Returns renderings of a stored file by provider. Raises `BadCrop` or `Busy`."""
    taken = _taken(limits)
    said, files = _execute(_fitting("fit", format, taken, crop), content, pixels=pixels, by=by)
    with _refusing_false_answers():
        return exchange.renderings(said, files, content, taken)


def thumbnail(format: str, content: bytes, size: tuple[int, int], *, pixels: int) -> bytes:
    """Makes a small WebP of a stored file. Raises `BadPicture` or `Busy`."""
    order = {"kind": "thumbnail", "format": format, "size": size}
    _, files = _execute(order, content, pixels=pixels, by=None)
    with _refusing_false_answers():
        (small,) = files
        return small


def small(content: bytes, size: tuple[int, int]) -> bytes:
    """Makes a small WebP of any file that is taken as a picture. Raises `BadPicture` or `Busy`."""
    _, made = read(content, limits={}, crop=Crop(), by=None)
    return thumbnail(made.stored_as, made.original, size, pixels=made.width * made.height)


def _taken(limits: Mapping[str, PictureLimits]) -> dict[str, Limits]:
    return {provider: Limits(each.formats, each.max_bytes) for provider, each in limits.items()}


def _fitting(kind: str, format: str, limits: Mapping[str, Limits], crop: Crop) -> dict[str, Any]:
    return {"kind": kind, "format": format, "limits": limits, "crop": str(crop)}


def _execute(
    order: Mapping[str, Any], content: bytes, *, pixels: float, by: UUID | None
) -> tuple[dict[str, Any], list[bytes]]:
    large = pixels > LARGE_PIXELS
    bound = LARGE if large else SMALL
    with turns.aside(), (large_ones if large else small_ones).turn_of(by):
        said, files = _answered(order, content, bound)
    if "refused" in said:
        raise by_decoder(said["refused"], most_pixels=settings.PICTURE_MAX_PIXELS)
    return said, files


def _answered(order: Mapping[str, Any], content: bytes, bound: Bound) -> tuple[dict[str, Any], list[bytes]]:
    """Returns a process's answer. Raises `Busy` if no process lives long enough to give one, which is not the picture's fault."""
    for _ in range(TRIES):
        try:
            with _refusing_false_answers():
                return decoders.ask(order, content, bound)
        except TimeoutError:
            raise too_costly() from None
        except EOFError:
            logger.warning("A process that reads pictures was ended before it answered.")
        except NotStarted:
            logger.error("The program that reads pictures does not start.")
            break
    raise Busy(GONE)


@contextmanager
def _refusing_false_answers() -> Iterator[None]:
    """Refuses a picture whose answer a decoder cannot give: the picture may have taken the process over."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise unreadable() from None


class NotStarted(Exception):
    """No process could be started."""


class Decoders:
    """Holds this web process's decoder program and the processes that it has ready. After a fork the child starts its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner = 0
        self.control: socket.socket | None = None
        self.program: subprocess.Popen[bytes] | None = None

    def ask(self, order: Mapping[str, Any], content: bytes, bound: Bound) -> tuple[dict[str, Any], list[bytes]]:
        """Returns the answer of one process, and the files with it.

        Raises `TimeoutError` if it takes too long, `ValueError` if the picture broke its decoder, and `EOFError` if the process
        was ended from outside.
        """
        text = json.dumps(order).encode()
        head = HEAD.pack(bound.memory_bytes, bound.seconds, len(text), len(content))
        ends_at = time.monotonic() + bound.deadline_seconds
        with self._process() as connection:
            try:
                _send(connection, head + text, ends_at)
                _send(connection, content, ends_at)
                (size,) = ANSWER.unpack(_start_of_answer(_receive(connection, ANSWER.size, ends_at)))
                said = json.loads(_receive(connection, min(size, MAX_SAID_BYTES), ends_at))
                sizes = said["files"]
                if not all(type(size) is int and size >= 0 for size in sizes) or sum(sizes) > MAX_ANSWER_BYTES:
                    raise ValueError("The answer is too large.")
                return said, [_receive(connection, size, ends_at) for size in sizes]
            except ConnectionError:
                raise EOFError from None

    def start(self) -> None:
        """Starts the program, so that the first picture does not wait for it."""
        with self.lock:
            self._started()

    def stop(self) -> None:
        """Ends the program, and its processes with it."""
        with self.lock:
            if self.owner == os.getpid():
                self._end()

    @contextmanager
    def _process(self) -> Iterator[socket.socket]:
        with self.lock:
            control, number, connection = self._ready_and_alive()
        try:
            with closing(connection):
                yield connection
        finally:
            with self.lock:
                self._give_back(control, number)

    def _ready_and_alive(self) -> tuple[socket.socket, int, socket.socket]:
        """Returns a process that is ready; skips those that died while they waited."""
        for _ in range(MOST_DEAD):
            control, number, connection = self._next()
            if not _is_dead(connection):
                return control, number, connection
            connection.close()
            self._give_back(control, number)
        raise NotStarted

    def _give_back(self, control: socket.socket, number: int) -> None:
        if self.control is control:
            try:
                control.sendall(NUMBER.pack(number))
            except OSError:
                self._end()

    def _next(self) -> tuple[socket.socket, int, socket.socket]:
        for _ in range(2):
            try:
                control = self._started()
                message, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            except ConnectionError:
                message, descriptors = b"", []
            except OSError:
                # No process could be started, or none in time.
                break
            if len(message) == NUMBER.size and descriptors:
                return control, *NUMBER.unpack(message), socket.socket(fileno=descriptors[0])
            self._end()
        raise NotStarted

    def _started(self) -> socket.socket:
        if self.control is not None and self.owner == os.getpid():
            return self.control
        if self.control is not None:
            # The parent's, before a fork.
            self.control.close()
        own_end, programs_end = socket.socketpair()
        own_end.settimeout(START_SECONDS)
        # -I and no inherited environment: nothing outside changes what the program loads, or lifts its decoders' own limits. In a
        # session of its own it gets no Ctrl-C: the web server does, and ends the program.
        with closing(programs_end):
            try:
                self.program = subprocess.Popen(
                    [sys.executable, "-I", str(PROGRAM)],
                    stdin=programs_end.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=ENVIRONMENT,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError:
                own_end.close()
                raise
        self.owner, self.control = os.getpid(), own_end
        confinement.close_to_others()
        return own_end

    def _end(self) -> None:
        if self.control is None or self.program is None:
            return
        self.control.close()
        self.control = None
        try:
            self.program.wait(5)
        except subprocess.TimeoutExpired:
            self.program.kill()
            self.program.wait()


def _is_dead(connection: socket.socket) -> bool:
    """Returns whether the process at the other side has ended. A living one that waits for an order sends nothing."""
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _start_of_answer(start: bytes) -> bytes:
    """Returns the start of an answer. Raises `TimeoutError` or `ValueError` if it is the start of faulthandler's report."""
    if start in OUT_OF_TIME:
        raise TimeoutError
    if start == CRASHED:
        raise ValueError("The picture broke its decoder.")
    return start


def _send(connection: socket.socket, content: bytes, ends_at: float) -> None:
    connection.settimeout(_remaining(ends_at))
    connection.sendall(content)


def _receive(connection: socket.socket, size: int, ends_at: float) -> bytes:
    """Receives `size` bytes. Raises `EOFError` if fewer come."""
    whole = bytearray()
    while len(whole) < size:
        connection.settimeout(_remaining(ends_at))
        piece = connection.recv(min(1 << 20, size - len(whole)))
        if not piece:
            raise EOFError
        whole += piece
    return bytes(whole)


def _remaining(ends_at: float) -> float:
    seconds = ends_at - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


decoders = Decoders()
atexit.register(decoders.stop)
