"""Signs deliveries by the library of Standard Webhooks, so that the project's libraries can verify them in every language."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook


def headers(id: str, body: str, *, at: datetime, secrets: Sequence[str]) -> dict[str, str]:
    """Returns the header fields of a delivery, with a signature for each secret. `at`: of the attempt; receivers check it."""
    at = at.astimezone(UTC)  # the library takes any time for UTC
    signatures = (Webhook(secret).sign(msg_id=id, timestamp=at, data=body) for secret in secrets)
    return {
        "Webhook-Id": id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(signatures),
    }
