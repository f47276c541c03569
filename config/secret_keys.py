"""Keeps keys unguessable: given keys are checked, those of a development machine are made at random and kept.

A kept key is in the state folder, readable by its owner alone. Programs that start at once agree on one key: each writes a
file of its own, and the first to link it under the key's name wins.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from config.embedded import state

# Words in examples and placeholders. A random key contains none of them.
PLACEHOLDERS = re.compile(rb"secret|change[-_]?me|insecure|password|example|placeholder", re.IGNORECASE)
SECRET_KEY_BYTES = 50
ENOUGH_BITS = 128
# Compression does not shorten a random key: the shortest accepted key, 25 bytes in hexadecimal, needs more bytes than this.
ENOUGH_COMPRESSED_BYTES = 30


def kept(file: Path, make: Callable[[], str]) -> str:
    """Returns the key in the file, and makes it at the first call. Raises `ImproperlyConfigured`."""
    try:
        if not file.exists():
            _make(file, make())
        key = file.read_text().strip()
    except OSError as error:
        message = f"{file} cannot be used ({error.strerror}): set {file.name}, or STATE_DIR to a folder of yours."
        raise ImproperlyConfigured(message) from None
    except state.EmbeddedError as error:
        raise ImproperlyConfigured(str(error)) from None
    if not key:
        raise ImproperlyConfigured(f"{file} is empty: remove it, so that a new key is made.")
    return key


def check_secret_key(key: str) -> None:
    """Raises `ImproperlyConfigured` for a key that can be guessed."""
    if is_guessable(key.encode(), least_bytes=SECRET_KEY_BYTES):
        message = f"it must be {SECRET_KEY_BYTES} random characters or more"
        raise ImproperlyConfigured(f"SECRET_KEY can be guessed: {message}. .env.example says how to make one.")


def check_keyring(keys: Iterable[bytes]) -> None:
    """Raises `ImproperlyConfigured` if one of the keys can be guessed."""
    for number, key in enumerate(keys, start=1):
        if is_guessable(key, least_bytes=len(key)):
            message = f"CREDENTIAL_KEYS: the key of entry {number} can be guessed: it must be random bytes"
            raise ImproperlyConfigured(f"{message}. .env.example says how to make one.")


def _make(file: Path, key: str) -> None:
    state.make(file.parent, state.account_or_ours())
    mine = state.write(file.with_name(f"{file.name}.{secrets.token_hex(8)}"), key)
    try:
        with suppress(FileExistsError):
            os.link(mine, file)
    finally:
        mine.unlink()


def is_guessable(key: bytes, *, least_bytes: int) -> bool:
    """Returns whether a key is too short, a placeholder, or a pattern: repeated, counted up, or of few different bytes."""
    if len(key) < least_bytes or PLACEHOLDERS.search(key):
        return True
    steps = bytes((after - before) % 256 for before, after in pairwise(key))
    compressed = (len(zlib.compress(data, 9, wbits=-15)) for data in (key, steps))
    return min(map(_bits, (key, steps))) < ENOUGH_BITS or min(compressed) < ENOUGH_COMPRESSED_BYTES


def _bits(data: bytes) -> float:
    """Returns the bits of information, were each byte drawn as often as it occurs (Shannon)."""
    return sum(-count * math.log2(count / len(data)) for count in Counter(data).values())
