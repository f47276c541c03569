"""Confines a process that reads a hostile picture: bounds its memory and time, and takes away files, account and system calls.

Resource limits work everywhere, a change of account needs root, and the filter of system calls needs Linux; each is applied where
the system allows it. None can be undone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from contextlib import suppress

# An account id that no account has: above those of people, below `nobody` (65534), which owns too much.
ACCOUNT = 65_432
PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 3, 4, 22, 38
SECCOMP_MODE_FILTER = 2
# Classic BPF: load a word, return, jump if equal, jump if any bit is set.
LOAD, RETURN, EQUAL, ANY_BIT = 0x20, 0x06, 0x15, 0x45
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
# Offsets in `seccomp_data`: a call's number, its machine, and the lower half of its first argument.
CALL, MACHINE, ARGUMENT = 0, 4, 16
CLONE_THREAD = 0x00010000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Allowed calls, with their numbers by machine in the order above: memory, time, open files, threads, and the process's own end.
CALLS = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "sysinfo": (99, 179),
    # Pillow resolves the path of a file without a name.
    "getcwd": (79, 17),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "times": (100, 153),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "getrandom": (318, 278),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
CLONE, CLONE3 = (56, 220), (435, 435)
# Sets limits of a process, of which only its own are allowed.
PRLIMIT = (302, 261)


def close_to_others() -> None:
    """Keeps processes of the same account from reading this one's memory and environment."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_closed_to_others() -> bool:
    return sys.platform == "linux" and bool(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)


class Confined:
    """Prepares the confinement in the program, which may still open files, for the processes that it forks."""

    def __init__(self) -> None:
        self.linux = sys.platform == "linux"
        self.library = ctypes.CDLL(None, use_errno=True)
        self.filter = _filter() if self.linux else None
        self.memory_bytes = _own_memory() if self.linux else 0
        self.nowhere = os.open(os.devnull, os.O_RDWR)

    def begin(self) -> None:
        """Takes away files, account and system calls. It takes milliseconds, so it is done before an order arrives."""
        for number in (0, 1, 2):
            os.dup2(self.nowhere, number)
        os.close(self.nowhere)
        # Open files and sockets stay open; no other can be opened.
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NOFILE):
            _limit(kind, 0)
        # A root without the capability to change its account keeps it; the filter still applies.
        with suppress(OSError):
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(ACCOUNT)
                os.setuid(ACCOUNT)
        if self.linux:
            self.library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
            self.library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if self.filter is not None:
                # A system without filters refuses; the limits and the account still apply.
                self.library.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(self.filter), 0, 0)

    def bound(self, *, memory_bytes: int, seconds: int) -> None:
        """Limits memory and time as the order says. `memory_bytes` is added to what the program itself has."""
        _limit(resource.RLIMIT_AS, self.memory_bytes + memory_bytes)
        # One second more for faulthandler's report.
        _limit(resource.RLIMIT_CPU, seconds, seconds + 1)


def _limit(kind: int, most: int, hard: int | None = None) -> None:
    # Not every system has every limit.
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (most, most if hard is None else hard))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def _filter() -> Program | None:
    """Builds the filter, which allows the listed calls and new threads, and answers all other calls with "not permitted"."""
    if platform.machine() not in MACHINES:
        return None
    machine = MACHINES[platform.machine()]
    column = list(MACHINES).index(platform.machine())
    # Each step: code, how many steps to skip if true and if false, value.
    steps = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, machine),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
        (LOAD, 0, 0, CALL),
        # A filter cannot read this call's arguments, which are in memory. "Not implemented" makes the C library use the older
        # one.
        (EQUAL, 0, 1, CLONE3[column]),
        (RETURN, 0, 0, REFUSE | errno.ENOSYS),
        (EQUAL, 0, 4, CLONE[column]),
        (LOAD, 0, 0, ARGUMENT),
        (ANY_BIT, 0, 1, CLONE_THREAD),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
        (EQUAL, 0, 4, PRLIMIT[column]),
        (LOAD, 0, 0, ARGUMENT),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
    ]
    for numbers in CALLS.values():
        steps += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ALLOW)]
    steps.append((RETURN, 0, 0, REFUSE | errno.EPERM))
    return Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))


def _own_memory() -> int:
    """Returns the size of the program's address space in bytes."""
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[0]) * resource.getpagesize()
