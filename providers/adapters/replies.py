"""Turns a provider's reply into an answer or a failure, in the way that all adapters share.

An adapter decides whether a reply is a success and where its items are. The parsed body, the request's id and the texts that
are kept are the same for all, and quote neither the tenant's key nor its picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from accounts.net import peer_clock
from providers.adapters import parsing, redaction
from providers.adapters.failure_kinds import FailureKind
from providers.adapters.fields import Items
from providers.contract import Access, Answer, Hit, Secret
from providers.failures import Failure, Garbled, Throttled

if TYPE_CHECKING:
    from providers.http import Reply

# The excerpt for operators shows at most so many of the items without an identity.
MOST_SHOWN = 20
# Characters of the provider's own message that a failure passes on.
LONGEST_MESSAGE = 200


@dataclass(frozen=True, kw_only=True)
class ParsedReply:
    """A reply and its JSON body. `envelope`: the body if it is an object, else empty."""

    reply: Reply
    secret: Secret
    body: Any
    envelope: dict[str, Any]

    @classmethod
    def to(cls, request: httpx.Request, access: Access) -> ParsedReply:
        """Sends a request and parses the reply to it."""
        reply = access.send(request)
        body = parsing.parse(reply.content, reply.headers.get("Content-Type", ""))
        return cls(reply=reply, secret=access.secret, body=body, envelope=body if isinstance(body, dict) else {})

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def has_success_status(self) -> bool:
        return 200 <= self.reply.status < 300

    @property
    def request_id(self) -> str:
        """Returns the provider's id of the request, which a complaint would name; empty if there is none."""
        given = self.reply.headers.get("x-request-id") or self.envelope.get("requestId")
        return redaction.request_id(given, self.secret.value)

    def answer(self, items: Items, hits: Iterable[Hit], *, total: int | None = None, last: bool) -> Answer:
        """Returns an answer that bills every item, identified or not."""
        listed = json.dumps(items.others[:MOST_SHOWN], ensure_ascii=False)
        return Answer(
            hits=tuple(hits),
            billed_results=len(items.known) + len(items.others),
            total=total,
            last=last,
            status=self.status,
            request_id=self.request_id,
            unreadable=len(items.others),
            excerpt=redaction.excerpt(listed, self.secret.value) if items.others else "",
        )

    def failure(self, kind: FailureKind, *, message: str = "", billed_results: int | None = 0) -> Failure:
        """Returns the failure to raise.

        `message`: the provider's own words. `billed_results`: the results that an unreadable answer bills; None: not known.
        """
        about: dict[str, Any] = {"status": self.status, "request_id": self.request_id}
        words = redaction.excerpt(message, self.secret.value)[:LONGEST_MESSAGE]
        quoted = f': "{words}"' if words else ""
        detail = f"{kind.detail} It answered {self.status}{quoted}."
        if kind.failure is Throttled:
            retry_after = peer_clock.seconds_to_wait(self.reply.headers)
            return Throttled(kind.code, detail, retry_after=retry_after, **about)
        if kind.failure is Garbled:
            excerpt = redaction.excerpt(self.reply.content, self.secret.value)
            return Garbled(kind.code, detail, excerpt=excerpt, billed_results=billed_results, **about)
        return kind.failure(kind.code, detail, **about)
