"""What a picture costs to read is bounded: how many are at it or wait, how long, and how much of that is one tenant's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from accounts.models import Tenant
from providers.contract import PictureLimits
from searches import pictures
from searches.pictures import Busy, apart, lines, reading
from tests.searches import samples

ONLY_JPEG = PictureLimits(formats=("JPEG",), max_bytes=1_000_000)
LARGE = samples.jpeg(100, 100)


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for pictures of less than 5,000 pixels: the smallest HEIC has 4,096, however few are shown."""
    monkeypatch.setattr(reading, "LARGE_PIXELS", 5_000)


@contextmanager
def at_work(line: lines.Line, tenants: Sequence[UUID]) -> Iterator[None]:
    """The first of the tenants has a picture in work, and the others wait behind it, until the block ends."""
    leave = threading.Event()

    def work(tenant: UUID) -> None:
        with line.turn_of(tenant):
            leave.wait(10)

    threads = [threading.Thread(target=work, args=(tenant,)) for tenant in tenants]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(leave.set)
        while line.places.taken.total() < len(tenants):
            time.sleep(0.001)
        yield


def read(content: bytes, by: UUID | None = None) -> tuple[int, int]:
    with reading.decoded(content, by=by) as decoded:
        return decoded.pixels.size


def test_no_more_wait_than_have_places() -> None:
    with at_work(reading.large_ones, [uuid4() for _ in range(8)]), pytest.raises(Busy, match="Too many pictures"):
        read(LARGE)
    assert not reading.large_ones.places.taken
    assert read(LARGE) == (100, 100)


@pytest.mark.parametrize("line", [reading.large_ones, reading.small_ones], ids=["large", "small"])
def test_one_tenant_has_half_of_the_places(line: lines.Line) -> None:
    greedy = uuid4()
    content = samples.heic(100, 100) if line is reading.large_ones else samples.heic()
    with ExitStack() as taken:
        for _ in range(4):
            taken.enter_context(line.places.taken_by(greedy))
        with pytest.raises(Busy):
            read(content, by=greedy)
        assert read(content, by=uuid4())


def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_WAIT_SECONDS", 0.05)
    with at_work(reading.large_ones, [uuid4()]), pytest.raises(Busy):
        read(LARGE)


@pytest.mark.parametrize("format", ["HEIC", "AVIF", "BMP"])
def test_small_ones_that_are_read_apart_do_not_wait_behind_large_ones(format: str) -> None:
    small, large = samples.picture(), samples.picture(100, 100)
    of = {"HEIC": samples.heic_of}.get(format, lambda pixels: samples.written(pixels, format))
    assert apart.pixels_told(format, of(large)) > reading.LARGE_PIXELS > apart.pixels_told(format, of(small))
    with at_work(reading.large_ones, [uuid4() for _ in range(8)]):
        assert read(of(small)) == (64, 48)
        with pytest.raises(Busy):
            read(of(large))


def test_one_that_does_not_say_its_size_is_large() -> None:
    assert apart.pixels_told("HEIC", b"\0\0\0\x18ftypheic" + bytes(100)) > 10**12
    assert apart.pixels_told("AVIF", b"\0\0\0\x14ispe\0\0\0\0" * 3_000) > 10**12


def test_what_is_cut_from_a_stored_picture_waits_in_the_same_line(alice: Tenant) -> None:
    with pictures.received(alice, LARGE, fit={}) as draft, transaction.atomic():
        image = draft.save()
    middle = "250000,250000,500000,500000"
    with (
        at_work(reading.large_ones, [alice.pk] + [uuid4() for _ in range(7)]),
        pytest.raises(Busy),
        pictures.known(image, fit={"keyapi": ONLY_JPEG}, crop=middle),
    ):
        pass
    with pictures.known(image, fit={"keyapi": ONLY_JPEG}, crop=middle) as draft, transaction.atomic():
        assert draft.save() == image
