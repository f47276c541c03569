"""`python -m tests.seed [searches]`: fills the database of `make serve`, which must have no tenants."""

from __future__ import annotations

import os
import sys
import time

from config import embedded, environment


def main(arguments: list[str]) -> int:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from tests.seed import filling

    if settings.PRODUCTION:
        sys.stderr.write("PRODUCTION is set, and a seed is for trying.\n")
        return 2
    call_command("migrate", verbosity=0)
    began, count = time.monotonic(), int(arguments[0]) if arguments else filling.SEARCHES
    try:
        filling.fill(count, anyway=os.environ.get("ANYWAY") == "yes")
    except filling.NotEmpty as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{count:,} searches, in {time.monotonic() - began:.0f} s. `make serve` shows them.\n")
    return 0


if __name__ == "__main__":
    environment.prepare()
    with embedded.services():
        sys.exit(main(sys.argv[1:]))
