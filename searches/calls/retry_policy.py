"""What follows a failure, as a pure function: its test is a table. The adapter said whether a retry can help."""

from __future__ import annotations

from dataclasses import dataclass

from providers import failures
from searches.lanes.backoff import backoff

# A key is asked with again after this long, whatever a provider says: one answer must not close a lane for good.
LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Again:
    """Back in line, after a while; it was one of the page's attempts."""

    after: float


@dataclass(frozen=True, kw_only=True)
class Pause:
    """The key rests, or its whole lane (`pauses.record_throttle`); the lookup keeps its turn."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Park:
    """The tenant's lookups on this credential wait until it is mended. `state`: what the credential is now."""

    state: str


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """It may have been billed."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The lookup fails. `answered`: the provider takes it for a success, and bills it; `billed_results`: for so many
    results, None where that cannot be told.
    """

    answered: bool = False
    billed_results: int | None = 0


Verdict = Again | Pause | Park | Unknown | Stop


def decide(
    failure: failures.Failure, *, attempts: int, allowed: int, throttled: int, throttled_seconds: float = 0
) -> Verdict:
    """`attempts`: tries of this page that failed before; `throttled`: times in a row that the key or its lane was told to
    wait; `throttled_seconds`: for how long where the provider does not say, 0 for ever longer.
    """
    match failure:
        case failures.Throttled(retry_after=named):
            told = throttled_seconds or None if named is None else named
            return Pause(seconds=backoff(throttled) if told is None else min(told, LONGEST_PAUSE_SECONDS))
        case failures.Unreachable() | failures.Faulty():
            return Again(after=backoff(attempts)) if attempts + 1 < allowed else Stop()
        case failures.Lost():
            return Unknown()
        case failures.BadCredential():
            return Park(state="invalid")
        case failures.Exhausted():
            return Park(state="exhausted")
        case failures.Garbled(status=int(status), billed_results=results) if 200 <= status < 300:
            return Stop(answered=True, billed_results=results)
    return Stop()
