"""Magic credentials: keys whose value decides how a search with them goes, as payment providers have cards for tests.

The same for every provider. A magic key is a name of `MAGIC`, alone or with a dash or underscore and anything behind it
(`sandbox_error_alice`), so that everybody can have one that nobody else moves on. Its calls play the name's acts in turn,
again and again; a call that breaks the limit is a breach like any other's and plays none.
"""

from __future__ import annotations

import json
from enum import StrEnum
from random import Random

RETRY_AFTER_SECONDS = 1


class Act(StrEnum):
    """What comes of one call. Only what is found is billed, and whatever happens to the answer afterwards, it stays billed."""

    ORDINARY = "ordinary"
    REJECTED = "rejected"
    NO_CREDITS = "no_credits"
    THROTTLED = "throttled"
    THROTTLED_RETRY_AFTER = "throttled_retry_after"
    ERROR = "error"
    # Nothing was searched and nothing billed.
    RESET = "reset"
    # Billed, and the connection ends half way through the answer.
    CUT_OFF = "cut_off"
    # Billed, and answered when nobody waits any more.
    HANG = "hang"
    SLOW = "slow"
    TRUNCATED = "truncated"
    MISTYPED = "mistyped"
    EMPTY = "empty"


# Shuffled anew each time that it is through, in an order that the key alone settles.
UNSTEADY = (
    *(Act.ORDINARY,) * 12,
    *(Act.THROTTLED, Act.THROTTLED, Act.THROTTLED_RETRY_AFTER),
    *(Act.ERROR, Act.ERROR),
    *(Act.RESET, Act.CUT_OFF, Act.HANG),
)
MAGIC: dict[str, tuple[Act, ...]] = {
    "sandbox_rejected": (Act.REJECTED,),
    "sandbox_no_credits": (Act.NO_CREDITS,),
    "sandbox_throttled": (Act.THROTTLED, Act.THROTTLED, Act.ORDINARY),
    "sandbox_throttled_retry_after": (Act.THROTTLED_RETRY_AFTER, Act.THROTTLED_RETRY_AFTER, Act.ORDINARY),
    # Every other one, for there are providers whose page allows a single retry.
    "sandbox_error": (Act.ERROR, Act.ORDINARY),
    "sandbox_down": (Act.ERROR,),
    "sandbox_reset": (Act.CUT_OFF, Act.RESET),
    "sandbox_hang": (Act.HANG,),
    "sandbox_slow": (Act.SLOW,),
    "sandbox_garbage": (Act.TRUNCATED, Act.MISTYPED),
    "sandbox_empty": (Act.EMPTY,),
    "sandbox_unsteady": UNSTEADY,
}


def act(key: str, turn: int) -> Act:
    """What comes of the key's call number `turn`, counted from 1."""
    name = _name(key)
    if name is None:
        return Act.ORDINARY
    acts = list(MAGIC[name])
    time_through, place = divmod(turn - 1, len(acts))
    if MAGIC[name] is UNSTEADY:
        Random(f"{key} {time_through}").shuffle(acts)
    return acts[place]


def always(key: str, what: Act) -> bool:
    """Whether no call with this key goes otherwise."""
    name = _name(key)
    return name is not None and MAGIC[name] == (what,)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def mistyped(content: bytes) -> bytes:
    """JSON still, but each list has become text."""
    answer = json.loads(content)
    said = {name: str(value) for name, value in answer.items() if isinstance(value, list)}
    return json.dumps(answer | said).encode()


def _name(key: str) -> str | None:
    """The longest that fits: `sandbox_throttled_retry_after` is no `sandbox_throttled` of somebody's."""
    names = (name for name in MAGIC if key == name or key.startswith((f"{name}_", f"{name}-")))
    return max(names, key=len, default=None)
