"""Seals the secrets of tenants, so that a stolen database opens nothing.

Uses AES-GCM under the first of `CREDENTIAL_KEYS`. The key's id is written in front, so that a key can be replaced while older
keys still open what they sealed. The owner of a secret (tenant and provider, or tenant and endpoint) is authenticated with it: a
sealed value that is copied to another row does not open there.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

# version (1 byte) · length of the key's id (1 byte) · the key's id · nonce · ciphertext and tag
VERSION = 1
NONCE_BYTES = 12
KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Unopenable(Exception):
    """Raised where no key of ours opens the sealed value. The message says why, and never quotes the value."""


def seal(plaintext: str, *, associated: str) -> bytes:
    """Seals a text under the first key. `associated`: the owner, who must be named again to open it."""
    key_id, key = next(iter(_keyring(settings.CREDENTIAL_KEYS).items()))
    header = bytes([VERSION, len(key_id)]) + key_id.encode()
    nonce = secrets.token_bytes(NONCE_BYTES)
    return header + nonce + AESGCM(key).encrypt(nonce, plaintext.encode(), header + associated.encode())


def open(sealed: bytes, *, associated: str) -> str:
    """Opens a value that any of the keys sealed. Raises `Unopenable`."""
    header, nonce, ciphertext = _parts(sealed)
    key_id = header[2:].decode(errors="replace")
    key = _keyring(settings.CREDENTIAL_KEYS).get(key_id)
    if key is None:
        raise Unopenable("It was sealed with a key that CREDENTIAL_KEYS no longer names.")
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, header + associated.encode()).decode()
    except InvalidTag:
        raise Unopenable("It was changed, or sealed for another owner or with another key.") from None


def is_current(sealed: bytes) -> bool:
    """Returns whether a value is sealed under the first key. Raises `Unopenable` for an unknown format."""
    return _parts(sealed)[0][2:].decode(errors="replace") == next(iter(_keyring(settings.CREDENTIAL_KEYS)))


def fingerprint(value: str) -> str:
    """Returns a digest by which two secrets are compared without opening them. Keyed by SECRET_KEY, it outlives sealing keys."""
    return salted_hmac("accounts.vault.fingerprint", value, algorithm="sha256").hexdigest()


def _parts(sealed: bytes) -> tuple[bytes, bytes, bytes]:
    if len(sealed) < 2 or sealed[0] != VERSION:
        raise Unopenable("It is in no form that this version knows.")
    nonce_at = 2 + sealed[1]
    ciphertext_at = nonce_at + NONCE_BYTES
    if len(sealed) <= ciphertext_at:
        raise Unopenable("It was cut short.")
    return sealed[:nonce_at], sealed[nonce_at:ciphertext_at], sealed[ciphertext_at:]


def keyring(setting: str) -> dict[str, bytes]:
    """Returns key ids and keys, in order. Raises `ImproperlyConfigured`, which names an entry by its number: an id may be a
    key put in the wrong place.
    """
    found: dict[str, bytes] = {}
    for number, entry in enumerate(setting.split(","), start=1):
        key_id, _, encoded = entry.strip().partition(":")
        key = _decoded(encoded)
        if not KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
            raise _misconfigured(number, "is not id:key, where the key is 32 bytes in URL-safe base64")
        if key_id in found:
            raise _misconfigured(number, "has the id of an earlier entry")
        found[key_id] = key
    return found


_keyring = lru_cache(maxsize=2)(keyring)


def _decoded(encoded: str) -> bytes:
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _misconfigured(number: int, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"CREDENTIAL_KEYS: entry {number} {problem}. .env.example says how to make one.")
