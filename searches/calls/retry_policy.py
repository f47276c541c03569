"""Decides what follows a failed call. A pure function, whose test is a table; the adapter has said whether a retry can help."""

from __future__ import annotations

from dataclasses import dataclass

from providers import failures
from searches.lanes.backoff import backoff

# One answer must not close a lane for good, so a longer `Retry-After` counts as one hour.
LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Retry:
    """The lookup returns to its queue after `after` seconds. The call counts as one of the page's attempts."""

    after: float


@dataclass(frozen=True, kw_only=True)
class BackOff:
    """The key rests, or its whole lane pauses, for so many seconds. The lookup keeps its turn."""

    seconds: float


@dataclass(frozen=True)
class Block:
    """The credential is dead: the tenant's lookups on it wait until it works again."""


@dataclass(frozen=True)
class Unknown:
    """The call may have been billed."""


@dataclass(frozen=True, kw_only=True)
class Fail:
    """The lookup fails. `answered`: the provider counts the call as a success, and bills it. `billed_results`: for so many
    results, or None where that cannot be known.
    """

    answered: bool = False
    billed_results: int | None = 0


Verdict = Retry | BackOff | Block | Unknown | Fail


def decide(
    failure: failures.Failure, *, attempts: int, allowed: int, throttled: int, throttled_seconds: float = 0
) -> Verdict:
    """Returns what follows from the failure.

    `attempts`: tries of this page that failed before. `throttled`: how often in a row the key or its lane had been told to
    wait. `throttled_seconds`: the wait if the provider names none; 0: ever longer waits.
    """
    match failure:
        case failures.Throttled():
            seconds = failure.seconds_to_wait(throttled_seconds)
            return BackOff(seconds=backoff(throttled) if seconds is None else min(seconds, LONGEST_PAUSE_SECONDS))
        case failures.Unreachable() | failures.Faulty():
            return Retry(after=backoff(attempts)) if attempts + 1 < allowed else Fail()
        case failures.Lost():
            return Unknown()
        case failures.BadCredential() | failures.Exhausted():
            return Block()
        case failures.Garbled(status=int(status), billed_results=results) if 200 <= status < 300:
            return Fail(answered=True, billed_results=results)
    return Fail()
