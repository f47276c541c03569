"""Compiles a TypeScript program, strictly, with the compiler of `tests/clients`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients import test_clients

PACKAGES = test_clients.FOLDER / "typescript"
OPTIONS = ("--strict", "--target", "es2022", "--module", "nodenext", "--types", "node")


def compiled(program: Path) -> list[str]:
    """Returns the command that runs the program. Skips the test where Node.js or the compiler cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js and npm are not on this machine.")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, program.parent)
    install = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    try:
        subprocess.run(install, cwd=program.parent, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("npm cannot get the packages of package-lock.json here.")
    test_clients.run([node, "node_modules/typescript/bin/tsc", *OPTIONS, program.name], cwd=program.parent)
    return [node, str(program.with_suffix(".mjs"))]
