"""Tests that another program's variables in the shell change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import environment
from tests import programs

FOREIGN = {
    "DJANGO_SETTINGS_MODULE": "elsewhere.settings",
    "CELERY_BROKER_URL": "redis://elsewhere:1/0",
    "CELERY_BROKER_READ_URL": "redis://elsewhere:1/0",
    "CELERY_BROKER_WRITE_URL": "redis://elsewhere:1/0",
    "CELERY_RESULT_BACKEND": "redis://elsewhere:1/0",
    "CELERY_LOADER": "elsewhere.Loader",
    "CELERY_CONFIG_MODULE": "elsewhere",
    "BROKER_URL": "redis://elsewhere:1/0",
    "RESULT_BACKEND": "redis://elsewhere:1/0",
    "CELERY_WORKER_CONCURRENCY": "elsewhere",
    "PGHOST": "elsewhere",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGPASSWORD": "elsewhere",
    "PGSERVICE": "elsewhere",
    "PGSSLMODE": "verify-full",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "REDIS_HOST": "elsewhere",
    "GRANIAN_PORT": "1",
    "GRANIAN_URL_PATH_PREFIX": "/elsewhere",
    "HTTP_PROXY": "http://elsewhere:1",
    "https_proxy": "http://elsewhere:1",
    "NO_PROXY": "elsewhere",
    "SSL_CERT_FILE": "/elsewhere",
    "SSL_CERT_DIR": "/elsewhere",
    "AWS_ACCESS_KEY_ID": "elsewhere",
}
ASK = """
import os
from celery import current_app
from django.db import connection
from django.conf import settings
with connection.cursor() as cursor:
    cursor.execute("SHOW default_transaction_read_only")
    print(cursor.fetchone()[0], settings.SETTINGS_MODULE)
print(current_app.conf.broker_read_url == current_app.conf.broker_write_url == settings.CELERY_BROKER_URL)
print([name for name, value in os.environ.items() if "elsewhere" in value])
"""


@pytest.mark.parametrize("name", FOREIGN)
def test_a_variable_that_a_library_would_read_is_foreign(name: str) -> None:
    assert environment.is_foreign(name)


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL", "PORT", "PATH", "DJANGO_SUPERUSER_PASSWORD", "KEY"])
def test_our_variables_the_systems_and_answers_to_commands_are_not_foreign(name: str) -> None:
    assert not environment.is_foreign(name)


def hostile(**given: str) -> dict[str, str]:
    return os.environ | FOREIGN | given


def test_a_command_sees_no_foreign_variable() -> None:
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", ASK]
    done = subprocess.run(command, env=hostile(), cwd=programs.CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "off config.settings\nTrue\n[]\n"), done.stderr


def test_celery_sees_no_foreign_variable(tmp_path: Path) -> None:
    """Runs Celery's command line, which reads options from the environment, in part before it loads the application."""
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-c", "1", "--pool", "solo", "-Q", "nobody"]
    with programs.running(
        [*command, "-n", f"foreign-{os.getpid()}@%h"],
        env=hostile(),
        cwd=programs.CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        said = programs.read_until(worker, "concurrency: ")
    assert "elsewhere" not in said
    assert "concurrency: 1 " in said
