#!/usr/bin/env python
"""Django's commands, each with its servers: the environment's, or embedded ones for as long as it runs."""

import os
import sys

# Before anything that an older Python could not read, so that it can still say what is wrong.
if sys.version_info < (3, 11):  # noqa: UP036 (the older ones get here)
    sys.stderr.write("Sightline needs Python 3.11 or newer; this is " + sys.version.split()[0] + ".\n")
    sys.exit(2)

import contextlib

from django.core.management import execute_from_command_line
from django.db import OperationalError

from config import embedded, environment

# These must not wait for servers, nor fail where there are none.
WITHOUT_SERVICES = {"help", "--help", "-h", "version", "--version", "collectstatic"}


def main() -> None:
    environment.prepare()
    if sys.argv[1:2] == ["demo"]:
        # Servers and rows of its own, so that it disturbs no `serve`.
        state = environment.text(os.environ, "STATE_DIR") or ".local"
        os.environ["STATE_DIR"] = os.path.join(state, "demo")
    # Production has servers of its own, or a setting says that they are lacking.
    needed = len(sys.argv) > 1 and not WITHOUT_SERVICES.intersection(sys.argv[1:]) and not environment.is_production()
    with embedded.services() if needed else contextlib.nullcontext():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    try:
        with environment.in_one_line():
            main()
    except embedded.EmbeddedError as error:
        sys.stderr.write(str(error) + "\n")
        sys.exit(1)
    except OperationalError as error:
        # It is away, or refuses: a standby only reads.
        sys.stderr.write(f"DATABASE_URL: the database cannot be used: {str(error).splitlines()[0]}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
