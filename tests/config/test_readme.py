"""The README's commands for a first try run as they are printed, one block after the other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import programs
from tests.config.test_launcher import Served, folder, free_port

__all__ = ["folder"]

README = (programs.CHECKOUT / "README.md").read_text()
NAMES = ("A first request", "Failures to try: magic credentials", "Webhooks")


def blocks(heading: str) -> list[str]:
    """The commands below a heading that ask the API."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    fenced = re.findall(r"^```\w*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [block for block in fenced if "curl" in block]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_readme_run_as_they_are_printed(folder: Path) -> None:
    receivers_port = free_port()
    serve = Served(folder, OUTBOUND_ALLOW="127.0.0.0/8,::1/128")
    script = "\n".join(["set -e", *(block for name in NAMES for block in blocks(name)), "sleep 6; kill $!"])
    for printed, ours in ((".local", str(folder)), ("127.0.0.1:8000", serve.web[7:]), ("4000", receivers_port)):
        script = script.replace(printed, ours)
    with serve.program:
        ran = run(script.replace("curl ", "curl -sS --fail-with-body "))
        serve.program.terminate()
    assert ran.returncode == 0, (ran.stdout[-1000:], ran.stderr)
    assert '"status":"succeeded"' in ran.stdout
    assert "ping" in ran.stdout


def run(script: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"no_proxy": "*"}
    command = ["bash", "-c", script]
    return subprocess.run(
        command, cwd=programs.CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
