import sys
from typing import Any

from django.core.management.base import BaseCommand

from billing import statements


class Command(BaseCommand):
    help = "Writes the statements of all UTC months that have ended and are not closed; exits 1 if one could not be."

    def handle(self, *args: Any, **options: Any) -> None:
        closed = statements.close_due()
        self.stdout.write(f"Wrote {closed} statement{'' if closed == 1 else 's'}.")
        if left := len(statements.due()):
            self.stderr.write(f"{left} accounts are not closed; the log says why. Run this again.")
            sys.exit(1)
