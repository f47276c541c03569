"""Generates a client of each kind from the OpenAPI document, and lets a customer's program use it against the running server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Tenant
from config import openapi
from providers.keyring import credentials
from tests.api.examples import PICTURE, add_results, made

FOLDER = Path(__file__).parent
CHECKOUT = FOLDER.parent.parent


def run(command: Sequence[str | Path], *, cwd: Path, **environment: str) -> str:
    """Returns what the command prints. Fails with it if the command does."""
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment or None)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout + ended.stderr


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(openapi.document()))
    return path


@pytest.fixture(scope="session")
def python_client(document: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generates the client, which must give no warning, beside the program."""
    folder = tmp_path_factory.mktemp("python")
    shutil.copy(FOLDER / "python" / "program.py", folder)
    tools = Path(sys.executable).parent
    places = ["--path", str(document), "--output-path", str(folder / "sightline")]
    options = ["--meta", "none", "--fail-on-warning"]
    # It formats its files with ruff.
    printed = run([tools / "openapi-python-client", "generate", *places, *options], cwd=folder, PATH=str(tools))
    assert "arning" not in printed
    return folder


@pytest.fixture(scope="session")
def typescript_client(document: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generates the types, and compiles the program with them."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm are not on this machine.")
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(FOLDER / "typescript", folder, dirs_exist_ok=True)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("npm cannot get the packages of package-lock.json here.")
    printed = subprocess.run(
        ["node", "generate.mjs", document, "schema.ts"], cwd=folder, check=True, capture_output=True, text=True
    )
    assert not printed.stdout + printed.stderr
    run(["node", "node_modules/typescript/bin/tsc"], cwd=folder)
    return folder


@pytest.fixture
def arguments(alice: Tenant, live_server: LiveServer, tmp_path: Path, client_of: Any) -> list[str]:
    """Returns what a program gets: the address, a live key, a picture, and a search that has results."""
    credentials.store(alice, "modash", "alices-modash-key")
    client: APIClient = client_of(alice)
    search = made(client)
    add_results(search)
    (tmp_path / "picture.jpg").write_bytes(PICTURE)
    _, secret = keys.issue(alice, Mode.LIVE)
    return [live_server.url, secret, str(tmp_path / "picture.jpg"), str(search.pk)]


def test_the_types_of_the_python_client_are_right(python_client: Path) -> None:
    checked = ["program.py", "sightline/models", "sightline/api"]
    # The generator's own module beside them has untyped arguments.
    options = ["--strict", "--follow-imports=silent", "--config-file=", "--cache-dir=cache"]
    run([sys.executable, "-m", "mypy", *options, *checked], cwd=python_client)


@pytest.mark.django_db(transaction=True)
def test_a_program_with_the_python_client_works(python_client: Path, arguments: list[str]) -> None:
    assert "credits [('modash', '0')]" in run([sys.executable, "program.py", *arguments], cwd=python_client)


@pytest.mark.django_db(transaction=True)
def test_a_program_with_the_typescript_client_works(typescript_client: Path, arguments: list[str]) -> None:
    assert "credits [ '0' ]" in run(["node", "built/program.js", *arguments], cwd=typescript_client)


def test_the_lock_of_the_packages_names_no_registry() -> None:
    lock = json.loads((FOLDER / "typescript" / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
