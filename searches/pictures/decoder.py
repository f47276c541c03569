"""Runs as a program that makes processes ready, each of which reads one picture and then is gone.

`isolation` runs it by its path: without the rest of Sightline, its keys, its environment or its open files. It never looks
at a picture itself. A process made ready waits for an order; then, before it reads the first byte of the picture, it
gives up whatever it does not need: see `confinement`. It answers, and ends, and its memory is given back.
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
# How a process's last word begins, which it writes in place of an answer where it breaks, or has no time left. Without one it
# was ended from outside. No answer is as long as these would be as numbers.
CRASHED, OUT_OF_TIME = b"Fata", (b"Thre", b"Curr", b"Stac")
# A process is known by a number, which comes with its socket, and goes back when it is to end.
NUMBER = struct.Struct(">Q")
TRIED = {"kind": "read", "format": "JPEG", "crop": "", "limits": {}, "most_pixels": 1 << 20}
READY = 6
# Fewer than these are too few to wait: as many as may be at work at once, and one.
LEAST_READY = 4
# A new process is made once whoever asked for the last one has gone on: it needs the same processors.
QUIET_SECONDS = 0.03
AT_ONCE = 1 << 20
# A process gets so much memory before it waits: 1280 × 853 pixels take 1 ms less than without.
WARM_BYTES = 4 << 20


def provide(control: socket.socket) -> None:
    """Keeps processes ready; ends with whoever started it."""
    from searches.pictures import confinement

    prepare()
    confinement.close_to_others()
    confined = confinement.Confined()
    children: dict[int, int] = {}
    latest = 0
    # Broken: they are gone for whom it was done.
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
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process:
        ours.close()
        with closing(theirs):
            socket.send_fds(control, [NUMBER.pack(number)], [theirs.fileno()])
        return process
    try:
        theirs.close()
        control.close()
        work(ours, confined)
    finally:
        os._exit(0)


def end(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def work(connection: socket.socket, confined: Any) -> None:
    from searches.pictures.work import done

    faulthandler.enable(connection.fileno())
    # What it would do after its last word is ended by whoever reads that, or by the harder limit.
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    faulthandler.register(signal.SIGXCPU, connection.fileno())
    confined.begin()
    # Touches what it will need, so that a picture does not wait for the memory that is shared until then, or new.
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
    except Exception:  # a mistake of ours, or no memory left: either comes again with the same picture
        said, files = {"refused": "unreadable"}, []
    # No last word in the middle of an answer.
    faulthandler.unregister(signal.SIGXCPU)
    faulthandler.disable()
    text = json.dumps({**said, "files": [len(file) for file in files]}).encode()
    connection.sendall(ANSWER.pack(len(text)) + text)
    for file in files:
        connection.sendall(file)


def received(connection: socket.socket, size: int) -> bytes:
    """Receives so many bytes, or fewer where the other side is gone."""
    whole = bytearray()
    while len(whole) < size and (piece := connection.recv(min(AT_ONCE, size - len(whole)))):
        whole += piece
    return bytes(whole)


def prepare() -> None:
    """Loads whatever a picture needs: a process that is confined can open no file."""
    import warnings

    from PIL import AvifImagePlugin, Image

    from searches.pictures.exchange import MEDIA_TYPES
    from searches.pictures.work import done

    warnings.simplefilter("ignore")
    # The bounds that an order gives are the ones that count.
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
    """Returns a small picture of ours."""
    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, format)
    return file.getvalue()


def alone() -> None:
    """Lets the modules beside this one be imported by their names, without the packages that they are in, which are Django's."""
    here = Path(__file__).parent
    for name, folder in (("searches", here.parent), ("searches.pictures", here)):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    alone()
    provide(socket.socket(fileno=0))
