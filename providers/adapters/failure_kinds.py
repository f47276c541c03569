"""Names the failures that every provider can have: their class, our code, and the sentence that the tenant reads.

The meaning of a provider's own codes is in its adapter. The meaning of HTTP's statuses is here.
"""

from __future__ import annotations

from typing import NamedTuple

from providers.failures import BadCredential, Exhausted, Failure, Faulty, Garbled, Refused, Throttled


class FailureKind(NamedTuple):
    failure: type[Failure]
    code: str
    detail: str


class FailureKinds:
    """The failures of one provider, in sentences that name it."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.dead_key = FailureKind(
            BadCredential, "credential_invalid", f"{provider} does not accept this key: store one that it accepts."
        )
        self.no_credits = FailureKind(
            Exhausted,
            "credential_exhausted",
            f"The {provider} account of this key has no credits left: add some there.",
        )
        self.refused = FailureKind(
            Refused, "refused", f"{provider} refused the request: it cannot be answered as it is."
        )
        self.their_fault = FailureKind(Faulty, "provider_error", f"{provider} could not answer for the moment.")
        self.too_soon = FailureKind(Throttled, "rate_limited", f"{provider} asked to wait.")

    def unreadable(self, problem: str = "") -> FailureKind:
        whose = f"{self.provider}'" if self.provider.endswith("s") else f"{self.provider}'s"
        detail = f"{whose} answer cannot be read{f': {problem}' if problem else ''}."
        return FailureKind(Garbled, "unreadable_answer", detail)

    def by_status(self, status: int) -> FailureKind:
        """Returns the kind of an answer that says it failed, by HTTP's meaning of its status.

        With a status of success the reason is unknown: the request counts as refused. A status that is neither
        success nor error is documented by no provider: the answer is unreadable.
        """
        known = {401: self.dead_key, 402: self.no_credits, 408: self.their_fault, 429: self.too_soon}
        if status in known:
            return known[status]
        if status >= 500:
            return self.their_fault
        return self.refused if status >= 400 or 200 <= status < 300 else self.unreadable()
