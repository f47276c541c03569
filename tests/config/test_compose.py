"""Tests that each container of production has what it needs, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests import programs

TEXT = (programs.CHECKOUT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
SECRETS = ("SECRET_KEY", "CREDENTIAL_KEYS", "POSTGRES_PASSWORD", "VALKEY_PASSWORD")
NEEDED = {
    "web": set(SECRETS),
    "worker": set(SECRETS),
    "worker-sandbox": set(SECRETS),
    "worker-webhooks": set(SECRETS),
    "worker-followers": set(SECRETS),
    "worker-sweeps": set(SECRETS),
    "beat": {"VALKEY_PASSWORD"},
    "migrate": {"POSTGRES_PASSWORD", "VALKEY_PASSWORD"},
    "postgres": {"POSTGRES_PASSWORD"},
    "valkey": {"VALKEY_PASSWORD"},
    "sandbox": set(),
    "proxy": set(),
}
# The file itself sets these, or only machines without it use them.
NOT_TOLD = {"STATE_DIR", "STORAGE_DIR", "PORT", "SANDBOX_PORT", "DATABASE_URL", "REDIS_URL", "PRODUCTION", "DEBUG"}
NOT_TOLD |= {"KEYLESS", "STATIC_DIR", "POSTGRES_PASSWORD", "VALKEY_PASSWORD", "WEB_BIND", "TLS_PROXIES"}

each_service = pytest.mark.parametrize("name", SERVICES)


@each_service
def test_a_container_gets_the_secrets_that_it_needs_and_no_other(name: str) -> None:
    service = SERVICES[name]
    assert "env_file" not in service
    told = str(service.get("environment", {}))
    assert {secret for secret in SECRETS if f"{{{secret}:" in told} == NEEDED[name]


@each_service
def test_a_container_can_write_and_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert "privileged" not in service
    assert name == "postgres" or "cap_add" not in service


@each_service
def test_an_image_is_named_by_its_operator(name: str) -> None:
    """Requires the digest of each image; `.env.example` says how to learn it. A tag could be moved to another image."""
    service = SERVICES[name]
    base = service["build"]["args"]["PYTHON_IMAGE"] if "build" in service else service["image"]
    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:\?set it in \.env, with its digest\}", base)


def test_the_dockerfile_builds_on_no_other_image() -> None:
    text = (programs.CHECKOUT / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON_IMAGE}"}


def test_only_the_proxy_can_be_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]


def test_valkey_asks_for_its_password() -> None:
    assert "requirepass %s" in SERVICES["valkey"]["command"][0]


def test_what_can_be_set_reaches_the_web_server_or_the_sandbox() -> None:
    names = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (programs.CHECKOUT / ".env.example").read_text(), re.MULTILINE))
    wanted = {name for name in names if not name.endswith("_IMAGE")} - NOT_TOLD
    told = {*SERVICES["web"]["environment"], *SERVICES["sandbox"]["environment"]}
    assert wanted - told == set()
