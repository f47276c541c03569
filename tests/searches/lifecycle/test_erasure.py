"""An erasure leaves rows that the ledger and a provider's bill are compared with, and nothing of what was asked or found."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import Model

from providers.contract import Answer, Hit
from providers.failures import Failure, Garbled, Lost, Refused
from providers.models import Policy
from searches import pictures
from searches.calls import outcomes, settlement
from searches.lifecycle import erasure
from searches.models import Call, Image, Lookup, Rendering, Result, Search
from tests.searches.lives import PAGE, Submit, answer, claim_next, money, no_lookup_waits, states
from tests.searches.pictures.test_storage import files
from tests.searches.samples import image_of

pytestmark = pytest.mark.django_db
MARK = "sent-by-alice-or-found-for-her"
FOUND = Answer(
    hits=(Hit(type="creator", external_id=MARK, title=MARK, detail={"name": MARK}, raw={"name": MARK}),),
    billed_results=1,
    last=True,
    status=200,
    total=5,
)
UNREADABLE = Garbled("garbled", MARK, status=200, billed_results=1, excerpt=MARK)


def mark(search: Search) -> None:
    """Puts the mark into everything that a tenant asks with."""
    Search.objects.filter(pk=search.pk).update(metadata={"campaign": MARK}, crop="1,1,2,2")
    search.lookups.update(parameters={"username": MARK}, effective_parameters={"username": MARK})


def kept() -> list[str]:
    """Returns the tables that still have a word of the search or its results."""
    models: tuple[type[Model], ...] = (Search, Lookup, Call, Result, Image, Rendering)
    return [model.__name__ for model in models if any(MARK in str(row) for row in model._default_manager.values())]


def test_an_erased_search_keeps_nothing_that_was_asked_or_found(submit: Submit, storage: Path) -> None:
    search = submit(2)
    mark(search)
    outcomes.answered(claim_next(), FOUND)
    outcomes.failed(claim_next(), Policy.objects.get(), UNREADABLE)
    assert kept() == ["Search", "Lookup", "Call", "Result"]
    assert erasure.erase(search)
    assert kept() == []
    assert not Result.objects.exists()
    assert set(Lookup.objects.values_list("result_count", "duplicates", "total")) == {(0, 0, None)}
    search.refresh_from_db()
    assert (search.image, search.crop, search.metadata, search.results_count) == (None, "", {}, 0)
    assert search.erased_at is not None


def test_an_erased_search_keeps_its_cost(submit: Submit) -> None:
    search = submit(2)
    outcomes.answered(claim_next(), FOUND)
    before = money()
    erasure.erase(search)
    assert before == (Decimal("99.475"), PAGE)
    assert money() == (Decimal("99.975"), 0)
    call = Call.objects.get()
    assert (call.state, call.returned, call.credits) == ("answered", 1, Decimal("0.025"))
    assert call.lookup.search == search


def test_waiting_lookups_are_canceled_and_ended_ones_stay_as_they_ended(submit: Submit) -> None:
    search = submit(3)
    outcomes.answered(claim_next(), FOUND)
    outcomes.failed(claim_next(), Policy.objects.get(), Refused("refused", MARK))
    erasure.erase(search)
    assert states(search) == "partial: succeeded failed canceled"
    assert list(search.lookups.values_list("error_code", "error_detail")) == [("", ""), ("refused", ""), ("", "")]
    assert no_lookup_waits()


def test_a_search_is_erased_once(submit: Submit) -> None:
    search = submit()
    assert erasure.erase(search)
    before = Search.objects.values().get()
    assert not erasure.erase(search)
    assert Search.objects.values().get() == before


def test_another_search_is_not_changed(submit: Submit) -> None:
    mine, other = submit(), submit()
    mark(other)
    outcomes.answered(claim_next(), FOUND)
    outcomes.answered(claim_next(), FOUND)
    erasure.erase(mine)
    assert states(other) == "succeeded: succeeded"
    assert other.results.get().title == MARK
    assert kept() == ["Search", "Lookup", "Result"]


# A call that is under way


@pytest.mark.parametrize("last", [True, False])
def test_an_answer_that_comes_later_is_charged_and_not_kept(submit: Submit, last: bool) -> None:
    search = submit(pages=3)
    claimed = claim_next()
    erasure.erase(search)
    assert states(search) == "running: running"
    assert money() == (Decimal("98.5"), 3 * PAGE)
    outcomes.answered(claimed, answer(7, last=last))
    assert states(search) == "canceled: canceled"
    assert not Result.objects.exists()
    assert money() == (100 - 7 * Decimal("0.025"), 0)
    assert Lookup.objects.get().result_count == 0
    call = Call.objects.get()
    assert (call.state, call.returned, call.credits) == ("answered", 7, 7 * Decimal("0.025"))


@pytest.mark.parametrize(
    ("failure", "charged", "unknown"),
    [
        (Refused("refused", MARK), 0, 0),
        (UNREADABLE, Decimal("0.025"), 0),
        (Garbled("garbled", MARK, status=200, billed_results=None, excerpt=MARK), 0, PAGE),
        (Lost("no_answer", MARK), 0, PAGE),
    ],
)
def test_a_later_failure_is_not_kept(submit: Submit, failure: Failure, charged: Decimal, unknown: Decimal) -> None:
    search = submit()
    claimed = claim_next()
    erasure.erase(search)
    outcomes.failed(claimed, Policy.objects.get(), failure)
    assert states(search) == "canceled: canceled"
    assert kept() == []
    assert Call.objects.get().error_code == failure.code
    assert Lookup.objects.get().error_code == ("outcome_unknown" if unknown else "")
    assert money() == (100 - charged - unknown, unknown)


def test_an_erased_search_pays_nothing_for_an_unsent_call(submit: Submit) -> None:
    search = submit()
    claimed = claim_next()
    erasure.erase(search)
    settlement.unsent(claimed.call, claimed.lookup)
    assert states(search) == "canceled: canceled"
    assert money() == (100, 0)


@pytest.mark.parametrize("is_late", [True, False])
def test_an_unknown_outcome_is_settled_whenever_it_is_known(submit: Submit, is_late: bool) -> None:
    search = submit()
    claimed = claim_next()
    if is_late:
        erasure.erase(search)
    settlement.lost(claimed.call, claimed.lookup, Policy.objects.get(), Lost("outcome_unknown", "…"))
    if not is_late:
        erasure.erase(search)
    assert money() == (Decimal("99.5"), PAGE)
    outcomes.answered(claimed, FOUND)
    assert states(search) == "canceled: canceled"
    assert not Result.objects.exists()
    assert money() == (Decimal("99.975"), 0)


# The picture


def erase_for_good(search: Search, callbacks: Any) -> None:
    with callbacks(execute=True):
        erasure.erase(search)


def test_an_erased_searchs_picture_is_erased(
    submit: Submit, storage: Path, django_capture_on_commit_callbacks: Any
) -> None:
    search = submit()
    assert files(storage)
    erase_for_good(search, django_capture_on_commit_callbacks)
    assert (Image.objects.count(), Rendering.objects.count(), files(storage)) == (0, 0, set())


def test_a_shared_picture_is_erased_with_its_last_search(
    submit: Submit, storage: Path, django_capture_on_commit_callbacks: Any
) -> None:
    first, last = submit(), submit()
    assert image_of(first) == image_of(last)
    erase_for_good(first, django_capture_on_commit_callbacks)
    assert pictures.read(Rendering.objects.get()).content
    erase_for_good(last, django_capture_on_commit_callbacks)
    assert (Image.objects.count(), files(storage)) == (0, set())


def test_the_sweep_erases_the_files_after_a_crash(submit: Submit, storage: Path) -> None:
    """Erases without anything that follows a commit."""
    erasure.erase(submit())
    assert not Image.objects.exists()
    assert files(storage)
    assert pictures.sweep_orphans(-60) == 1
    assert files(storage) == set()


def test_the_sweep_erases_the_files_after_the_storage_failed(
    submit: Submit, storage: Path, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise OSError("the storage is away")

    search = submit()
    with monkeypatch.context() as away:
        away.setattr(default_storage, "delete", fail)
        erase_for_good(search, django_capture_on_commit_callbacks)
    assert states(search) == "canceled: canceled"
    assert files(storage)
    assert pictures.sweep_orphans(-60) == 1
    assert files(storage) == set()


# Constraints


@pytest.mark.parametrize("change", [{"metadata": {"a": "b"}}, {"crop": "1,1,2,2"}, {"results_count": 1}])
def test_an_erased_search_stays_erased(submit: Submit, change: dict[str, Any]) -> None:
    search = submit()
    erasure.erase(search)
    with pytest.raises(IntegrityError, match="erased_searches_keep_nothing"), transaction.atomic():
        Search.objects.filter(pk=search.pk).update(**change)


def test_a_search_that_is_open_has_a_picture(submit: Submit) -> None:
    submit()
    with pytest.raises(IntegrityError, match="open_searches_have_a_picture"), transaction.atomic():
        Search.objects.update(image=None)
