"""Lists and objects that callers send are counted before they are looked at, in every serializer that there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import get_resolver
from rest_framework import serializers

from accounts.web.strict_fields import MOST_ERRORS, StrictDict, StrictInteger, StrictList, StrictSerializer, merged

OURS = ("accounts", "providers", "billing", "searches", "config")
MANY = 100_000


def classes(base: type[Any] = serializers.BaseSerializer) -> Iterator[type[Any]]:
    for each in base.__subclasses__():
        yield from classes(each)
        if each.__module__.split(".")[0] in OURS:
            yield each


def fields_in(field: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields a field and all fields below it."""
    yield path, field
    if isinstance(field, serializers.Serializer):
        for name, inner in field.fields.items():
            yield from fields_in(inner, f"{path}.{name}")
    elif child := getattr(field, "child", None):
        yield from fields_in(child, f"{path}[]")


# The views import every serializer.
get_resolver().url_patterns  # noqa: B018
FIELDS = {
    path: field
    for each in {*classes()}
    if not issubclass(each, serializers.ListSerializer)
    for path, field in fields_in(each(), f"{each.__module__}.{each.__name__}")
    if isinstance(field, serializers.ListField | serializers.DictField | serializers.ListSerializer)
}
TAKEN = {path: field for path, field in FIELDS.items() if isinstance(field, StrictList | StrictDict)}


class Never(serializers.Field[Any, Any, Any, Any]):
    """Takes nothing, and counts what it was asked to take."""

    asked = 0

    def run_validation(self, data: Any = None) -> Any:
        self.asked += 1
        raise serializers.ValidationError("No.")


def many(field: Any, count: int) -> Any:
    return [1] * count if isinstance(field, StrictList) else {str(number): 1 for number in range(count)}


def test_every_list_and_object_that_is_taken_is_a_strict_one() -> None:
    answers = {
        path
        for path, field in FIELDS.items()
        if field.read_only or isinstance(field, serializers.ListSerializer) or "Serializer" in path or "Problem" in path
    }
    assert set(FIELDS) == set(TAKEN) | answers
    assert {path.rpartition(".")[2] for path in TAKEN} >= {"events", "states", "lookups", "metadata", "locations"}


@pytest.mark.parametrize("path", sorted(TAKEN))
def test_too_many_are_refused_by_their_number_alone(path: str) -> None:
    field, child = TAKEN[path], Never()
    field.child = child
    with pytest.raises(serializers.ValidationError) as refusal:
        field.run_validation(many(field, field.max_length + 1))
    assert child.asked == 0
    assert refusal.value.get_codes() == ["max_length"]


@pytest.mark.parametrize("path", sorted(TAKEN))
def test_no_more_is_looked_at_than_an_answer_shows(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    field, child = TAKEN[path], Never()
    field.child = child
    monkeypatch.setattr(field, "max_length", MANY)
    with pytest.raises(serializers.ValidationError) as refusal:
        field.run_validation(many(field, MANY))
    # A name that is wrong needs no look at its value.
    assert child.asked <= len(list(refusal.value.detail)) == MOST_ERRORS


@pytest.mark.parametrize("path", sorted({each.__name__ for each in classes(StrictSerializer)}))
def test_unknown_names_are_named_as_far_as_an_answer_shows(path: str) -> None:
    serializer = next(each for each in classes(StrictSerializer) if each.__name__ == path)()
    with pytest.raises(serializers.ValidationError) as refusal:
        serializer.run_validation({f"unheard{number}": 1 for number in range(MANY)})
    named = [name for name in refusal.value.get_full_details() if str(name).startswith("unheard")]
    assert len(named) <= MOST_ERRORS


class Stretch(StrictSerializer):
    start = StrictInteger()
    end = StrictInteger()
    name = StrictInteger(required=False)

    def disagreements(self, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("start", 0) > values.get("end", 9):
            return {"end": ["Before the start."]}
        return {}


def test_errors_between_fields_are_reported_with_those_of_other_fields() -> None:
    with pytest.raises(serializers.ValidationError) as refusal:
        Stretch().read({"start": 2, "end": 1, "name": "x", "colour": 1})
    assert set(refusal.value.detail) == {"end", "name", "colour"}


def test_errors_of_two_readings_are_merged() -> None:
    one, other = {"a": {0: ["x"]}, "b": ["y"]}, {"a": {1: ["z"], 0: ["w"]}, "b": {"c": ["v"]}}
    assert merged(one, other) == {"a": {0: ["x"], 1: ["z"]}, "b": ["y"]}
