"""Tests every way to start a program of ours, with a `.env` and with a wrong one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import environment
from config import settings as configured
from config.launcher import ports
from tests import programs
from tests.config.conftest import KEYS
from tests.patience import HANGS_AFTER_SECONDS

GRANIAN = ["granian", "--interface", "wsgi", "--workers", "1", "--no-log", "--port", str(ports.chosen("PORT", 0))]
WEB = ["-m", *GRANIAN, "config.wsgi:application"]
SANDBOX = ["-m", *GRANIAN, "config.sandbox_wsgi:application"]
CELERY = ["-m", "celery", "-A", "config", "report"]
COMMAND = ["manage.py", "check"]
SERVE = ["manage.py", "serve"]
NOWHERE = "DATABASE_URL=postgresql://nobody@127.0.0.1:9/none\nREDIS_URL=redis://127.0.0.1:9/0\n"


def said(arguments: list[str], file: Path, content: str | None) -> list[str]:
    """Returns the lines of a program that ends with code 1 or 2, as granian and all others do. None: there is no such file."""
    if content is not None:
        file.write_text(content)
    unset = {"PRODUCTION", "SECRET_KEY", "CREDENTIAL_KEYS", "PUBLIC_URL", "DATABASE_URL", "REDIS_URL", "STATE_DIR"}
    environ = {name: value for name, value in os.environ.items() if name not in unset} | {"ENV_FILE": str(file)}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environ | {"STATE_DIR": str(file.parent / "state")},
        cwd=programs.CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == (1 if "granian" in arguments else 2), done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "arguments", [WEB, SANDBOX, CELERY, COMMAND, SERVE], ids=["web", "sandbox", "celery", "check", "serve"]
)
def test_a_line_that_cannot_be_read_ends_every_start(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / ".env"
    assert said(arguments, file, "PORT=1\nPRODUCTION true\n") == [f"{file}, line 2: it is not NAME=value."]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("arguments", [WEB, CELERY, COMMAND, SERVE], ids=["web", "celery", "check", "serve"])
def test_a_setting_that_is_wrong_ends_every_start_with_its_line(tmp_path: Path, arguments: list[str]) -> None:
    lines = said(arguments, tmp_path / ".env", f"{NOWHERE}LOG_LEVEL=verbose\n")
    assert lines == ["LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL."]


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    assert said(COMMAND, tmp_path / "production.env", None) == [f"ENV_FILE: there is no {tmp_path}/production.env."]


def test_the_sandbox_reads_only_its_own_settings(tmp_path: Path) -> None:
    lines = said(SANDBOX, tmp_path / ".env", "PRODUCTION=true\nLOG_LEVEL=verbose\nSANDBOX_CALLS=many\n")
    assert lines == ["SANDBOX_CALLS must be a whole number from 0 to 1000000."]


@pytest.mark.parametrize(
    "line",
    [
        "PRODUCTION = true",
        "\ufeffPRODUCTION=true",
        "PRODUCTION=true # on",
        "export PRODUCTION='true'\r",
        "PRODUCTION: on",
    ],
)
def test_no_form_of_production_starts_development(tmp_path: Path, line: str) -> None:
    lines = said(COMMAND, tmp_path / ".env", f"{line}\n{NOWHERE}")
    assert lines == ["SECRET_KEY is not set. Production needs it; .env.example says how to make one."]


@pytest.mark.parametrize("name", ["PRODUCTON", "production", "PRODUCTION_"])
def test_a_misspelt_name_starts_nothing(tmp_path: Path, name: str) -> None:
    lines = said(COMMAND, tmp_path / ".env", f"POSTGRES_PASSWORD=x\nWEB_BIND=127.0.0.1:8000\n{name}=true\n{NOWHERE}")
    assert lines == [f"{tmp_path}/.env: {name} is no setting; PRODUCTION is."]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *((name, "PRODUCTION") for name in ("PROD", "PRODUCTION_MODE", "IS_PROD", "APP_ENV", "ENVIRONMENT", "prod")),
        *((name, "SECRET_KEY") for name in ("SECRET", "DJANGO_SECRET_KEY", "APP_SECRET_KEY")),
        *(("DATABASE", "DATABASE_URL"), ("POSTGRES_DATABASE_URL_", ""), ("STORAGE", "STORAGE_DIR")),
        *(("HOSTS", "ALLOWED_HOSTS"), ("DEBUG_MODE", "DEBUG"), ("CREDENTIAL", "CREDENTIAL_KEYS")),
        *((name, "") for name in ("COMPOSE_PROJECT_NAME", "DOCKER_HOST", "POSTGRES_PORT", "TZ", "LANG", "MY_TEAM")),
    ],
)
def test_a_name_in_a_file_that_is_meant_as_a_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setattr(environment, "_in_file", {name: Path("/x/.env"), "POSTGRES_PASSWORD": Path("/x/.env")})
    if not meant:
        environment.refuse_misspelt(configured.env.settings)
        return
    with pytest.raises(ImproperlyConfigured, match=rf"^/x/\.env: {name} is no setting; {meant} is\.$"):
        environment.refuse_misspelt(configured.env.settings)


def test_a_file_with_a_name_that_no_system_takes_costs_one_line(tmp_path: Path) -> None:
    (line,) = said(COMMAND, tmp_path / ("x" * 300), None)
    assert line.startswith("ENV_FILE: ")
    assert line.endswith(" cannot be read: File name too long.")


@pytest.mark.parametrize("name", ["STATE_DIR", "STORAGE_DIR"])
@pytest.mark.parametrize("wrong", ["~nosuchuser/x", "x" * 300, "/dev/null/x"])
def test_a_folder_that_cannot_be_made_costs_one_line(tmp_path: Path, name: str, wrong: str) -> None:
    code, told = programs.run(tmp_path, "check", **{name: wrong})
    assert (code, told) == (2, f"{name} must be a folder, or the path of one that can be made.\n")


def test_production_starts_no_servers_of_its_own(tmp_path: Path) -> None:
    keys = "".join(f"{name}='{key}'\n" for name, key in KEYS.items())
    lines = said(COMMAND, tmp_path / ".env", f"PRODUCTION=true\nPUBLIC_URL=https://sightline.example.com\n{keys}")
    assert lines == ["DATABASE_URL is not set. Production needs it; .env.example says how to make one."]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("arguments", [WEB, SANDBOX], ids=["web", "sandbox"])
def test_a_server_that_is_asked_to_end_while_it_starts_ends(tmp_path: Path, arguments: list[str]) -> None:
    endless = tmp_path / "django/__init__.py"
    endless.parent.mkdir()
    endless.write_text("import time\nprint('importing', flush=True)\ntime.sleep(1000)\n")
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, *arguments]
    with programs.running(command, cwd=programs.CHECKOUT, env=environ, stdout=subprocess.PIPE, text=True) as server:
        programs.read_until(server, "importing")
        server.terminate()
        server.wait(timeout=HANGS_AFTER_SECONDS)
