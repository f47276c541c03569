"""Runs as a program that forks processes, each of which reads one picture and ends.

`isolation` runs the program by its path: without the rest of Sightline, its keys, its environment or its open files. The program
itself never reads a picture. A forked process gives up what it does not need (`confinement`), waits for an order, answers and
ends, which gives its memory back.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import types
from contextlib import closing, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

# Ahead of an order: the limit of memory, of processor time, and how many bytes of JSON and of the picture follow.
HEAD = struct.Struct(">QIIQ")
# Ahead of an answer's JSON: how many bytes it has.
ANSWER = struct.Struct(">I")
# The starts of faulthandler's reports, which a process writes in place of an answer when it crashes or has no time left. If it
# is ended from outside, it writes none. As numbers they would mean more bytes than any answer has.
CRASHED, OUT_OF_TIME = b"Fata", (b"Thre", b"Curr", b"Stac")
# The number of a process: the program sends it with the process's socket, and gets it back when the process is to end.
NUMBER = struct.Struct(">Q")
TRIED = {"kind": "read", "format": "JPEG", "crop": "", "limits": {}, "most_pixels": 1 << 20}
READY = 6
# Below this number the program forks at once: as many processes as may work at the same time, and one.
LEAST_READY = 4
# The program forks a new process after so long without a request, because a request needs the same processors.
QUIET_SECONDS = 0.03
AT_ONCE = 1 << 20
# Memory that a process touches before it waits for an order: the 4.4 MB of 1280 × 853 pixels, and what is made of them. They take
# 1 ms less than without. More than that would cost each picture processor time for memory that few use.
WARM_BYTES = 6 << 20


def provide(control: socket.socket) -> None:
    """Keeps processes ready, until the web process that started the program ends."""
    from searches.pictures import confinement

    prepare()
    confinement.close_to_others()
    confined = confinement.Confined()
    children: dict[int, int] = {}
    latest = 0
    # Broken: the web process has ended.
    with suppress(BrokenPipeError, ConnectionResetError):
        while True:
            least = LEAST_READY if select.select([control], [], [], QUIET_SECONDS)[0] else READY
            while len(children) < least:
                latest += 1
                children[latest] = fork(control, latest, confined)
            number = received(control, NUMBER.size)
            if len(number) < NUMBER.size:
                break
            end(children.pop(*NUMBER.unpack(number)))
    for process in children.values():
        end(process)


def fork(control: socket.socket, number: int, confined: Any) -> int:
    inner, outer = socket.socketpair()
    process = os.fork()
    if process:
        inner.close()
        with closing(outer):
            socket.send_fds(control, [NUMBER.pack(number)], [outer.fileno()])
        return process
    try:
        outer.close()
        control.close()
        work(inner, confined)
    finally:
        os._exit(0)


def end(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def work(connection: socket.socket, confined: Any) -> None:
    from searches.pictures.work import done

    faulthandler.enable(connection.fileno())
    # The report says that no time is left. The process runs until its web process or the hard limit ends it.
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    faulthandler.register(signal.SIGXCPU, connection.fileno())
    confined.begin()
    # Touches the memory that a picture needs, so that no picture waits while the system copies shared pages or finds new ones.
    done(TRIED, tried())
    b"\1" * WARM_BYTES
    head = received(connection, HEAD.size)
    if len(head) < HEAD.size:
        return
    memory_bytes, seconds, order_bytes, content_bytes = HEAD.unpack(head)
    confined.bound(memory_bytes=memory_bytes, seconds=seconds)
    order = json.loads(received(connection, order_bytes))
    try:
        said, files = done(order, received(connection, content_bytes))
    except Exception:  # a bug, or no memory left: either would happen again with the same picture
        said, files = {"refused": "unreadable"}, []
    # No report may appear in the middle of an answer.
    faulthandler.unregister(signal.SIGXCPU)
    faulthandler.disable()
    text = json.dumps({**said, "files": [len(file) for file in files]}).encode()
    connection.sendall(ANSWER.pack(len(text)) + text)
    for file in files:
        connection.sendall(file)


def received(connection: socket.socket, size: int) -> bytes:
    """Receives `size` bytes, or fewer if the other side is gone."""
    whole = bytearray()
    while len(whole) < size and (piece := connection.recv(min(AT_ONCE, size - len(whole)))):
        whole += piece
    return bytes(whole)


def prepare() -> None:
    """Loads every module that reading a picture needs: a confined process can open no file."""
    import warnings

    from PIL import AvifImagePlugin, Image

    from searches.pictures.exchange import MEDIA_TYPES
    from searches.pictures.work import done

    warnings.simplefilter("ignore")
    # The order has the bounds, so Pillow's own is off.
    Image.MAX_IMAGE_PIXELS = None
    Image.init()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    limits = {"each": (("JPEG",), 1 << 20), "other": (("WEBP",), 1 << 20)}
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        done({**TRIED, "format": format, "crop": "0,0,500000,500000", "limits": limits}, tried(format))
        if format in MEDIA_TYPES:
            done({"kind": "thumbnail", "format": format, "size": (4, 4)}, tried(format))
    gc.collect()
    gc.freeze()


@cache
def tried(format: str = "JPEG") -> bytes:
    """Returns a small picture to warm up with."""
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, format)
    return file.getvalue()


def import_without_packages() -> None:
    """Makes the modules of this folder importable without running their packages, which import Django."""
    here = Path(__file__).parent
    for name, folder in (("searches", here.parent), ("searches.pictures", here)):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    import_without_packages()
    provide(socket.socket(fileno=0))
