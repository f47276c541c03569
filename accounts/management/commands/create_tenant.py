"""Makes a tenant with one live and one test key, and prints the keys, which are never shown again."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction

from accounts import acts, keys
from accounts.models import Mode, Tenant


class Command(BaseCommand):
    help = "Creates a tenant and prints its two API keys, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, name: str, json: bool, **options: Any) -> None:
        tenant, secrets = _created(name.strip())
        self.stdout.write(_as_json(tenant, secrets) if json else _as_text(tenant, secrets))


@transaction.atomic
def _created(name: str) -> tuple[Tenant, dict[str, str]]:
    tenant = Tenant(name=name)
    try:
        tenant.full_clean()
        tenant.save(force_insert=True)
    except ValidationError as error:
        raise CommandError(f"NAME: {' '.join(error.messages)}") from None
    except IntegrityError:
        raise CommandError("NAME: Tenant with this Name already exists.") from None
    issued = {mode.value: keys.issue(tenant, mode) for mode in Mode}
    for row in (tenant, *(key for key, _ in issued.values())):
        acts.record(acts.by_command("create_tenant"), acts.ADD, row)
    return tenant, {mode: secret for mode, (_, secret) in issued.items()}


def _as_json(tenant: Tenant, secrets: dict[str, str]) -> str:
    return json.dumps({"id": str(tenant.id), "name": tenant.name, "api_keys": secrets})


def _as_text(tenant: Tenant, secrets: dict[str, str]) -> str:
    lines = [f"tenant    {tenant.name} ({tenant.id})"]
    lines += [f"{mode} key  {secret}" for mode, secret in secrets.items()]
    return "\n".join([*lines, "The keys are shown this once: keep them now."])
