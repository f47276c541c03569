"""Makes `docs/scopes.md` from the views: `python -m tests.api.scope_table` writes it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import django

PAGE = Path(__file__).parents[2] / "docs" / "scopes.md"
HEAD = """# Scopes

A key with one single scope, against each route. ● is answered. Everything else is refused with 403, `scope_missing`, before
anything is looked up. Without a key every route but `/v1/openapi.json` answers 401. The page is made from the code, by
`python -m tests.api.scope_table`. A test compares the two, and sends each of these requests.

"""


def table() -> str:
    from accounts.models import Scope
    from tests.api.routes import OPERATIONS

    lines = ["| route | " + " | ".join(f"`{scope.value}`" for scope in Scope) + " |", "|---|" + ":-:|" * len(Scope)]
    for operation in OPERATIONS:
        cells = ("●" if operation.scope in (None, scope.value) else "" for scope in Scope)
        path = re.sub(r"<\w+:(\w+)>", r"{\1}", operation.route)
        lines.append(f"| `{operation.method} {path}` | " + " | ".join(cells) + " |")
    meanings = "\n".join(f"- `{scope.value}`: {scope.label}." for scope in Scope)
    return f"{HEAD}{meanings}\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    PAGE.write_text(table())
