"""Creates the logins of a development machine: an operator for the admin, and a tenant with a live and a test key.

They are created at the first start and kept in a file that only its owner can read, so that the next start prints them again.
The database has only their digests.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from accounts import keys
from accounts.models import Mode, Tenant, User
from config.embedded import state
from providers import registry
from providers.contract import Adapter
from providers.keyring import credentials
from providers.models import Credential

OPERATOR = "operator"
TENANT = "demo"
FILE = "logins.json"


@dataclass(frozen=True, kw_only=True)
class Logins:
    """Holds the secrets; `password` is empty if the operator's was set elsewhere."""

    password: str = ""
    live: str = ""
    test: str = ""


def prepare(folder: Path) -> Logins:
    """Returns the kept logins that are still valid, and new ones for the others."""
    before = kept(folder)
    tenant = Tenant.objects.get_or_create(name=TENANT)[0]
    logins = Logins(
        password=_password(before.password),
        live=_api_key(tenant, Mode.LIVE, before.live),
        test=_api_key(tenant, Mode.TEST, before.test),
    )
    state.write(folder / FILE, json.dumps(asdict(logins)))
    _fill_key_ring(tenant)
    return logins


def kept(folder: Path) -> Logins:
    """Returns the logins of the last start; empty ones where there was none."""
    file = folder / FILE
    return Logins(**json.loads(file.read_text())) if file.exists() else Logins()


def _password(kept: str) -> str:
    operator = User.objects.filter(username=OPERATOR).first()
    if operator is None:
        kept = secrets.token_urlsafe(12)
        User.objects.create_superuser(OPERATOR, password=kept)
        return kept
    return kept if operator.check_password(kept) else ""


def _api_key(tenant: Tenant, mode: Mode, kept: str) -> str:
    return kept if keys.find(kept) else keys.issue(tenant, mode, label="made by serve")[1]


def is_played(adapter: Adapter) -> bool:
    """Returns whether the provider's base URL leads to the sandbox, for live searches too."""
    return registry.base_url(adapter).startswith(settings.SANDBOX_URL)


def _fill_key_ring(tenant: Tenant) -> None:
    """Stores a key for each provider that the sandbox plays, which accepts any key."""
    for provider, adapter in registry.PROVIDERS.items():
        if is_played(adapter) and not Credential.objects.for_tenant(tenant).filter(provider=provider).exists():
            credentials.store(tenant, provider, f"sandbox-{tenant.pk}")
