"""Tests `make demo`: its exit code, and that its figures agree with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from providers import registry
from tests import programs
from tests.config.test_launcher import NO_SERVERS

pytestmark = pytest.mark.long


@pytest.fixture
def folder() -> Iterator[Path]:
    with programs.state_folder() as path:
        yield path


def figures(pattern: str, said: str) -> list[Decimal]:
    found = re.search(pattern, said)
    assert found is not None, said
    return [Decimal(each) for each in found.groups()]


def test_the_demo_searches_all_sources_and_accounts_for_every_credit(folder: Path) -> None:
    code, said = programs.run(folder, "demo")
    assert code == 0, said
    assert re.search(r"position \d+, in about \d", said), said
    assert re.search(r"@\S+, from whose post the picture was made, has rank 1\.", said), said
    found = {source: figures(rf"{source}: (\d+)\b", said)[0] for source in registry.ADAPTERS}
    assert all(found.values())
    costs = {"modash": found["tiktok-creators"] * Decimal("0.025"), "keyapi": Decimal(1), "memories": Decimal(2)}
    for provider, cost in costs.items():
        held, charged, released, balance = figures(
            rf"{provider} +([\d.]+) held at submit, ([\d.]+) charged, ([\d.]+) released; balance ([\d.]+) of 10", said
        )
        assert charged == cost
        assert held == charged + released
        assert balance == 10 - charged
    assert [50 < used <= 100 for used in figures(r"modash +7 calls, .*\(([\d.]+)% of the limit", said)] == [True]
    assert re.search(r"Webhook +search\.succeeded, [\d,]+ bytes, received [\d.]+ s after", said), said
    assert re.search(r"modash +calls counted: 7, breaches of its limit: 0", said), said
    assert "to the last credit" in said
    assert "The sandbox has invented all of it" in said
    left = (folder / "demo" / "report.html").read_text()
    assert f"Report      {folder / 'demo' / 'report.html'}\n" in said
    assert {f"{source}: {count} found" for source, count in found.items()} == set(
        re.findall(r"[\w-]+: \d+ found", left)
    )
    # The picture that was searched with, and one of each creator that is shown.
    assert left.count("data:image/webp;base64,") == 13
    assert programs.processes_of(folder) == []


def test_a_file_that_is_no_picture_costs_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "notes.jpg"
    file.write_text("Not a picture.")
    code, said = programs.run(tmp_path, "demo", "--image", str(file), **NO_SERVERS)
    assert (code, said) == (
        2,
        f"IMAGE: {file}: The file is no picture. Send a JPEG, PNG, WebP, GIF, BMP, HEIC or AVIF.\n",
    )


def test_a_missing_picture_costs_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "none.png"
    code, said = programs.run(tmp_path, "demo", "--image", str(file), **NO_SERVERS)
    assert (code, said) == (2, f"IMAGE: {file} cannot be read (No such file or directory).\n")
