"""A picture is decoded in a process of its own, which has no secrets, can do nothing else, and ends afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest
from django.conf import settings
from django.db import transaction

from accounts.models import Tenant
from providers.contract import PictureLimits
from searches import pictures
from searches.pictures import BadPicture, Busy, confinement, decoder, exchange, isolation
from searches.pictures.cropping import Crop
from tests.processes import wait_until
from tests.searches import samples
from tests.searches.pictures.test_formats import ALL

ONLY_JPEG = PictureLimits(formats=("JPEG",), max_bytes=1_000_000)
LIMITS = exchange.Limits(formats=("JPEG",), max_bytes=1_000_000)
MIDDLE = "250000,250000,500000,500000"
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows processes and filters their calls")
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up its account, and look into the program")
# Run in a process that is confined like one that reads a picture. Prints the result of an attempt.
ATTEMPT = """
import json, os, socket, sys, ctypes
sys.path.insert(0, {folder!r})
import decoder
decoder.import_without_packages()
from searches.pictures import confinement
confined = confinement.Confined()
{before}
parent, (ours, theirs) = os.getpid(), os.pipe()
if os.fork() == 0:
    confined.begin()
    confined.bound(memory_bytes=100_000_000, seconds=5)
    def attempt():
        {attempt}
    try:
        said = repr(attempt())
    except BaseException as error:
        said = type(error).__name__
    os.write(theirs, said.encode())
    os._exit(0)
os.wait()
print(os.read(ours, 1000).decode())
"""


def program() -> psutil.Process:
    isolation.decoders.start()
    assert isolation.decoders.program is not None
    return psutil.Process(isolation.decoders.program.pid)


def confined(attempt: str, before: str = "") -> str:
    source = ATTEMPT.format(folder=str(isolation.PROGRAM.parent), attempt=attempt, before=before)
    done = subprocess.run([sys.executable, "-I", "-c", source], capture_output=True, check=True, timeout=60)
    return done.stdout.decode().strip()


@only_linux
@pytest.mark.parametrize(
    "attempt",
    [
        "return open('/etc/passwd').read()",
        "return open(f'/proc/{parent}/environ', 'rb').read()",
        "return open(f'/proc/{parent}/mem', 'rb').read(1)",
        "return open('/tmp/left-by-a-picture', 'w')",
        "return socket.socket()",
        "return socket.socketpair()",
        "return os.pipe()",
        "return os.fork()",
        "return os.execv('/bin/true', ['true'])",
        "return os.kill(parent, 0)",
        "return os.kill(parent, 9)",
        "import resource; return resource.prlimit(parent, resource.RLIMIT_NOFILE, (9, 9))",
        "return os.listdir('/')",
        "return os.setuid(0)",
        "return len(bytearray(400_000_000))",
    ],
)
def test_a_process_that_reads_a_picture_can_do_nothing_else(attempt: str) -> None:
    assert confined(attempt) in {"PermissionError", "OSError", "MemoryError", "FileNotFoundError"}


@only_linux
def test_but_it_can_compute() -> None:
    assert confined("return sum(bytearray(1_000_000)) + 7") == "7"


@only_linux
@only_root
def test_a_process_of_root_gets_an_account_that_no_other_has() -> None:
    """Runs without the filter, under which the process could not read its own account."""
    asked = "return os.getresuid() + os.getresgid() + tuple(os.getgroups())"
    assert confined(asked, before="confined.filter = None") == repr((confinement.ACCOUNT,) * 6)


@only_linux
@only_root
def test_a_root_that_may_not_become_another_reads_pictures_all_the_same() -> None:
    may_not = "os.setgroups = lambda groups: os.open('/nowhere', os.O_RDONLY)"
    assert confined("return 7", before=may_not) == "7"


@only_linux
@pytest.mark.parametrize("attempt", ["return open('/etc/passwd')", "return socket.socket()", "return os.pipe()"])
def test_where_the_system_has_no_filters_it_still_opens_nothing(attempt: str) -> None:
    assert confined(attempt, before="confined.filter = None") == "OSError"


@only_linux
@only_root
def test_the_program_has_nothing_of_ours() -> None:
    process = program()
    # The C library cuts its own variable into pieces as it reads it.
    assert all(name.startswith(("GLIBC_TUNABLES", "glibc.malloc.")) for name in process.environ())
    files = {Path(file.path).suffix for file in process.open_files()}
    assert files == set()
    kinds = {os.readlink(path).split(":")[0] for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert kinds <= {"socket", "pipe", "/dev/null"} | {os.readlink("/proc/self/fd/2").split(":")[0]}
    assert not holds(process.pid, settings.SECRET_KEY.encode())


def holds(pid: int, secret: bytes) -> bool:
    """Returns whether the secret is in the process's writable memory."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            start, end = (int(edge, 16) for edge in place.split("-"))
            if rights.startswith("rw") and "[v" not in line:
                memory.seek(start)
                if secret in memory.read(end - start):
                    return True
    return False


@only_linux
def test_our_own_process_is_closed_to_others_of_its_account() -> None:
    program()
    assert confinement.is_closed_to_others()


@pytest.mark.parametrize("format", ALL)
def test_no_picture_is_decoded_here(alice: Tenant, format: str) -> None:
    content = ALL[format]()
    with patch("PIL.Image.open", side_effect=AssertionError("decoded")):
        with pictures.received(alice, content, fit={"keyapi": ONLY_JPEG}) as draft, transaction.atomic():
            image = draft.save()
        with pictures.known(image, fit={"keyapi": ONLY_JPEG}, crop=MIDDLE) as draft, transaction.atomic():
            draft.save()
        small = pictures.thumbnail(image, (16, 16))
    assert samples.read(small).size == (16, 12)
    assert samples.read(samples.rendering(image.pk, "keyapi", MIDDLE).content).size == (32, 24)


def test_the_web_server_does_not_even_load_a_decoder() -> None:
    source = "import sys, config.wsgi; print(sorted({'PIL', 'pillow_heif'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_as_many_are_ready_as_may_be_at_work_and_one() -> None:
    assert isolation.large_ones.at_once + isolation.small_ones.at_once < decoder.LEAST_READY


def test_each_picture_has_a_process_of_its_own_and_its_memory_is_given_back() -> None:
    process = program()
    isolation.check(samples.jpeg())
    before = settled(process)
    for _ in range(3):
        isolation.check(samples.png())
    # The program ends them, and forks others, when it gets a processor; those hold more memory while they get ready.
    wait_until(lambda: len(set(before) - set(settled(process))) >= 3)
    wait_until(lambda: sum(memory(each) for each in [process, *settled(process)]) < 240_000_000)


def settled(process: psutil.Process) -> list[psutil.Process]:
    """Returns the children of a program, once as many as it makes are ready."""
    wait_until(lambda: len(process.children()) == decoder.READY)
    return process.children()


def memory(process: psutil.Process) -> int:
    """Returns the process's memory, where the system tells it without the pages of files. How many of those are mapped ahead of
    their use depends on what else the machine does.
    """
    with suppress(psutil.NoSuchProcess):
        used = process.memory_info()
        return int(used.rss - getattr(used, "shared", 0))
    return 0


def end(processes: list[psutil.Process], last: signal.Signals = signal.SIGKILL) -> None:
    """Ends processes, and waits until they are dead or have written a report."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(last)
    for process in processes:
        # The program may have ended and buried it meanwhile.
        with suppress(psutil.NoSuchProcess):
            while last == signal.SIGKILL and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.001)


def test_those_that_die_while_they_wait_cost_no_picture_anything() -> None:
    for _ in range(3):
        end(settled(program()))
        isolation.check(samples.png(64, 64))


@pytest.mark.parametrize("times", [1, 2])
def test_a_picture_whose_process_is_killed_is_read_by_another_and_never_called_damaged(times: int) -> None:
    send, kills = isolation._send, iter(range(2 * times))

    def killing(connection: socket.socket, content: bytes, ends_at: float) -> None:
        if next(kills, None) is not None:
            end(settled(program()))
        send(connection, content, ends_at)

    with patch.object(isolation, "_send", side_effect=killing), suppress(Busy):
        isolation.check(samples.png(64, 64))
    isolation.check(samples.png(64, 64))


def test_a_picture_whose_processes_are_all_killed_may_be_sent_again() -> None:
    def killing(*_: object) -> None:
        end(program().children())

    with patch.object(isolation, "_send", side_effect=killing), pytest.raises(Busy, match="no fault of its own"):
        isolation.check(samples.png())
    isolation.check(samples.png())


@only_linux
@only_root
@pytest.mark.parametrize(
    ("last", "code"), [(signal.SIGSEGV, "unreadable"), (signal.SIGABRT, "unreadable"), (signal.SIGXCPU, "too_costly")]
)
def test_a_picture_that_breaks_its_process_or_uses_up_its_time_is_refused_for_that(
    last: signal.Signals, code: str
) -> None:
    send = isolation._send

    def ending(connection: socket.socket, content: bytes, ends_at: float) -> None:
        send(connection, content[:-1], ends_at)
        end(program().children(), last)

    with patch.object(isolation, "_send", side_effect=ending), pytest.raises(BadPicture) as refused:
        isolation.check(samples.png())
    assert refused.value.code == code
    # Processes that were ready got the signal too, and may report it only when they get a processor.
    isolation.decoders.stop()
    isolation.check(samples.png())


def test_the_time_that_a_picture_may_take_is_the_processors() -> None:
    little = isolation.Bound(seconds=1, memory_bytes=1_000_000_000)
    order = {"kind": "read", "format": "PNG", "crop": "", "limits": {}, "most_pixels": 1 << 30}
    with pytest.raises(TimeoutError):
        isolation.decoders.ask(order, samples.png(7000, 7000), little)


def test_where_no_program_can_be_started_a_picture_may_be_sent_again() -> None:
    isolation.decoders.stop()
    with patch.object(subprocess, "Popen", side_effect=BlockingIOError), pytest.raises(Busy):
        isolation.check(samples.png())
    isolation.check(samples.png())


@pytest.mark.parametrize("with_all", [False, True])
def test_where_the_program_is_ended_another_is_started(with_all: bool) -> None:
    first = program()
    end(settled(first) if with_all else [])
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    for _ in range(decoder.READY + 1):
        isolation.check(samples.jpeg())
    assert program().pid != first.pid


def test_it_ends_with_the_process_that_started_it() -> None:
    source = (
        "import os, django; django.setup()\n"
        "from searches.pictures import isolation\n"
        "isolation.decoders.start(); print(isolation.decoders.program.pid, flush=True); os._exit(1)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60, check=False, env=environment)
    pid = int(done.stdout)
    for _ in range(1000):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail("It is still there.")


@pytest.fixture
def answer() -> dict[str, object]:
    return {
        "stored_as": "JPEG",
        "size": [64, 48],
        "pixels_sha256": "0" * 64,
        "original": 0,
        "renderings": {"keyapi": ["JPEG", 0]},
    }


def test_an_answer_as_it_should_be_is_taken(answer: dict[str, object]) -> None:
    made = exchange.made(answer, [], samples.jpeg(), {"keyapi": LIMITS}, Crop())
    assert (made.width, made.height, made.renderings["keyapi"][0]) == (64, 48, "JPEG")
    assert made.renderings["keyapi"][1] is made.original


@pytest.mark.parametrize(
    "wrong",
    [
        {"stored_as": "HTML"},
        {"stored_as": "PNG"},
        {"size": [0, 48]},
        {"size": [64, 10**9]},
        {"size": ["64", 48]},
        {"pixels_sha256": "<script>"},
        {"original": 7},
        {"renderings": {}},
        {"renderings": {"keyapi": ["PNG", 0]}},
        {"renderings": {"keyapi": ["JPEG", 0], "other": ["JPEG", 0]}},
    ],
    ids=json.dumps,
)
def test_an_answer_that_no_decoder_of_ours_gives_is_not_believed(
    answer: dict[str, object], wrong: dict[str, object]
) -> None:
    with patch.object(isolation.decoders, "ask", return_value=({**answer, **wrong}, [])), pytest.raises(BadPicture):
        isolation.read(samples.jpeg(), limits={"keyapi": ONLY_JPEG}, crop=Crop(), by=None)
