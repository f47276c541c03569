#!/usr/bin/env python
"""Django's commands, each with its servers: the environment's, or embedded ones for as long as it runs."""

import os
import sys

# Before anything that an older Python could not read, so that it can still say what is wrong.
if sys.version_info < (3, 11):  # noqa: UP036 (the older ones get here)
    sys.stderr.write("Sightline needs Python 3.11 or newer; this is " + sys.version.split()[0] + ".\n")
    sys.exit(2)

import contextlib

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from config import embedded

# These must not wait for servers, nor fail where there are none.
WITHOUT_SERVICES = {"help", "--help", "-h", "version", "--version"}

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    environ.Env.read_env(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".env"))
    if sys.argv[1:2] == ["demo"]:
        # Servers and rows of its own, so that it disturbs no `serve`.
        os.environ["STATE_DIR"] = os.path.join(os.environ.get("STATE_DIR") or ".local", "demo")
    needed = len(sys.argv) > 1 and not WITHOUT_SERVICES.intersection(sys.argv[1:])
    try:
        with embedded.services() if needed else contextlib.nullcontext():
            execute_from_command_line(sys.argv)
    except embedded.EmbeddedError as error:
        sys.stderr.write(str(error) + "\n")
        sys.exit(1)
    except ImproperlyConfigured as error:
        # A setting that is wrong or lacking: whoever set it needs its name, and no traceback.
        sys.stderr.write(str(error) + "\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
