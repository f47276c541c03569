"""The cost of reading pictures is bounded: how many are read or wait, for how long, and in which order tenants get turns."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from accounts.models import Tenant
from accounts.web.waiting_bulkhead import WaitingBulkhead
from providers.contract import PictureLimits
from searches import pictures
from searches.pictures import BadPicture, Busy, isolation
from searches.pictures.containers import judge
from searches.pictures.cropping import Crop
from tests.searches import samples

ONLY_JPEG = PictureLimits(formats=("JPEG",), max_bytes=1_000_000)
LARGE = samples.jpeg(100, 100)
GREEDY, OTHER, THIRD = uuid4(), uuid4(), uuid4()


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes pictures of more than 5,000 pixels large: the smallest HEIC has 4,096 pixels, however few are shown."""
    monkeypatch.setattr(isolation, "LARGE_PIXELS", 5_000)


class Line:
    """Sends requests one after another, each in a thread, while the first is being served. `order`: that of their turns."""

    def __init__(self, bulkhead: WaitingBulkhead) -> None:
        self.bulkhead = bulkhead
        self.order: list[UUID] = []
        self.refused: list[UUID] = []
        self.leave = threading.Event()
        self.threads: list[threading.Thread] = []

    def send(self, tenant: UUID) -> None:
        before = self.seen()
        self.threads.append(threading.Thread(target=self._work, args=(tenant,)))
        self.threads[-1].start()
        while self.seen() == before:
            time.sleep(0.001)

    def seen(self) -> tuple[int, int, int]:
        waiting = sum(map(len, self.bulkhead.waiting.values()))
        return self.bulkhead.running.total(), waiting, len(self.refused)

    def _work(self, tenant: UUID) -> None:
        try:
            with self.bulkhead.turn_of(tenant):
                self.order.append(tenant)
                self.leave.wait(10)
        except Busy:
            self.refused.append(tenant)


@contextmanager
def line(bulkhead: WaitingBulkhead | None = None) -> Iterator[Line]:
    made = Line(bulkhead or WaitingBulkhead(at_once=1, places=8, share=8, wait_seconds=20, detail="Later."))
    with ExitStack() as stack:
        stack.callback(made.leave.set)
        yield made
        made.leave.set()
        for thread in made.threads:
            thread.join()
    assert (made.bulkhead.running.total(), made.bulkhead.waiting) == (0, {})


def read(content: bytes, by: UUID | None = None) -> int:
    return isolation.read(content, limits={}, crop=Crop(), by=by)[1].width


def give_up(by: UUID) -> None:
    with suppress(BadPicture):
        read(LARGE, by=by)


def test_another_tenant_waits_for_one_foreign_picture_at_most() -> None:
    with line() as requests:
        for _ in range(6):
            requests.send(GREEDY)
        requests.send(OTHER)
    assert requests.order.index(OTHER) == 1


def test_turns_rotate_by_tenant() -> None:
    with line() as requests:
        for tenant in (GREEDY, GREEDY, GREEDY, OTHER, OTHER, THIRD):
            requests.send(tenant)
    assert requests.order == [GREEDY, OTHER, THIRD, GREEDY, OTHER, GREEDY]


def test_when_all_places_are_taken_the_tenant_with_the_most_makes_room() -> None:
    with line(WaitingBulkhead(at_once=1, places=3, share=8, wait_seconds=20, detail="Later.")) as requests:
        for tenant in (GREEDY, GREEDY, GREEDY, GREEDY, OTHER):
            requests.send(tenant)
        assert requests.seen()[:2] == (1, 3)
    assert requests.refused == [GREEDY]
    assert requests.order == [GREEDY, OTHER, GREEDY, GREEDY]


def test_when_all_tenants_have_the_same_number_the_last_to_arrive_is_refused() -> None:
    with line(WaitingBulkhead(at_once=1, places=2, share=8, wait_seconds=20, detail="Later.")) as requests:
        for tenant in (GREEDY, GREEDY, OTHER):
            requests.send(tenant)
        with pytest.raises(Busy, match="Later"), requests.bulkhead.turn_of(THIRD):
            pass


@pytest.mark.parametrize("name", ["large_ones", "small_ones"])
def test_one_tenant_has_its_share_of_the_places(name: str) -> None:
    places: WaitingBulkhead = getattr(isolation, name)
    content = samples.heic(100, 100) if name == "large_ones" else samples.heic()
    with line(places) as requests:
        for _ in range(places.share):
            requests.send(GREEDY)
        with pytest.raises(Busy, match="Too many pictures"):
            read(content, by=GREEDY)
        requests.leave.set()
        assert read(content, by=OTHER)


@pytest.mark.parametrize(("places", "bound"), [("large_ones", "LARGE"), ("small_ones", "SMALL")])
def test_a_waiter_outlasts_the_longest_turn_that_another_may_have(places: str, bound: str) -> None:
    """Compares times by the clock: on a busy machine a picture takes much longer than its processor time."""
    assert getattr(isolation, places).wait_seconds > getattr(isolation, bound).deadline_seconds


def test_a_waiter_gets_its_turn_once_the_picture_before_it_is_ended_by_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stalled, ready = socket.socketpair()
    monkeypatch.setattr(isolation.Bound, "deadline_seconds", 0.5)
    monkeypatch.setattr(isolation.decoders, "_process", lambda: nullcontext(ready))
    with closing(stalled), closing(ready):
        foreign = threading.Thread(target=give_up, args=(GREEDY,))
        foreign.start()
        while not isolation.large_ones.taken_by(GREEDY):
            time.sleep(0.001)
        with isolation.large_ones.turn_of(OTHER):
            assert not isolation.large_ones.taken_by(GREEDY)
        foreign.join()


def test_no_request_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.large_ones, "wait_seconds", 0.05)
    with isolation.large_ones.turn_of(GREEDY), pytest.raises(Busy):
        read(LARGE)
    assert read(LARGE) == 100


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "HEIC", "AVIF", "BMP"])
def test_small_ones_do_not_wait_behind_large_ones(monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    monkeypatch.setattr(isolation.large_ones, "places", 0)
    small, large = samples.picture(), samples.picture(100, 100)
    of = {"HEIC": samples.heic_of}.get(format, lambda pixels: samples.written(pixels, format))
    with isolation.large_ones.turn_of(GREEDY):
        assert read(of(small)) == 64
        with pytest.raises(Busy):
            read(of(large))


def test_one_that_does_not_say_its_size_is_large() -> None:
    nameless = samples.heic().replace(b"ispe", b"skip")
    many = samples.heic() + b"\0\0\0\x14ispe\0\0\0\0" + bytes(8) + b"\0\0\0\x14ispe\0\0\0\0\0\0\0\0\0\0\0\0" * 3_000
    assert judge(nameless, most_pixels=10**8).pixels == judge(many, most_pixels=10**8).pixels == float("inf")


def test_what_is_cut_from_a_stored_picture_waits_in_the_same_line(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pictures.received(alice, LARGE, fit={}) as draft, transaction.atomic():
        image = draft.save()
    middle = "250000,250000,500000,500000"
    monkeypatch.setattr(isolation.large_ones, "places", 0)
    with (
        isolation.large_ones.turn_of(GREEDY),
        pytest.raises(Busy),
        pictures.known(image, fit={"keyapi": ONLY_JPEG}, crop=middle),
    ):
        pass
    with pictures.known(image, fit={"keyapi": ONLY_JPEG}, crop=middle) as draft, transaction.atomic():
        assert draft.save() == image


def test_of_twelve_costly_pictures_at_once_one_is_read_before_another_tenants_photograph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolation.large_ones, "wait_seconds", 120)
    costly = samples.written(samples.plain_picture(5_000, 4_000), "JPEG", progressive=True)
    photograph = samples.written(samples.plain_picture(2_000, 1_500), "JPEG")
    done: list[UUID] = []

    def send(content: bytes, tenant: UUID) -> None:
        try:
            read(content, by=tenant)
            done.append(tenant)
        except Busy:
            pass

    threads = [threading.Thread(target=send, args=(costly, GREEDY)) for _ in range(12)]
    for thread in threads:
        thread.start()
    while isolation.large_ones.taken_by(GREEDY) < isolation.large_ones.share:
        time.sleep(0.001)
    send(photograph, OTHER)
    for thread in threads:
        thread.join()
    assert done.index(OTHER) <= 1
    assert done.count(GREEDY) == isolation.large_ones.share


def test_scans_are_bounded_by_the_pixels_that_each_covers() -> None:
    whole = samples.written(samples.plain_picture(8_160, 6_000), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    began = time.monotonic()
    with pytest.raises(pictures.BadPicture, match="too many scans") as refused:
        read(whole[:-2] + whole[last:-2] * 80 + whole[-2:])
    assert refused.value.code == "too_costly"
    assert time.monotonic() - began < 1
    assert judge(samples.jpeg_of_many_scans(50), most_pixels=10**8).pixels == 64 * 48
