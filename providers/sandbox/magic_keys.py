"""Defines the magic keys, whose value decides the course of a search, like the test cards of payment providers.

They work alike at every provider. A magic key is a name of `MAGIC`, alone or followed by a dash or underscore and any text
(`sandbox_error_alice`), so that each user can have a key whose turns no other user takes. Its calls play the behaviours of
the name in turn, again and again. A call that breaks the limit is a breach as with any key, and plays none.
"""

from __future__ import annotations

import json
from enum import StrEnum
from random import Random

RETRY_AFTER_SECONDS = 1


class Behaviour(StrEnum):
    """The course of one call. A search that was made is billed, and stays billed whatever happens to its answer."""

    ORDINARY = "ordinary"
    REJECTED = "rejected"
    NO_CREDITS = "no_credits"
    THROTTLED = "throttled"
    THROTTLED_RETRY_AFTER = "throttled_retry_after"
    ERROR = "error"
    # The connection is reset. Nothing was searched and nothing is billed.
    RESET = "reset"
    # Billed, and the connection ends half way through the answer.
    CUT_OFF = "cut_off"
    # Billed, and answered when the caller no longer waits.
    HANG = "hang"
    SLOW = "slow"
    TRUNCATED = "truncated"
    MISTYPED = "mistyped"
    EMPTY = "empty"


# Shuffled anew for each round, in an order that depends on the key alone.
UNSTEADY = (
    *(Behaviour.ORDINARY,) * 12,
    *(Behaviour.THROTTLED, Behaviour.THROTTLED, Behaviour.THROTTLED_RETRY_AFTER),
    *(Behaviour.ERROR, Behaviour.ERROR),
    *(Behaviour.RESET, Behaviour.CUT_OFF, Behaviour.HANG),
)
MAGIC: dict[str, tuple[Behaviour, ...]] = {
    "sandbox_rejected": (Behaviour.REJECTED,),
    "sandbox_no_credits": (Behaviour.NO_CREDITS,),
    "sandbox_throttled": (Behaviour.THROTTLED, Behaviour.THROTTLED, Behaviour.ORDINARY),
    "sandbox_throttled_retry_after": (
        Behaviour.THROTTLED_RETRY_AFTER,
        Behaviour.THROTTLED_RETRY_AFTER,
        Behaviour.ORDINARY,
    ),
    # Every second call fails, for one provider's page allows a single retry.
    "sandbox_error": (Behaviour.ERROR, Behaviour.ORDINARY),
    "sandbox_down": (Behaviour.ERROR,),
    "sandbox_reset": (Behaviour.CUT_OFF, Behaviour.RESET),
    "sandbox_hang": (Behaviour.HANG,),
    "sandbox_slow": (Behaviour.SLOW,),
    "sandbox_garbage": (Behaviour.TRUNCATED, Behaviour.MISTYPED),
    "sandbox_empty": (Behaviour.EMPTY,),
    "sandbox_unsteady": UNSTEADY,
}


def name_of(key: str) -> str | None:
    """Returns the longest name that fits, so that `sandbox_throttled_retry_after` is not taken for `sandbox_throttled`."""
    names = (name for name in MAGIC if key == name or key.startswith((f"{name}_", f"{name}-")))
    return max(names, key=len, default=None)


def behaviour(key: str, turn: int) -> Behaviour:
    """Returns the behaviour of the key's call number `turn`, counted from 1."""
    name = name_of(key)
    if name is None:
        return Behaviour.ORDINARY
    behaviours = list(MAGIC[name])
    round_number, position = divmod(turn - 1, len(behaviours))
    if MAGIC[name] is UNSTEADY:
        Random(f"{key} {round_number}").shuffle(behaviours)
    return behaviours[position]


def always(key: str, behaviour: Behaviour) -> bool:
    """Returns whether every call with this key behaves so."""
    name = name_of(key)
    return name is not None and MAGIC[name] == (behaviour,)


def mistyped(content: bytes) -> bytes:
    """Returns valid JSON in which each list has become a text."""
    answer = json.loads(content)
    said = {name: str(value) for name, value in answer.items() if isinstance(value, list)}
    return json.dumps(answer | said).encode()
