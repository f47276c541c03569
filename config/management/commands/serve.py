"""Runs Sightline on this machine, for trying and development. Production has a container for each part."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.demo import sample_picture
from config.demo.sample_picture import SamplePicture
from config.launcher import System, launched, logins, ports
from config.launcher.errors import Stopped, exits_with_message, refuse_production
from config.launcher.logins import Logins
from providers import registry

WEB_PORT = 8000
SANDBOX_PORT = 8010


class Command(BaseCommand):
    help = "Runs the API, its workers, the sandbox and, where none are given, PostgreSQL and Valkey, until Ctrl-C."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        with exits_with_message():
            refuse_production("serve", "an operator and keys, and prints them")
            port, sandbox_port = ports.chosen_pair(settings.PORT or WEB_PORT, settings.SANDBOX_PORT or SANDBOX_PORT)
            self.say("Starting; this takes about ten seconds ...")
            with launched(port=port, sandbox_port=sandbox_port, has_visitors=True) as system, suppress(Stopped):
                access = logins.prepare(settings.STATE_DIR)
                sample = sample_picture.drawn(settings.STATE_DIR / "demo")
                self.say(_welcome(system, access, sample))
                system.supervise(self.say)

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _welcome(system: System, access: Logins, sample: SamplePicture) -> str:
    password = access.password or "with your own password (`manage.py changepassword operator` sets another)"
    lines = {
        "Try it": f"{system.web}/",
        "API": f"{system.web}/v1",
        "Documents": f"{system.web}/docs",
        "Admin": f"{system.web}/admin/   {logins.OPERATOR}   {password}",
        "Sandbox": system.sandbox,
        "Live key": access.live,
        "Test key": access.test,
        "Picture": str(sample.file),
        "Logs": str(system.logs),
    }
    shown = "\n".join(f"  {name:<10} {value}" for name, value in lines.items())
    advice = "\n".join(map(_of_live_searches, registry.PROVIDERS))
    of_tests = "A search with the test key calls the sandbox, and costs nothing."
    return f"Sightline is running; Ctrl-C stops it.\n{shown}\n{advice}\n{of_tests}"


def _of_live_searches(provider: str) -> str:
    """Returns a line that says where a live search calls the provider, and what it still needs."""
    adapter = registry.PROVIDERS[provider]
    place = f"A live search calls {provider} at {registry.base_url(adapter)}"
    if logins.is_played(adapter):
        return f"{place}, which is the sandbox."
    return f"{place}, with the key that `manage.py store_credential {logins.TENANT} {provider}` stores."
