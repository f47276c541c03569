"""Defines the failures of a call to a provider, as one tree.

An adapter, or the client that sends its request, classifies a failure. `searches.calls` decides what follows from the class:

    Failure
    ├── Unreachable     nothing was sent                            back in line, counted
    ├── Throttled       they said wait                              the key rests, back in line, not counted
    ├── Faulty          5xx, or their "try later"                   back in line with backoff, counted
    ├── Lost            sent, no whole answer                       outcome unknown: it may have been billed
    ├── Refused         never this question, or not from this account   fail, release
    ├── Garbled         an answer whose envelope we cannot read     fail, release what was not billed
    ├── BadCredential   the tenant's key is dead                    its lookups wait for another
    └── Exhausted       the tenant is out of the provider's credits  the same

A class of its own exists only where something else follows from it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Failure(Exception):
    """A call that got no answer. The tenant sees `code` and `detail`, which have no key, picture or raw body in them."""

    retryable: ClassVar[bool] = False

    def __init__(self, code: str, detail: str, *, status: int | None = None, request_id: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.request_id = request_id


class Unreachable(Failure):
    retryable = True


class Throttled(Failure):
    """The provider asks to wait. `retry_after`: seconds, if the provider named them."""

    retryable = True

    def __init__(self, code: str, detail: str, *, retry_after: float | None = None, **rest: Any) -> None:
        super().__init__(code, detail, **rest)
        self.retry_after = retry_after

    def seconds_to_wait(self, policy_seconds: float) -> float | None:
        """Returns the provider's own wait, or else the policy's (0: it has none); None if neither names one."""
        return (policy_seconds or None) if self.retry_after is None else self.retry_after


class Faulty(Failure):
    retryable = True


class Duplicate(Faulty):
    """The provider takes the question for one that it still works on. The provider itself is well, so no breaker counts this."""


class Lost(Failure):
    retryable = True


class Refused(Failure):
    pass


class Garbled(Failure):
    """An unreadable answer. `excerpt`: at most 2 kB of it, for operators only. `billed_results`: None if they cannot be
    counted.
    """

    def __init__(
        self, code: str, detail: str, *, excerpt: str = "", billed_results: int | None = None, **rest: Any
    ) -> None:
        super().__init__(code, detail, **rest)
        self.excerpt = excerpt[:2048]
        self.billed_results = billed_results


class BadCredential(Failure):
    pass


class Exhausted(Failure):
    pass
