import sys
from typing import Any

from django.core.management.base import BaseCommand

from billing import audit
from billing.models import Entry


class Command(BaseCommand):
    help = "Rebuilds every balance from the ledger's entries and checks their chain; exits 1 on any difference."

    def handle(self, *args: Any, **options: Any) -> None:
        found = audit.differences()
        for difference in found:
            self.stderr.write(difference)
        if found:
            sys.exit(1)
        self.stdout.write(
            f"Every balance follows from the ledger's {Entry.objects.count()} entries, whose chains are whole."
        )
