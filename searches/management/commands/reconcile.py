import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from billing import reconciliation
from billing.models import Reconciliation
from billing.reconciliation import CannotReconcile
from providers.failures import Failure
from providers.models import Credential
from searches.reconciliation import readings


class Command(BaseCommand):
    help = (
        "Asks the providers what they counted for the stored keys, and compares it with the calls that were made; exits 1 where "
        "nothing explains a difference, or a provider cannot be asked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("credential", nargs="*", help="ids of credentials; without one, all that can be")

    def handle(self, *args: Any, **options: Any) -> None:
        well = [self._reconcile(credential) for credential in _chosen(options["credential"])]
        self.stdout.write(f"{len(well)} credentials, of which {well.count(False)} need a look.")
        if not all(well):
            sys.exit(1)

    def _reconcile(self, credential: Credential) -> bool:
        """Reconciles one key and prints what was found. Returns whether that is in order."""
        name = f"{credential.pk} ({credential})"
        try:
            reading = readings.reconcile(credential)
        except (CannotReconcile, Failure) as error:
            self.stderr.write(f"{name}: {error}")
            return False
        row = Reconciliation.objects.filter(closing=reading).first()
        if row is None:
            self.stdout.write(f"{name}: {reconciliation.uncompared(reading)}")
            return True
        self.stdout.write(f"{name}: {row.state}. {reconciliation.detail(row)}")
        return row.state != Reconciliation.State.UNEXPLAINED


def _chosen(texts: list[str]) -> list[Credential]:
    if not texts:
        return list(readings.reconcilable().order_by("pk"))
    ids = [_id(text) for text in texts]
    found = Credential.objects.in_bulk(ids)
    for id in ids:
        if id not in found:
            raise CommandError(f"There is no credential {id}.")
    return [found[id] for id in ids]


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(
            f"credential: {text!r} is no id; give that of a provider key, as the admin shows it."
        ) from None
