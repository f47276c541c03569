"""Advises tenants on the keys that they store: which of them a search uses, and what looks odd about one.

A label is a name and the default is a choice. A key that is labelled `default` need not be the default, so every message about
either says which of the two it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from accounts import vault
from providers import registry
from providers.keyring import credentials
from providers.models import Credential

# So many labels are named in a message.
MOST_NAMED = 10


def why_no_default(tenant_id: UUID, provider: str) -> str:
    """Returns why a search that names no credential has none, and the mend. A label, `default` too, makes no key the default."""
    labels = _labels(tenant_id, provider)
    if not labels:
        return f"No {provider} credential is stored; store your {provider} key first."
    return (
        f"None of your {provider} credentials is the default ({_named(labels)}): name one by its label, or make one the default "
        "(is_default)."
    )


def why_unknown(tenant_id: UUID, provider: str, name: str) -> str:
    """Returns that no credential has this id or label, and which there are."""
    labels = _labels(tenant_id, provider)
    if not labels:
        return f"There is no {provider} credential of this id or label, nor any other; store your {provider} key first."
    told = f"There is no {provider} credential of this id or label ({_named(labels)})"
    default = next((label for label, is_default in labels if is_default), None)
    if default is None:
        return f"{told}; name another: none of them is the default."
    if name == credentials.DEFAULT_LABEL:
        return f"{told}; leave it out for the default, which is a choice and no label."
    return f"{told}; name another, or leave it out for the default."


def _labels(tenant_id: UUID, provider: str) -> list[tuple[str, bool]]:
    stored = Credential.objects.filter(tenant=tenant_id, provider=provider)
    return list(stored.order_by("label").values_list("label", "is_default"))


def _named(labels: Sequence[tuple[str, bool]]) -> str:
    """Names as many as a sentence holds."""
    shown = [f"`{label}`{' is the default' if is_default else ''}" for label, is_default in labels[:MOST_NAMED]]
    more = [f"{len(labels) - MOST_NAMED} more"] if len(labels) > MOST_NAMED else []
    return f"stored: {', '.join([*shown, *more])}"


def standing(credential: Credential) -> str:
    """Returns whether searches that name no credential use it, in a sentence that does not take its label for an answer."""
    if credential.is_default:
        return f"It is your default: searches that name no {credential.provider} credential use it."
    default = credential.tenant.credentials.filter(provider=credential.provider, is_default=True).first()
    whose = f"those use `{default.label}`" if default else "none is the default"
    why = ", for a magic key is it only if you say so" if default is None and credential.is_magic else ""
    return (
        f"It is labelled `{credential.label}` and is not the default of searches that name no {credential.provider} credential: "
        f"{whose}{why}."
    )


def warning(credential: Credential) -> str:
    """Returns what looks odd about the stored key, in a sentence for its owner; empty where nothing does. A magic key is the
    sandbox's, and of one that cannot be opened nothing is known.
    """
    form = registry.PROVIDERS[credential.provider].key_form if credential.provider in registry.PROVIDERS else None
    if form is None or credential.is_magic:
        return ""
    try:
        return form.warning(credentials.secret_of(credential), provider=credential.provider)
    except vault.Unopenable:
        return ""
