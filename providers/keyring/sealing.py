"""Seals tenants' keys to the providers, and opens one for the moment of a call.

A key is sealed for its tenant and provider, so that a sealed value copied to another row does not open there. No message, log or
repr of this module has a key in it.
"""

from __future__ import annotations

import re

from accounts import resealing, vault
from accounts.resealing import Resealed
from providers.contract import Secret
from providers.models import Credential

# The characters that a header can carry. Any other would fail at the call, in an exception that quotes the key.
# Characters of a key.
LONGEST = 4096
SENDABLE = re.compile(rf"[!-~]{{1,{LONGEST}}}")
NEEDS_REENTRY = "The stored key cannot be opened and needs re-entry."
# The sandbox's magic keys begin with this prefix. No provider issues such a key.
MAGIC_PREFIX = "sandbox_"
# The columns that `seal` writes.
COLUMNS = ("sealed", "fingerprint", "is_magic")


class BadSecret(ValueError):
    """The text cannot be a provider's key. The message does not quote it."""


def clean(secret: str) -> str:
    """Returns a key as it is stored. Raises `BadSecret`."""
    secret = secret.strip()
    if not secret:
        raise BadSecret("The provider key is empty.")
    if not SENDABLE.fullmatch(secret):
        raise BadSecret("A provider key is at most 4096 letters, digits and signs, without spaces or line breaks.")
    return secret


def seal(credential: Credential, secret: str) -> None:
    """Writes a key into the unsaved columns of a row (`COLUMNS`). Raises `BadSecret`."""
    secret = clean(secret)
    credential.sealed = vault.seal(secret, associated=_owner(credential))
    credential.fingerprint = vault.fingerprint(secret)
    credential.is_magic = is_magic(Secret(value=secret))


def secret_of(credential: Credential) -> Secret:
    """Opens a stored key. Raises `vault.Unopenable`."""
    return Secret(value=vault.open(bytes(credential.sealed), associated=_owner(credential)))


def is_magic(secret: Secret) -> bool:
    """Returns whether a key decides what the sandbox answers. Such a key is sent to no provider."""
    return secret.value.startswith(MAGIC_PREFIX)


def is_unreadable(credential: Credential) -> bool:
    """Returns whether none of our sealing keys opens the stored key: the key that sealed it is gone, or the value was changed."""
    try:
        secret_of(credential)
    except vault.Unopenable:
        return True
    return False


def reseal() -> Resealed[Credential]:
    """Moves every stored key to the first of our sealing keys."""
    rows = Credential.objects.select_related("tenant")
    return resealing.reseal(rows, ["sealed"], _owner)


def _owner(credential: Credential) -> str:
    return f"{credential.tenant_id}:{credential.provider}"
