"""Tests that no lock can choose a package older than the fix of a known vulnerability."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests import programs

WANTED = {
    wanted.name: wanted
    for wanted in map(
        Requirement, tomllib.loads((programs.CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    )
}
# The last versions with a vulnerability that the project would be exposed to.
HOLES = {
    "django": "5.2.7",  # CVE-2025-64459
    "djangorestframework": "3.15.1",  # CVE-2024-21520
    "h11": "0.14.0",  # CVE-2025-43859
    "pillow": "11.2.1",  # CVE-2025-48379
    "cryptography": "44.0.0",  # CVE-2024-12797
    "brotli": "1.1.0",  # CVE-2025-6176
    "celery": "5.2.1",  # CVE-2021-23727
}


@pytest.mark.parametrize("name", HOLES)
def test_a_version_with_a_known_hole_is_not_taken(name: str) -> None:
    assert not WANTED[name].specifier.contains(HOLES[name])


@pytest.mark.parametrize("name", WANTED)
def test_what_is_locked_is_what_the_floor_allows(name: str) -> None:
    lock = (programs.CHECKOUT / "requirements/production.txt").read_text()
    locked = re.search(rf"^{re.escape(name)}(?:\[\S+\])?==(\S+)", lock, re.MULTILINE)
    assert locked is not None
    assert WANTED[name].specifier.contains(locked[1])
    assert any(one.operator in (">=", "==") for one in WANTED[name].specifier)
