"""Tests the documents: links, paths and commands exist, and the commands of `sh` blocks run as they are printed."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.core.management import get_commands
from playwright.sync_api import expect, sync_playwright

from tests import programs
from tests.config import breaking_proxy, typescript
from tests.config.test_launcher import Served, folder, free_port
from tests.config.test_try_page import CHROMIUM, failures_of, in_a_browser
from tests.searches import samples

pytestmark = pytest.mark.long

__all__ = ["folder"]

ROOT = programs.CHECKOUT
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
# In the order of a first reading: later blocks use the variables of earlier ones.
RUN = ("README.md", "docs/first-hour.md", "docs/api.md", "docs/webhooks.md", "docs/operations.md")
README_LINES = 130
FIRST_HOUR = ROOT / "docs" / "first-hour.md"
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

# Of each language of the quickstart the program that runs it, and its file.
QUICKSTART = {
    "sh": ("bash", "search.sh"),
    "python": (sys.executable, "search.py"),
    "javascript": ("node", "search.mjs"),
}

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
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


@pytest.fixture(scope="module")
def serve(folder: Path) -> Iterator[Served]:
    served = Served(folder, OUTBOUND_ALLOW="127.0.0.0/8,::1/128")
    with served.program:
        try:
            yield served
        finally:
            served.program.terminate()


@needs_curl
def test_the_commands_run_as_they_are_printed(folder: Path, serve: Served) -> None:
    receivers_port = free_port()
    # The receiver ends with the script, also if a command fails: the script's output is open as long as it runs.
    begin = ["set -e", "trap 'kill $(jobs -p)' EXIT"]
    end = [f"echo {DONE}", "wait"]
    script = "\n".join([*begin, *(block for page in RUN for block in blocks(ROOT / page, "sh")), *end])
    for printed, ours in ((".local", str(folder)), ("127.0.0.1:8000", serve.web[7:]), ("4000", receivers_port)):
        script = script.replace(printed, ours)
    script = re.sub(r"heads-\d{4}-\d\d-\d\d", str(folder / "heads"), script)
    said = run(script.replace("curl ", "curl -sS --fail-with-body "), folder)
    assert '"status":"succeeded"' in said


@pytest.fixture(params=["python", "typescript"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Returns the command of the program that the blocks of one language make."""
    code = "\n".join(blocks(FIRST_HOUR, request.param))
    if request.param == "python":
        (tmp_path / "first_hour.py").write_text(code)
        return [sys.executable, str(tmp_path / "first_hour.py")]
    (tmp_path / "first_hour.mts").write_text(code)
    return typescript.compiled(tmp_path / "first_hour.mts")


def test_the_programs_of_the_first_hour_survive_what_breaks(program: list[str], folder: Path, serve: Served) -> None:
    key, picture = json.loads((folder / "logins.json").read_text())["test"], Path(program[-1]).parent / "picture.jpg"
    language = "Python" if "first_hour.py" in program[-1] else "TypeScript"
    # A picture for each language, because an equal search would be answered from the one before.
    picture.write_bytes(samples.jpeg(300 + len(language), 400))
    environment = {"PATH": os.environ["PATH"], "SIGHTLINE_KEY": key, "PICTURE": str(picture)}
    with breaking_proxy.running(serve.web) as proxy:
        environment["SIGHTLINE_URL"] = proxy.url
        said = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)
    assert (said.returncode, said.stderr) == (0, "")
    assert "\ntiktok-creators succeeded" in said.stdout
    assert proxy.faults == {"create": [], "read": []}
    assert (proxy.too_early, proxy.repeats) == ([], 1)
    headers, query = {"Authorization": f"Bearer {key}"}, {"metadata.campaign": f"first hour in {language}"}
    [_] = httpx.get(f"{serve.web}/v1/searches", params=query, headers=headers).json()["data"]


@needs_curl
@pytest.mark.parametrize("language", QUICKSTART)
def test_the_quickstart_runs_as_it_is_printed(language: str, folder: Path, serve: Served, tmp_path: Path) -> None:
    program, file = QUICKSTART[language]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    page = html.unescape(httpx.get(f"{serve.web}/docs").text)
    [fetch] = re.findall(r"<code>(curl -o picture\.jpg .*?)</code>", page)
    [code] = re.findall(rf'<code class="{language}">(.*?)</code>', page, re.DOTALL)
    (tmp_path / file).write_text(code)
    said = printed(f"{fetch} && '{program}' {file}", tmp_path, SIGHTLINE_KEY=key_of(folder))
    assert "https://www.tiktok.com/@" in said


@needs_curl
@in_a_browser
def test_the_first_page_tries_a_search_and_copies_it(serve: Served, tmp_path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        page = context.new_page()
        failures = failures_of(page)
        page.goto(serve.web)
        page.get_by_role("button", name="mug").click()
        page.get_by_role("button", name="Search", exact=True).click()
        said = page.get_by_role("status").first
        expect(said).to_contain_text("The search has ended as succeeded", timeout=60_000)
        expect(page.get_by_role("heading", level=3)).to_have_count(4)
        assert page.locator("#results .card").count() >= 3 * 5
        picture = page.locator("#results .creator img").first
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        command = page.evaluate("navigator.clipboard.readText()")
        assert failures == []
        browser.close()
    assert '"status":"succeeded"' in printed(command, tmp_path)


def key_of(folder: Path) -> str:
    return str(json.loads((folder / "logins.json").read_text())["test"])


def printed(command: str, folder: Path, **environment: str) -> str:
    """Returns what a command of a page prints, run by a shell in a folder of its own."""
    run_in = {"PATH": os.environ["PATH"], "no_proxy": "*", **environment}
    done = subprocess.run(["bash", "-ec", command], cwd=folder, env=run_in, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(script: str, folder: Path) -> str:
    """Returns what the script says before it is done and its receiver has heard a ping."""
    inherited = {name: value for name, value in os.environ.items() if name not in programs.NOT_INHERITED}
    environment = inherited | {"no_proxy": "*", "STATE_DIR": str(folder)}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with programs.running(["bash", "-c", script], cwd=ROOT, env=environment, **output) as program:
        said = programs.read_until(program, DONE)
        return said if HEARD in said else said + programs.read_until(program, HEARD)
