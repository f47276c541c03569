"""Stores a tenant's key to a provider.

The key is read from the terminal or the environment. An argument would stay in the shell's history and show in the list of
processes.
"""

from __future__ import annotations

import os
from getpass import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts import acts
from accounts.models import Tenant
from providers import registry
from providers.keyring import advice, credentials, sealing, verification
from providers.models import Credential


class Command(BaseCommand):
    help = "Stores a provider key of a tenant, read from the terminal or from a variable."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", metavar="TENANT", help="Its id or name.")
        parser.add_argument("provider", metavar="PROVIDER")
        parser.add_argument("--from-env", metavar="VAR", help="The environment variable that holds the key.")
        parser.add_argument(
            "--label",
            default=credentials.DEFAULT_LABEL,
            help="Distinguishes several keys. No label makes a key the default.",
        )

    def handle(self, *args: Any, tenant: str, provider: str, from_env: str | None, label: str, **options: Any) -> None:
        owner = _tenant(tenant)
        if provider not in registry.PROVIDERS:
            known = ", ".join(sorted(registry.PROVIDERS))
            raise CommandError(f"PROVIDER: there is no {provider!r}; known here: {known}.")
        try:
            credential = _stored(owner, provider, _secret(from_env), label)
        except credentials.BadLabel as error:
            raise CommandError(f"--label: {error}") from None
        except (sealing.BadSecret, credentials.TooManyCredentials) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Stored {credential} for {owner}.")
        verification.check(credential)
        credential.refresh_from_db()
        outcome = credential.check_problem or f"{credential.get_state_display()}."
        self.stdout.write(f"It is {credential.state}: {outcome}")
        self.stdout.write(advice.default_status(credential))
        if warning := advice.warning(credential):
            self.stdout.write(f"Note: {warning}")


def _tenant(id_or_name: str) -> Tenant:
    tenant = Tenant.find(id_or_name)
    if tenant is None:
        raise CommandError(f"TENANT: there is none with the id or name {id_or_name!r}.")
    return tenant


@transaction.atomic
def _stored(owner: Tenant, provider: str, secret: str, label: str) -> Credential:
    credential = credentials.store(owner, provider, secret, label=label)
    acts.record(acts.by_command("store_credential"), acts.ADD, credential)
    return credential


def _secret(variable: str | None) -> str:
    if variable is None:
        try:
            return getpass("Provider key: ")
        except (EOFError, KeyboardInterrupt):
            raise CommandError("No key was entered; nothing was stored.") from None
    if variable not in os.environ:
        raise CommandError(f"--from-env: the variable {variable} is not set.")
    return os.environ[variable]
