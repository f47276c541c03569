"""Tests which values production settings refuse and demand, each in a process of its own, because settings are read once."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command

from accounts.models import User
from tests import programs

SECRETS = {
    "PRODUCTION": "true",
    "SECRET_KEY": "pNq4Q6b9zT1uYc8sVx3mKj7rLd2hGf5wAe0iOo-XBnMvCtRkZy_SJHaEWlUqDgPfs1",
    "CREDENTIAL_KEYS": "2026-1:jr3ZmQ0Yc1c2mVb1mUq2vF0hX9vS1b7u3q5n8t2w4y0=",
    "PUBLIC_URL": "https://sightline.example",
    "ALLOWED_HOSTS": "sightline.example",
}
ASKED = """
import json, sys, django
django.setup()
from django.test import Client
answers = {}
for scheme, method, path in json.loads(sys.argv[1]):
    client = Client(headers={"host": "sightline.example"})
    answer = getattr(client, method)(path, secure=scheme == "https")
    answers[f"{scheme} {method} {path}"] = [answer.status_code, dict(answer.headers)]
print(json.dumps(answers))
"""


def in_production(*command: str, **told: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=programs.CHECKOUT,
        env=os.environ | SECRETS | {"DJANGO_SETTINGS_MODULE": "config.settings"} | told,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_deployment_check_finds_nothing() -> None:
    checked = in_production("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no issues" in checked.stdout


def test_only_health_is_served_without_tls() -> None:
    asked = [
        ("http", "get", "/admin/login/"),
        ("http", "get", "/v1/searches"),
        ("http", "post", "/v1/searches"),
        ("http", "get", "/docs"),
        ("http", "get", "/static/unfold/css/styles.css"),
        ("http", "get", "/healthz"),
        ("https", "get", "/healthz"),
    ]
    done = in_production("-c", ASKED, json.dumps(asked))
    answers = json.loads(done.stdout)
    for scheme, method, path in asked[:5]:
        status, headers = answers[f"{scheme} {method} {path}"]
        assert (status, headers["Location"]) == (301, f"https://sightline.example{path}")
    assert answers["http get /healthz"][0] == 200
    assert answers["https get /healthz"][1]["Strict-Transport-Security"].startswith("max-age=31536000")


def test_the_image_is_production_by_default() -> None:
    text = (programs.CHECKOUT / "Dockerfile").read_text()
    last_stage = text[text.rindex("\nFROM ") :]
    assert re.search(r"^ENV [^\n]*\bPRODUCTION=true\b", last_stage, re.MULTILINE)


@pytest.mark.parametrize("password", ["short-1", "password1234", "847593726450182"])
def test_an_operator_gets_no_weak_password(db: None, password: str) -> None:
    with pytest.raises(ValidationError):
        User.objects.create_user("olive", password=password)
    with pytest.raises(ValidationError):
        User.objects.create_superuser("olive", "olive@sightline.example", password)
    assert not User.objects.exists()


def test_a_command_without_questions_makes_no_superuser_with_a_weak_password(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "olive")
    with pytest.raises(CommandError, match="too short"):
        call_command("createsuperuser", interactive=False, username="olive", email="olive@sightline.example")
    assert not User.objects.exists()


def test_a_kept_picture_is_its_accounts_alone(storage: Path) -> None:
    name = default_storage.save("tenant/picture.jpeg", ContentFile(b"picture"))
    assert stat.S_IMODE((storage / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((storage / name).parent.stat().st_mode) == 0o700


def test_a_process_without_keys_starts_and_seals_nothing() -> None:
    seal = "import django; django.setup(); from accounts import vault; vault.seal('secret', associated='here')"
    told = {"KEYLESS": "true", "SECRET_KEY": "", "CREDENTIAL_KEYS": ""}
    assert in_production("manage.py", "check", **told).returncode == 0
    done = in_production("-c", seal, **told)
    assert done.returncode == 1
    assert "ImproperlyConfigured: CREDENTIAL_KEYS" in done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "CREDENTIAL_KEYS"])
def test_any_other_process_needs_its_keys(name: str) -> None:
    done = in_production("manage.py", "check", **{name: ""})
    assert (done.returncode, done.stderr.startswith(f"{name} is not set.")) == (2, True)


@pytest.mark.parametrize(
    ("command", "program", "production"),
    [
        (("-c", "import config.wsgi"), "a web server", "true"),
        (
            ("-m", "celery", "-A", "config", "worker", "-Q", "searches", "--pool", "prefork", "-c", "1"),
            "a worker",
            "true",
        ),
        (
            ("-m", "celery", "-A", "config", "worker", "-Q", "webhooks", "--pool", "threads", "-c", "3"),
            "a worker",
            "false",
        ),
        (("-m", "celery", "-A", "config", "worker", "-B", "-Q", "sweeps", "--pool", "solo"), "a worker", "true"),
    ],
    ids=["web", "prefork", "threads", "with a clock"],
)
def test_no_server_and_no_worker_starts_without_keys(command: tuple[str, ...], program: str, production: str) -> None:
    done = in_production(*command, KEYLESS="true", PRODUCTION=production)
    wanted = f"KEYLESS must not be true for {program}, which needs SECRET_KEY and CREDENTIAL_KEYS.\n"
    assert (done.returncode, done.stderr) == (2, wanted)
