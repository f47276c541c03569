"""The key ring: stores tenants' keys to the providers sealed, opens one for the moment of a call, and notes what
providers say about them. Nothing here ever puts a secret into a message, a log or a repr.
"""

from __future__ import annotations

import re
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts import vault
from accounts.models import Tenant
from providers.contract import Secret
from providers.models import Credential

# What can stand in a header: anything else would fail at the call, in an exception that quotes it.
SENDABLE = re.compile(r"[!-~]{1,4096}")


class BadSecret(ValueError):
    """Nothing that a provider can have issued."""


@transaction.atomic
def store(tenant: Tenant, provider: str, secret: str, *, label: str = "default") -> Credential:
    """Stores a key, in the place of an earlier one of that label; it is untried from then on.

    The tenant's first key to a provider is its default there. Raises `BadSecret`.
    """
    secret = _clean(secret)
    # One at a time a tenant, so that of two first keys one becomes the default.
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    ring = Credential.objects.for_tenant(tenant).filter(provider=provider)
    credential = ring.filter(label=label).first()
    if credential is None:
        is_default = not ring.filter(is_default=True).exists()
        credential = Credential(tenant=tenant, provider=provider, label=label, is_default=is_default)
    credential.sealed = vault.seal(secret, associated=_owner(tenant.pk, provider))
    credential.fingerprint = vault.fingerprint(secret)
    credential.state = Credential.State.UNKNOWN
    credential.state_changed_at = Now()
    credential.save()
    credential.refresh_from_db()
    return credential


@transaction.atomic
def make_default(credential: Credential) -> None:
    """The tenant's searches that name no credential use this one from now on."""
    Tenant.objects.select_for_update(no_key=True).get(pk=credential.tenant_id)
    ring = Credential.objects.filter(tenant=credential.tenant_id, provider=credential.provider)
    ring.filter(is_default=True).update(is_default=False)
    ring.filter(pk=credential.pk).update(is_default=True)


def secret_of(credential: Credential) -> Secret:
    """Opens it. Raises `vault.Unopenable`."""
    owner = _owner(credential.tenant_id, credential.provider)
    return Secret(value=vault.open(bytes(credential.sealed), associated=owner))


def mark(credential: Credential, state: Credential.State) -> bool:
    """Notes what the provider made of it; False where that was known, or the key has been replaced since it was read."""
    same_key = Credential.objects.filter(pk=credential.pk, fingerprint=credential.fingerprint)
    changed = same_key.exclude(state=state).update(state=state, state_changed_at=Now())
    return changed == 1


def worked(credential: Credential) -> None:
    """Notes that the provider took an untried one. What was found dead meanwhile stays so until it is replaced."""
    untried = Credential.objects.filter(pk=credential.pk, fingerprint=credential.fingerprint)
    untried.filter(state=Credential.State.UNKNOWN).update(state=Credential.State.VERIFIED, state_changed_at=Now())


def _clean(secret: str) -> str:
    secret = secret.strip()
    if not secret:
        raise BadSecret("The provider key is empty.")
    if not SENDABLE.fullmatch(secret):
        raise BadSecret("A provider key is at most 4096 letters, digits and signs, without spaces or line breaks.")
    return secret


def _owner(tenant_id: UUID, provider: str) -> str:
    return f"{tenant_id}:{provider}"
