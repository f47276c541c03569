"""Signs deliveries as Standard Webhooks has it, by that project's own library, so that its libraries verify them anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook


def headers(id: str, body: str, *, at: datetime, secrets: Sequence[str]) -> dict[str, str]:
    """One signature a secret, any of which is enough. `at`: of this attempt; receivers refuse what is minutes off."""
    at = at.astimezone(UTC)  # the library takes any time for UTC
    signatures = (Webhook(secret).sign(msg_id=id, timestamp=at, data=body) for secret in secrets)
    return {
        "Webhook-Id": id,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(signatures),
    }
