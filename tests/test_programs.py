"""Tests that a program which a test runs ends with the test, however the test ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from textwrap import dedent

import psutil

from tests import programs
from tests.patience import until

PARENT = "sleep 1000 & echo $!; wait"
# It listens to no SIGTERM, and neither does its child.
STUBBORN = f"trap '' TERM; {PARENT}"
TEST = """
    import subprocess
    import django
    django.setup()
    from tests import programs

    with programs.running({command}, stdout=subprocess.PIPE) as program:
        print(program.pid, int(program.stdout.readline()), flush=True)
        input()
"""


def is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_program_ends_with_its_block_and_with_its_children() -> None:
    with programs.running(["sh", "-c", STUBBORN], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        child = int(program.stdout.readline())
    assert program.returncode == -signal.SIGKILL
    until(lambda: is_over(child), "the child still runs")


def test_a_program_ends_though_its_test_is_killed() -> None:
    source = dedent(TEST.format(command=["sh", "-c", PARENT]))
    with subprocess.Popen(
        [sys.executable, "-c", source], cwd=programs.CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as test:
        assert test.stdout is not None
        program, child = map(int, test.stdout.readline().split())
        assert not is_over(program)
        assert not is_over(child)
        test.kill()
    until(lambda: is_over(program) and is_over(child), "a program still runs")
