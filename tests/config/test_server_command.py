"""Tests that every server's command in production has the options of the launched servers' commands."""

from __future__ import annotations

import json

from config.launcher import ports, system
from tests import programs


def options(command: list[str]) -> set[str]:
    return {part for part in command if part.startswith("--")}


def test_each_server_of_production_has_the_launcher_s_options() -> None:
    dockerfile = (programs.CHECKOUT / "Dockerfile").read_text()
    in_image = json.loads(dockerfile[dockerfile.rindex("CMD") + 3 :].replace("\\\n", ""))
    compose = (programs.CHECKOUT / "docker-compose.yml").read_text()
    sandbox = compose[compose.index("command: granian") :].split("environment:")[0].split()
    launched = options(system._server("config.wsgi:application", ports.chosen("PORT", 0), workers=2, threads=48))
    assert "--respawn-failed-workers" in launched
    assert launched == options(in_image)
    assert launched - options(sandbox) <= {"--http1-header-read-timeout", "--backlog", "--backpressure"}
