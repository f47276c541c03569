"""Ended searches are kept as long as their tenant says, open ones lose nothing, and the ledger keeps its entries."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import Delivery, Event, Mode, Tenant
from accounts.webhooks import endpoints
from billing import audit
from billing.models import Entry
from searches import pictures, tasks
from searches.lifecycle import cancellation, retention
from searches.models import Call, Image, Lookup, Result, Search
from tests.racing import at_once
from tests.searches import samples
from tests.searches.pictures.test_storage import files, keep
from tests.searches.repeating import Asker, answered, asker, only, resolved, statuses

pytestmark = pytest.mark.django_db
# Two minutes: the time to read a search whose end was announced is over.
LATER = 2 / 24 / 60
FOR_EVER = {"image_retention_days": 9999, "result_retention_days": 9999, "search_retention_days": 9999}


@pytest.fixture
def alices(alice: Tenant) -> Asker:
    """Returns an asker for Alice, of whose searches everything is kept unless a test says otherwise."""
    limit(alice)
    return asker(alice)


def limit(tenant: Tenant, **days: int) -> None:
    for name, value in (FOR_EVER | days).items():
        setattr(tenant, name, value)
    tenant.save()


def grown_old(search: Search, *, days: float) -> None:
    """Ends a search so long ago, with a picture that was sent before that."""
    at = timezone.now() - timedelta(days=days)
    Search.objects.filter(pk=search.pk).update(finished_at=at)
    Lookup.objects.filter(search=search).update(finished_at=at)
    Image.objects.filter(searches=search).update(stored_at=at)


def done(alices: Asker, *, days: float = LATER) -> Search:
    search = alices.ask(max_age=0)
    answered()
    grown_old(search, days=days)
    return search


def test_a_search_is_erased_when_its_time_is_over_and_its_entries_stay(alices: Asker, alice: Tenant) -> None:
    limit(alice, search_retention_days=10)
    old, young = done(alices, days=10.1), done(alices, days=9.9)
    entries = list(Entry.objects.order_by("pk").values())
    retention.enforce()
    old.refresh_from_db()
    young.refresh_from_db()
    assert old.erased_at is not None
    assert (young.erased_at, young.results.count()) == (None, 20)
    assert not old.results.exists()
    assert list(Entry.objects.order_by("pk").values()) == entries
    assert audit.differences() == []


def test_results_are_erased_before_their_search_and_a_second_run_changes_nothing(alices: Asker, alice: Tenant) -> None:
    limit(alice, result_retention_days=1)
    search = done(alices, days=2)
    Call.objects.update(excerpt="an answer of the provider")
    for _ in range(2):
        retention.enforce()
    search.refresh_from_db()
    assert (search.erased_at, search.results.count(), only(search).result_count) == (None, 0, 20)
    assert search.results_erased_at is not None
    assert Call.objects.get().excerpt == ""


def test_an_answer_whose_results_are_erased_is_no_hit(alices: Asker, alice: Tenant) -> None:
    limit(alice, result_retention_days=0)
    done(alices)
    retention.enforce()
    again = alices.ask(max_age=86_400)
    assert statuses(again) == ["queued/miss"]
    answered()
    assert again.results.count() == 20


def test_open_searches_lose_nothing_even_if_nothing_is_kept(alices: Asker, alice: Tenant, storage: Path) -> None:
    limit(alice, image_retention_days=0, result_retention_days=0, search_retention_days=0)
    search = alices.ask(count=1, also={"parameters": {"username": "mug"}})
    answered()
    retention.enforce()
    search.refresh_from_db()
    assert (search.status, search.results.count(), search.erased_at) == ("running", 20, None)
    assert search.image is not None
    assert files(storage)
    answered()
    search.refresh_from_db()
    assert search.status == "succeeded"


def test_with_a_retention_of_0_a_search_is_erased_once_it_has_ended(
    alices: Asker, alice: Tenant, storage: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    limit(alice, search_retention_days=0)
    search = done(alices)
    with django_capture_on_commit_callbacks(execute=True):
        tasks.sweep_retention()
    search.refresh_from_db()
    assert search.erased_at is not None
    assert (Result.objects.count(), Image.objects.count(), files(storage)) == (0, 0, set())


def test_followers_get_their_answer_before_the_leader_is_erased(alices: Asker, alice: Tenant) -> None:
    limit(alice, result_retention_days=0, search_retention_days=0)
    leader, follower = alices.ask(max_age=60), alices.ask(max_age=60)
    assert statuses(leader, follower) == ["queued/miss", "queued/coalesced"]
    answered()
    retention.enforce()
    resolved()
    assert statuses(leader, follower) == ["succeeded/miss", "succeeded/coalesced"]
    assert follower.results.count() == 20
    for search in (leader, follower):
        grown_old(search, days=LATER)
    retention.enforce()
    assert not Result.objects.exists()


def test_what_has_just_ended_can_be_read_even_if_nothing_is_kept(alices: Asker, alice: Tenant) -> None:
    limit(alice, result_retention_days=0, search_retention_days=0)
    young, old = done(alices, days=LATER / 4), done(alices, days=LATER)
    retention.enforce()
    assert [Search.objects.get(pk=search.pk).results.count() for search in (young, old)] == [20, 0]


@pytest.mark.parametrize("kind", ["search", "result"])
@pytest.mark.parametrize("outcome", [Delivery.State.DELIVERED, Delivery.State.FAILED])
def test_what_is_erased_at_its_end_is_kept_until_that_was_announced_and_could_be_read(
    alices: Asker, alice: Tenant, kind: str, outcome: Delivery.State
) -> None:
    limit(alice, **{f"{kind}_retention_days": 0})
    endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks", events=["search.succeeded"])
    search = done(alices)

    def kept() -> int:
        retention.enforce()
        return search.results.count()

    assert kept() == 20
    now = timezone.now()
    Delivery.objects.update(state=outcome, next_attempt_at=None, finished_at=now)
    assert kept() == 20
    Delivery.objects.update(finished_at=now - timedelta(days=LATER))
    assert kept() == 0
    assert Event.objects.exists() == (kind == "result")


def test_an_undeliverable_event_delays_the_erasure_for_a_week_at_most(alices: Asker, alice: Tenant) -> None:
    limit(alice, search_retention_days=1)
    endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks", events=["search.succeeded"])
    held, forgotten = done(alices, days=7.9), done(alices, days=8.1)
    retention.enforce()
    assert [Search.objects.get(pk=search.pk).erased_at is None for search in (held, forgotten)] == [True, False]


def test_a_picture_that_no_search_names_is_erased_after_its_retention(
    alice: Tenant, storage: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    limit(alice, image_retention_days=3)
    old, young = keep(alice, samples.jpeg(60, 60)), keep(alice, samples.jpeg(70, 70))
    for image, days in ((old, 3.1), (young, 2.9)):
        Image.objects.filter(pk=image.pk).update(stored_at=timezone.now() - timedelta(days=days))
    with django_capture_on_commit_callbacks(execute=True):
        retention.enforce()
    assert Image.objects.get() == young
    assert files(storage) == {young.file}


def test_a_picture_outlives_the_last_search_that_needs_it_and_no_longer(alices: Asker, alice: Tenant) -> None:
    limit(alice, image_retention_days=3)
    first, last = done(alices, days=30), done(alices, days=2)
    assert first.image_id == last.image_id
    retention.enforce()
    assert Image.objects.exists()
    grown_old(last, days=4)
    retention.enforce()
    assert not Image.objects.exists()
    for search in (first, last):
        search.refresh_from_db()
        assert (search.image, search.erased_at, search.results.count()) == (None, None, 20)


def test_a_search_without_its_picture_is_erased_like_any_other(alices: Asker, alice: Tenant) -> None:
    limit(alice, image_retention_days=0)
    search = done(alices)
    retention.enforce()
    limit(alice, search_retention_days=0)
    retention.enforce()
    search.refresh_from_db()
    assert search.erased_at is not None
    assert not Result.objects.exists()


def test_the_same_picture_sent_again_after_its_time_is_stored_anew(alices: Asker, alice: Tenant) -> None:
    limit(alice, image_retention_days=0)
    before = done(alices)
    gone = before.image_id
    retention.enforce()
    again = alices.ask(max_age=3600)
    assert statuses(again) == ["succeeded/hit"]
    assert again.image_id not in (gone, None)


def test_a_picture_that_is_stored_again_is_kept_from_then_on(alice: Tenant) -> None:
    limit(alice, image_retention_days=3)
    image = keep(alice, samples.jpeg())
    Image.objects.update(stored_at=timezone.now() - timedelta(days=4))
    since = timezone.now() - timedelta(days=3)
    pictures.refresh(image)
    pictures.erase_unused(image.pk, since)
    retention.enforce()
    assert Image.objects.get() == image


def test_the_default_is_a_setting_and_a_tenant_has_its_own(alice: Tenant, bob: Tenant, settings: Settings) -> None:
    settings.TENANT_IMAGE_RETENTION_DAYS = 0
    limit(bob)
    keep(alice, samples.jpeg())
    his = keep(bob, samples.jpeg())
    retention.enforce()
    assert Image.objects.get() == his


def refuse_to_erase(searches: list[Search]) -> None:
    """Makes the database refuse an erasure, as a lock or a constraint might."""
    ids = ", ".join(f"'{search.pk}'" for search in searches)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;"
            "CREATE TRIGGER refuse BEFORE UPDATE ON searches_search FOR EACH ROW"
            f" WHEN (NEW.erased_at IS NOT NULL AND NEW.id IN ({ids})) EXECUTE FUNCTION refuse()"
        )


def test_rows_that_cannot_be_erased_stop_no_others(
    alices: Asker, alice: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    limit(alice, search_retention_days=1)
    searches = [done(alices, days=9 - number) for number in range(6)]
    refuse_to_erase(searches[:3])
    retention.enforce()
    erased = [Search.objects.get(pk=search.pk).erased_at is not None for search in searches]
    assert erased == [False] * 3 + [True] * 3
    assert caplog.text.count("cannot be erased yet") == 3, "each is looked at once in a run"
    caplog.clear()
    retention.enforce()
    assert caplog.text.count("cannot be erased yet") == 3, "and again in the next"


def test_a_run_continues_where_the_last_one_ran_out_of_time(
    alices: Asker, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    limit(alice, search_retention_days=1)
    # They have one instant, so that their ids decide the order.
    searches = [done(alices) for _ in range(4)]
    Search.objects.update(finished_at=timezone.now() - timedelta(days=5))
    refuse_to_erase(searches[:2])
    for _ in range(3):
        retention._enforce(alice)
    assert Search.objects.exclude(erased_at=None).count() == 2


@pytest.mark.django_db(transaction=True)
def test_concurrent_runs_erase_each_row_once_while_submits_continue(alices: Asker, alice: Tenant) -> None:
    limit(alice, image_retention_days=0, result_retention_days=0, search_retention_days=1)
    for days in (LATER, LATER, 2, 2):
        done(alices, days=days)

    def submit() -> Search | None:
        try:
            return alices.ask(max_age=0)
        except pictures.Deleted:
            return None

    came = at_once([*[retention.enforce] * 3, *[submit] * 4])
    kept = [search for search in came if isinstance(search, Search)]
    assert all(Search.objects.get(pk=search.pk).image_id for search in kept)
    for search in kept:
        cancellation.cancel(search)
        grown_old(search, days=LATER)
    retention.enforce()
    assert not Result.objects.exists()
    assert not Image.objects.exists()
    assert audit.differences() == []
