"""The failures that every provider can have: what each is called here, and what the tenant is told of it.

Which of a provider's codes means which stands in its adapter; what HTTP itself says of a status stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accounts.net import peer_clock
from providers.adapters import reading
from providers.contract import Secret
from providers.failures import BadCredential, Exhausted, Failure, Faulty, Garbled, Refused, Throttled

if TYPE_CHECKING:
    from providers.http import Reply

# What a failure is, our code for it, and what the tenant is told.
Kind = tuple[type[Failure], str, str]


class Kinds:
    """One provider's, in sentences that name it."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.dead_key: Kind = (
            BadCredential,
            "credential_invalid",
            f"{provider} does not accept this key: store one that it accepts.",
        )
        self.no_credits: Kind = (
            Exhausted,
            "credential_exhausted",
            f"The {provider} account of this key has no credits left: add some there.",
        )
        self.refused: Kind = (
            Refused,
            "refused",
            f"{provider} refused the request: it cannot be answered as it is.",
        )
        self.their_fault: Kind = (Faulty, "provider_error", f"{provider} could not answer for the moment.")
        self.too_soon: Kind = (Throttled, "rate_limited", f"{provider} asked to wait.")

    def unreadable(self, problem: str = "") -> Kind:
        whose = f"{self.provider}'" if self.provider.endswith("s") else f"{self.provider}'s"
        told = f"{whose} answer cannot be read{f': {problem}' if problem else ''}."
        return Garbled, "unreadable_answer", told

    def by_status(self, status: int) -> Kind:
        """Of an answer that says it failed, by HTTP's own meanings.

        One with a status of success is no less a failure, for a reason that nobody has heard of, and brought nothing. A
        status that is neither success nor error is none that a provider documents.
        """
        named = {401: self.dead_key, 402: self.no_credits, 408: self.their_fault, 429: self.too_soon}
        if status in named:
            return named[status]
        if status >= 500:
            return self.their_fault
        return self.refused if status >= 400 or 200 <= status < 300 else self.unreadable()


def failure(
    kind: Kind,
    reply: Reply,
    secret: Secret,
    *,
    said: str = "",
    billed_results: int | None = 0,
    request_id: str = "",
) -> Failure:
    """The failure to raise. `said`: the provider's own words, passed on without our key or a picture in them.

    `billed_results`: what it counts although its answer cannot be read; None where that cannot be told.
    """
    made, code, detail = kind
    about: dict[str, Any] = {"status": reply.status, "request_id": request_id}
    words = reading.excerpt(said, secret.value)[:200]
    detail = f'{detail} It answered {reply.status}: "{words}".' if words else f"{detail} It answered {reply.status}."
    if made is Throttled:
        return Throttled(code, detail, retry_after=peer_clock.seconds_to_wait(reply.headers), **about)
    if made is Garbled:
        excerpt = reading.excerpt(reply.content, secret.value)
        return Garbled(code, detail, excerpt=excerpt, billed_results=billed_results, **about)
    return made(code, detail, **about)
