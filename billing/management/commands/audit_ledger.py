import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import audit, heads
from billing.heads import Head
from billing.models import Entry


class Command(BaseCommand):
    help = "Rebuilds every balance from the ledger's entries and checks their chain; exits 1 on any difference."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--heads",
            action="store_true",
            help="print the last number and hash of each account, and how many these are, if nothing differs; keep them out of "
            "the database's reach",
        )
        parser.add_argument("--against", metavar="FILE", help="also compare with what --heads printed into this file")

    def handle(self, *args: Any, **options: Any) -> None:
        kept = _kept(options["against"]) if options["against"] else []
        with audit.snapshot():
            found = audit.differences(kept)
            ends = list(heads.present()) if options["heads"] else []
            count = Entry.objects.count()
        for difference in found:
            self.stderr.write(difference)
        if found:
            sys.exit(1)
        if options["heads"]:
            self.stdout.write("\n".join(heads.written(ends)))
            return
        self.stdout.write(f"Every balance follows from the ledger's {count} entries, whose chains are whole.")
        if options["against"]:
            self.stdout.write(f"The ledger still has what was kept: {heads.counted(kept)} agreed.")


def _kept(path: str) -> Sequence[Head]:
    try:
        return heads.parse(Path(path).read_text(encoding="utf-8-sig").splitlines())
    except OSError as error:
        raise CommandError(f"--against: {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"--against: {path} is no text; name a file that `audit_ledger --heads` wrote.") from None
    except ValueError as error:
        raise CommandError(f"--against: {path} {error}.") from None
