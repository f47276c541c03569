"""The reasons why a request out has no good answer, each with a code and a sentence for the tenant who gave the address.

OutboundFailure
├── BadAddress         no address that may be asked, by its spelling or its port
├── PrivateAddress     it leads into a network that is not public
├── Unresolved         DNS knows no such name, or cannot be asked
├── ConnectionRefused  the server accepts no connection
├── BadTLS             the certificate is not valid, or the server speaks no TLS
├── TimedOut           the time was over
├── Broken             the answer stops short, is no HTTP, or is more frame than content
├── AnswerTooLarge     the answer has more bytes than are taken
├── Redirected         3xx
├── BadStatus          any other status than the one wanted
└── CompressedAnswer   compressed, though it was asked not to be
"""

from __future__ import annotations


class OutboundFailure(Exception):
    """The base. `detail`: one sentence or two for the tenant."""

    code: str

    def __init__(self, detail: str, *, code: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class BadAddress(OutboundFailure):
    code = "bad_address"


class PrivateAddress(OutboundFailure):
    code = "private_address"


class Unresolved(OutboundFailure):
    code = "dns_failed"


class ConnectionRefused(OutboundFailure):
    code = "connection_refused"


class BadTLS(OutboundFailure):
    code = "tls_failed"


class TimedOut(OutboundFailure):
    code = "timed_out"


class Broken(OutboundFailure):
    code = "broken_answer"


class AnswerTooLarge(OutboundFailure):
    code = "too_large"


class Redirected(OutboundFailure):
    code = "redirected"


class BadStatus(OutboundFailure):
    code = "bad_status"


class CompressedAnswer(OutboundFailure):
    code = "encoded"
