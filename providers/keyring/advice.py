"""Advises tenants on the keys that they store: which of them a search uses, and what looks odd about one.

A label is a name and the default is a choice. A key that is labelled `default` need not be the default, so every message about
either says which of the two it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from accounts import vault
from providers import registry
from providers.keyring import credentials, sealing
from providers.models import Credential
from providers.sandbox import magic_keys

# A message lists at most this many labels, so that it stays one readable sentence.
MOST_LISTED = 10


def why_no_default(tenant_id: UUID, provider: str) -> str:
    """Returns why a search that names no credential has none, and what to do."""
    labels = _labels(tenant_id, provider)
    if not labels:
        return f"No {provider} credential is stored; store your {provider} key first."
    return (
        f"None of your {provider} credentials is the default ({_listed(labels)}): name one by its label, or make one the default "
        "(is_default)."
    )


def why_unknown(tenant_id: UUID, provider: str, name: str) -> str:
    """Returns that no credential has this id or label, which credentials there are, and what to do."""
    labels = _labels(tenant_id, provider)
    if not labels:
        return f"There is no {provider} credential of this id or label, nor any other; store your {provider} key first."
    unknown = f"There is no {provider} credential of this id or label ({_listed(labels)})"
    if not any(is_default for _, is_default in labels):
        return f"{unknown}; name another: none of them is the default."
    if name == credentials.DEFAULT_LABEL:
        return f"{unknown}; leave it out for the default, which is a choice and no label."
    return f"{unknown}; name another, or leave it out for the default."


def _labels(tenant_id: UUID, provider: str) -> list[tuple[str, bool]]:
    stored = Credential.objects.filter(tenant=tenant_id, provider=provider)
    return list(stored.order_by("label").values_list("label", "is_default"))


def _listed(labels: Sequence[tuple[str, bool]]) -> str:
    shown = [f"`{label}`{' is the default' if is_default else ''}" for label, is_default in labels[:MOST_LISTED]]
    more = [f"{len(labels) - MOST_LISTED} more"] if len(labels) > MOST_LISTED else []
    return f"stored: {', '.join([*shown, *more])}"


def default_status(credential: Credential) -> str:
    """Returns a sentence that says whether searches that name no credential use this one."""
    if credential.is_default:
        return f"It is your default: searches that name no {credential.provider} credential use it."
    default = credentials.default_of(credential.tenant_id, credential.provider)
    used = f"those use `{default.label}`" if default else "none is the default"
    why = ", for a magic key is it only if you say so" if default is None and credential.is_magic else ""
    return (
        f"It is labelled `{credential.label}` and is not the default of searches that name no {credential.provider} credential: "
        f"{used}{why}."
    )


def warning(credential: Credential) -> str:
    """Returns what looks odd about the stored key, in a sentence for its owner; empty if nothing does.

    A key that cannot be opened cannot be looked at.
    """
    try:
        key = sealing.secret_of(credential).value
    except vault.Unopenable:
        return ""
    return _unknown_magic(key) if credential.is_magic else _foreign_form(key, credential.provider)


def _unknown_magic(key: str) -> str:
    if magic_keys.name_of(key) is not None:
        return ""
    names = ", ".join(magic_keys.MAGIC)
    return f"No magic key has this name, so the sandbox takes it for an ordinary key. The names are {names}."


def _foreign_form(key: str, provider: str) -> str:
    prefix = registry.PROVIDERS[provider].key_prefix if provider in registry.PROVIDERS else ""
    if key.startswith(prefix):
        return ""
    return f"Keys to {provider} begin with {prefix} by its documents, and this one does not; it is tried all the same."
