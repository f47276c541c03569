"""Runs `manage.py` as a person would: in a state folder of its own, with servers of its own, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

import psutil

from config.launcher.reaper import Reaper

CHECKOUT = Path(__file__).resolve().parent.parent
# Variables that the tests' own servers put into the environment.
NOT_INHERITED = {"DATABASE_URL", "REDIS_URL", "STATE_DIR", "STORAGE_DIR"}


@contextmanager
def state_folder() -> Iterator[Path]:
    """Yields a folder that the embedded servers' account may pass through; pytest's own would not let it."""
    path = Path(tempfile.mkdtemp(prefix="sightline-test-", dir="/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        for process in processes_of(path):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        rmtree(path)


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Runs a program that keeps nothing, and kills it with its children at the end of the block. The reaper does so where the
    test process is killed.
    """
    reaper = Reaper()
    try:
        with subprocess.Popen(command, start_new_session=True, **options) as program:
            reaper.watch(program.pid)
            try:
                yield program
            finally:
                reaper.forget(program.pid)
    finally:
        reaper.end_all(lambda: None)


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return subprocess.Popen(
        [sys.executable, "-u", "manage.py", *arguments],
        cwd=CHECKOUT,
        env=inherited | {"STATE_DIR": str(folder)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Returns the exit code and the whole output."""
    with start(folder, *arguments, **environment) as program:
        said, _ = program.communicate(timeout=180)
        return program.returncode, said


def read_until(program: subprocess.Popen[str], text: str) -> str:
    """Returns the output up to a line with the text."""
    assert program.stdout is not None
    said = ""
    for line in program.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"It ended without saying {text!r}: {said}")


def processes_of(folder: Path) -> list[psutil.Process]:
    """Returns every process that has the state folder in its environment or its command."""
    return [process for process in psutil.process_iter() if _knows(process, str(folder))]


def _knows(process: psutil.Process, folder: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(folder in text for text in (*process.environ().values(), *process.cmdline()))
    except psutil.Error:
        return False
