"""Moves every sealed secret to the first of `CREDENTIAL_KEYS`, while searches run: the way to retire a sealing key.

Every process must know the new key before it starts, as the first or not; run it again until nothing is left, then take
the old key away.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers import credentials


class Command(BaseCommand):
    help = "Moves every sealed secret to the first key of CREDENTIAL_KEYS, while searches run. Again is harmless."

    def handle(self, *args: Any, **options: Any) -> None:
        done = credentials.reseal()
        self.stdout.write(f"{done.moved} resealed, {done.current} under the first key already.")
        for credential in done.left:
            self.stderr.write(f"{credential.tenant}: {credential} cannot be opened and needs re-entry.")
        if done.left:
            raise CommandError(f"{len(done.left)} cannot be opened with any key of CREDENTIAL_KEYS; the rest is done.")
