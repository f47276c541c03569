"""Reads pictures in processes of their own, so that a mistake in a decoder reaches no key, no other picture and no other request.

One `decoder` a web process makes them ready beforehand: that costs a picture no start of a program. It is started without our
environment, files or memory, and started anew if it is gone.
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

from accounts.web.bulkhead import Busy
from searches.pictures import confinement, exchange
from searches.pictures.bulkhead import WaitingBulkhead
from searches.pictures.containers import judge
from searches.pictures.cropping import Crop
from searches.pictures.decoder import ANSWER, CRASHED, HEAD, NUMBER, OUT_OF_TIME, READY
from searches.pictures.exceptions import (
    TAKEN,
    BadPicture,
    TooLarge,
    other_bmp,
    too_costly,
    too_long,
    too_many_pixels,
    truncated,
    unreadable,
)
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
# A process that is ended from outside says nothing of its picture, so that another one is asked.
TRIES = 2
# Those that were ready and are all dead are passed over, and there may be as many of a program before.
MOST_DEAD = 4 * READY
# A process that cannot be had within this time will not come.
START_SECONDS = 30.0
MAX_SAID_BYTES = 65_536
# A noise of 50 megapixels as a JPEG has 60 MB.
MAX_ANSWER_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Limits one process. `seconds` are the processor's; on a busy machine a picture may take longer by the clock."""

    seconds: int
    memory_bytes: int

    @property
    def deadline_seconds(self) -> float:
        """Returns the time by the clock after which the process is ended, wherever it is: twice the processor's, for a busy
        machine, and the time that the bytes take.
        """
        return 2.0 * self.seconds + 5

    @property
    def outlasting_seconds(self) -> float:
        """Returns how long a waiter waits, so that one foreign picture alone never makes it give up: to the deadline, and
        the time that ending the process takes.
        """
        return self.deadline_seconds + 5


# 50 megapixels with all their renderings take up to 4 s on a fast processor (noise), a WebP that is clear in parts 1.5 GB.
LARGE = Bound(seconds=12, memory_bytes=1_600_000_000)
# For one whose header says that it is small, whatever its stream hides.
SMALL = Bound(seconds=5, memory_bytes=500_000_000)
# Above this size one at a time in a process.
LARGE_PIXELS = 8_000_000
large_ones = WaitingBulkhead(at_once=1, places=16, share=4, wait_seconds=LARGE.outlasting_seconds, detail=BUSY)
# Small ones do not wait behind large ones. They take milliseconds, so that a tenant may send many at once: half of the threads
# that the server has.
small_ones = WaitingBulkhead(at_once=2, places=48, share=32, wait_seconds=SMALL.outlasting_seconds, detail=BUSY)


def check_size(content: bytes) -> None:
    if not content:
        raise BadPicture("empty", f"The file is empty. {TAKEN}")
    if len(content) > settings.PICTURE_MAX_BYTES:
        raise TooLarge(
            "too_large",
            f"The picture has {len(content):,} bytes; send at most {settings.PICTURE_MAX_BYTES:,}.",
        )


def check(content: bytes) -> None:
    """Reads a picture for nothing but the refusal. Raises `BadPicture` or `Busy`."""
    read(content, limits={}, crop=Crop(), by=None)


def read(content: bytes, *, limits: Mapping[str, Limits], crop: Crop, by: UUID | None) -> tuple[str, Made]:
    """Returns the format that was sent, and the picture as it is kept and sent on. `by`: the tenant's id; None for the operator.
    Raises `BadPicture` or `Busy`.
    """
    check_size(content)
    judged = judge(content, most_pixels=settings.PICTURE_MAX_PIXELS)
    order = {**_fitting("read", judged.format, limits, crop), "most_pixels": settings.PICTURE_MAX_PIXELS}
    said, files = _carried_out(order, content, pixels=judged.pixels, by=by)
    with _believed():
        return judged.format, exchange.made(said, files, content, limits, crop)


def fitted(
    format: str, content: bytes, *, pixels: int, limits: Mapping[str, Limits], crop: Crop, by: UUID | None
) -> dict[str, tuple[str, bytes]]:
    """Returns renderings of a kept file by provider. Raises `BadCrop` or `Busy`."""
    said, files = _carried_out(_fitting("fit", format, limits, crop), content, pixels=pixels, by=by)
    with _believed():
        return exchange.renderings(said, files, content, limits)


def thumbnail(format: str, content: bytes, size: tuple[int, int], *, pixels: int) -> bytes:
    """Makes a kept file small, as a WebP. Raises `BadPicture` or `Busy`."""
    order = {"kind": "thumbnail", "format": format, "size": size}
    _, files = _carried_out(order, content, pixels=pixels, by=None)
    with _believed():
        (small,) = files
        return small


def _fitting(kind: str, format: str, limits: Mapping[str, Limits], crop: Crop) -> dict[str, Any]:
    most = {provider: (list(each.formats), each.max_bytes) for provider, each in limits.items()}
    return {"kind": kind, "format": format, "limits": most, "crop": str(crop)}


def _carried_out(
    order: Mapping[str, Any], content: bytes, *, pixels: float, by: UUID | None
) -> tuple[dict[str, Any], list[bytes]]:
    large = pixels > LARGE_PIXELS
    bound = LARGE if large else SMALL
    with (large_ones if large else small_ones).turn_of(by):
        said, files = _answered(order, content, bound)
    if "refused" in said:
        raise _reason(said["refused"])
    return said, files


def _answered(order: Mapping[str, Any], content: bytes, bound: Bound) -> tuple[dict[str, Any], list[bytes]]:
    """Returns an answer. Raises `Busy` where no process lives long enough to give one, which is not the picture's fault."""
    for _ in range(TRIES):
        try:
            with _believed():
                return decoders.ask(order, content, bound)
        except TimeoutError:
            raise too_costly() from None
        except EOFError:
            logger.warning("A process that reads pictures was ended before it answered.")
        except NotStarted:
            logger.error("The program that reads pictures does not start.")
            break
    raise Busy(GONE)


def _reason(code: object) -> BadPicture:
    if code == "too_many_pixels":
        return too_many_pixels(settings.PICTURE_MAX_PIXELS)
    known = {"truncated": truncated, "too_long": too_long, "format_not_taken": other_bmp}
    return known.get(str(code), unreadable)()


@contextmanager
def _believed() -> Iterator[None]:
    """Refuses the picture whose answer no decoder of ours would give: it may have taken the process over."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise unreadable() from None


class NotStarted(Exception):
    """No process can be had."""


class Decoders:
    """Keeps the processes that are ready for this one. After a fork the child starts its own program."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner = 0
        self.control: socket.socket | None = None
        self.program: subprocess.Popen[bytes] | None = None

    def ask(self, order: Mapping[str, Any], content: bytes, bound: Bound) -> tuple[dict[str, Any], list[bytes]]:
        """Returns what one of them answers, and the files with it. Raises `TimeoutError` where it takes too long, `ValueError`
        where the picture broke its decoder, and `EOFError` where it was ended from outside.
        """
        text = json.dumps(order).encode()
        head = HEAD.pack(bound.memory_bytes, bound.seconds, len(text), len(content))
        ends_at = time.monotonic() + bound.deadline_seconds
        with self._one() as connection:
            try:
                _send(connection, head + text, ends_at)
                _send(connection, content, ends_at)
                (size,) = ANSWER.unpack(_answering(_exactly(connection, ANSWER.size, ends_at)))
                said = json.loads(_exactly(connection, min(size, MAX_SAID_BYTES), ends_at))
                sizes = said["files"]
                if not all(type(size) is int and size >= 0 for size in sizes) or sum(sizes) > MAX_ANSWER_BYTES:
                    raise ValueError("The answer is too large.")
                return said, [_exactly(connection, size, ends_at) for size in sizes]
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
    def _one(self) -> Iterator[socket.socket]:
        with self.lock:
            control, number, connection = self._living()
        try:
            with closing(connection):
                yield connection
        finally:
            with self.lock:
                self._give_back(control, number)

    def _living(self) -> tuple[socket.socket, int, socket.socket]:
        """Passes over those that died while they were waiting."""
        for _ in range(MOST_DEAD):
            control, number, connection = self._ready()
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

    def _ready(self) -> tuple[socket.socket, int, socket.socket]:
        for _ in range(2):
            try:
                control = self._started()
                message, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
            except ConnectionError:
                message, descriptors = b"", []
            except OSError:
                # No process can be had, or none in time.
                break
            if len(message) == NUMBER.size and descriptors:
                return control, *NUMBER.unpack(message), socket.socket(fileno=descriptors[0])
            self._end()
        raise NotStarted

    def _started(self) -> socket.socket:
        if self.control is not None and self.owner == os.getpid():
            return self.control
        if self.control is not None:
            # A parent's.
            self.control.close()
        ours, theirs = socket.socketpair()
        ours.settimeout(START_SECONDS)
        # -I and no environment of ours: nothing from outside changes what the program loads, or lifts its decoders' own limits.
        # A session of its own: a Ctrl-C is for the web server, which then ends the program.
        with closing(theirs):
            try:
                self.program = subprocess.Popen(
                    [sys.executable, "-I", str(PROGRAM)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=ENVIRONMENT,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        self.owner, self.control = os.getpid(), ours
        confinement.close_to_others()
        return ours

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
    """Tells whether the other side is gone: one that waits for an order says nothing, not even a last word."""
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _answering(start: bytes) -> bytes:
    """Returns the start of an answer. Raises `TimeoutError` or `ValueError` where it is a process's last word instead."""
    if start in OUT_OF_TIME:
        raise TimeoutError
    if start == CRASHED:
        raise ValueError("The picture broke its decoder.")
    return start


def _send(connection: socket.socket, content: bytes, ends_at: float) -> None:
    connection.settimeout(_left(ends_at))
    connection.sendall(content)


def _exactly(connection: socket.socket, size: int, ends_at: float) -> bytes:
    """Receives so many bytes. Raises `EOFError` where fewer come."""
    whole = bytearray()
    while len(whole) < size:
        connection.settimeout(_left(ends_at))
        piece = connection.recv(min(1 << 20, size - len(whole)))
        if not piece:
            raise EOFError
        whole += piece
    return bytes(whole)


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


decoders = Decoders()
atexit.register(decoders.stop)
