"""Makes one call to a provider: the question, the key and the address of a claimed lookup, handed to its adapter."""

from __future__ import annotations

import logging
import time

from accounts import vault
from accounts.models import Mode
from providers import policies, registry
from providers.contract import Access, Answer, Question, Secret
from providers.failures import BadCredential, Failure, Garbled, Refused
from providers.keyring import sealing
from providers.limiter import Token, TokenRefused, Unavailable
from providers.models import Credential, Policy
from searches import pictures
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import completion
from searches.models import Lookup

log = logging.getLogger(__name__)


def send(claimed: ClaimedLookup, policy: Policy, token: Token) -> Answer:
    """Asks the provider. Raises only a `Failure`, `TokenRefused` or `Unavailable`: a mistake of ours fails one lookup only."""
    lookup = claimed.lookup
    adapter = registry.adapter(lookup.source)
    question, secret = _question(claimed), _secret(lookup)
    base_url = registry.base_url(adapter, sandboxed=lookup.search.mode == Mode.TEST)
    access = Access(secret=secret, base_url=base_url, client=policies.client(policy), token=token)
    try:
        return adapter.ask(question, access)
    except (Failure, TokenRefused, Unavailable):
        raise
    except Exception as error:
        # The error's text could quote the answer or the request, so only its type is logged.
        log.error("lookup %s: the %s adapter raised %s", lookup.pk, adapter.provider, type(error).__name__)
        # A call that was never sent cannot have been billed.
        status = None if token.sent_at is None else 200
        raise Garbled(
            "internal_error", "The provider's answer could not be handled; we were told.", status=status
        ) from None
    finally:
        claimed.call.finished_at = claimed.instant(time.monotonic())
        if token.sent_at is not None:
            claimed.call.sent_at = claimed.instant(token.sent_at)


def _question(claimed: ClaimedLookup) -> Question:
    lookup = claimed.lookup
    try:
        if claimed.rendering is None:
            raise FileNotFoundError
        picture = pictures.read(claimed.rendering)
    except OSError:
        raise Refused("picture_gone", "The picture is no longer stored; send it again.") from None
    return Question(picture=picture, parameters=lookup.parameters, page=claimed.call.page, page_size=lookup.page_size)


def _secret(lookup: Lookup) -> Secret:
    if lookup.search.mode == Mode.TEST:
        return _sandbox_key(lookup)
    if lookup.credential is None:
        raise completion.credential_deleted()
    return _opened(lookup.credential)


def _sandbox_key(lookup: Lookup) -> Secret:
    """Returns the key for the sandbox, which takes any key and has a limit for each.

    Each tenant has one, and so has each credential that a test search names. Of the keys that tenants store, only magic keys are
    sent to the sandbox; the others are for the providers.
    """
    if lookup.credential is None:
        return Secret(value=f"sandbox-{lookup.tenant_id}")
    stored = _opened(lookup.credential)
    if sealing.is_magic(stored):
        return stored
    return Secret(value=f"sandbox-{lookup.tenant_id}-{lookup.credential.pk}")


def _opened(credential: Credential) -> Secret:
    try:
        return sealing.secret_of(credential)
    except vault.Unopenable:
        raise BadCredential("credential_unreadable", "The stored key cannot be opened and needs re-entry.") from None
