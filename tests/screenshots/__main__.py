"""Makes the pictures of the README: `python -m tests.screenshots`, or `make screenshots`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import django

from config import environment

CHROMIUM = Path("/usr/bin/chromium")


def main() -> str:
    """Makes them, with settings that name nothing of this machine's. Returns what is wrong, as a sentence."""
    if not CHROMIUM.exists():
        return f"Chromium: there is no {CHROMIUM}; install Debian's chromium, and run `make screenshots` again."
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ENV_FILE": os.devnull, "DJANGO_SETTINGS_MODULE": "config.settings", "STATE_DIR": folder}
        environment.prepare()
        django.setup()
        from tests.screenshots import pictures

        return pictures.make()


if __name__ == "__main__":
    if fault := main():
        sys.stderr.write(f"{fault}\n")
        sys.exit(2)
