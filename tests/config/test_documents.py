"""Tests the documents: links, paths and commands exist, and the commands of `sh` blocks run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests import programs
from tests.config.test_launcher import Served, folder, free_port

__all__ = ["folder"]

ROOT = programs.CHECKOUT
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
# In the order of a first reading: later blocks use the variables of earlier ones.
RUN = ("README.md", "docs/api.md", "docs/webhooks.md", "docs/operations.md")
README_LINES = 130
# What the script says after its last command, and its receiver about a ping.
DONE, HEARD = "all commands are done", " ping "
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
IN_BACKTICKS = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"\w[\w.-]*(?:/[\w.-]+)*/?")
SUFFIXES = (".py", ".sql", ".lua", ".md", ".conf", ".yml", ".toml", ".txt", ".mjs")
FOLDERS = tuple(
    f"{name}/" for name in ("accounts", "billing", "config", "docs", "providers", "requirements", "searches", "tests")
)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCED.findall(page.read_text()) if name == language]


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def paths(page: Path) -> Iterator[str]:
    for word in IN_BACKTICKS.findall(prose(page)):
        if PATH.fullmatch(word) and (word.endswith(SUFFIXES) or word.startswith(FOLDERS)):
            yield word


@each_page
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_every_path_in_backticks_exists(page: Path) -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for path in paths(page):
        assert (ROOT / path).exists() or any(f"/{file}".endswith(f"/{path}") for file in files), path


@each_page
def test_every_command_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join([*IN_BACKTICKS.findall(prose(page)), *blocks(page, "console"), *blocks(page, "sh")])
    assert set(re.findall(r"\bmake ([a-z]+)", code)) <= targets
    assert set(re.findall(r"\bmanage\.py ([a-z_]+)", code)) <= set(get_commands())


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.count("\n") <= README_LINES
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= set(LINK.findall(readme))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_run_as_they_are_printed(folder: Path) -> None:
    receivers_port = free_port()
    serve = Served(folder, OUTBOUND_ALLOW="127.0.0.0/8,::1/128")
    # The receiver ends with the script, also if a command fails: the script's output is open as long as it runs.
    begin = ["set -e", "trap 'kill $(jobs -p)' EXIT"]
    end = [f"echo {DONE}", "wait"]
    script = "\n".join([*begin, *(block for page in RUN for block in blocks(ROOT / page, "sh")), *end])
    for printed, ours in ((".local", str(folder)), ("127.0.0.1:8000", serve.web[7:]), ("4000", receivers_port)):
        script = script.replace(printed, ours)
    script = re.sub(r"heads-\d{4}-\d\d-\d\d", str(folder / "heads"), script)
    with serve.program:
        try:
            said = run(script.replace("curl ", "curl -sS --fail-with-body "), folder)
        finally:
            serve.program.terminate()
    assert '"status":"succeeded"' in said


def run(script: str, folder: Path) -> str:
    """Returns what the script says before it is done and its receiver has heard a ping."""
    inherited = {name: value for name, value in os.environ.items() if name not in programs.NOT_INHERITED}
    environment = inherited | {"no_proxy": "*", "STATE_DIR": str(folder)}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with programs.running(["bash", "-c", script], cwd=ROOT, env=environment, **output) as program:
        said = programs.read_until(program, DONE)
        return said if HEARD in said else said + programs.read_until(program, HEARD)
