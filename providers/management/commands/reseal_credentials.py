"""Moves every sealed secret to the first of `CREDENTIAL_KEYS` while searches run, so that an older sealing key can be retired.

The secrets are the keys to the providers, the secrets of webhooks and of operators' apps, and the answers that are kept with
idempotency keys. Every process must know the new key before the command starts, as the first key or a later one. Run the command
until no secret remains, then remove the old key.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import idempotency_keys, second_factors
from accounts.webhooks import endpoints
from providers.keyring import sealing


class Command(BaseCommand):
    help = "Moves every sealed secret to the first key of CREDENTIAL_KEYS, while searches run. Again is harmless."

    def handle(self, *args: Any, **options: Any) -> None:
        keys, signing, answers = sealing.reseal(), endpoints.reseal(), idempotency_keys.reseal()
        apps = second_factors.reseal()
        moved = keys.moved + signing.moved + answers.moved + apps.moved
        current = keys.current + signing.current + answers.current + apps.current
        self.stdout.write(f"{moved} resealed, {current} under the first key already.")
        for credential in keys.unopenable:
            self.stderr.write(f"{credential.tenant}: {credential} cannot be opened and needs re-entry.")
        for endpoint in signing.unopenable:
            self.stderr.write(f"{endpoint.tenant}: the webhook secret of {endpoint} cannot be opened; rotate it.")
        for row in answers.unopenable:
            self.stderr.write(
                f"{row.tenant}: a kept answer cannot be opened; it is deleted at {row.expires_at:%d %B, %H:%M} UTC."
            )
        for device in apps.unopenable:
            self.stderr.write(f"{device.user}: the second factor cannot be opened; reset it.")
        left = len(apps.unopenable) + len(keys.unopenable) + len(signing.unopenable) + len(answers.unopenable)
        if left:
            raise CommandError(f"{left} cannot be opened with any key of CREDENTIAL_KEYS; the rest is done.")
