"""Proves that an answer which was paid for is handed over, though any field of any documented answer is odd.

Each field in turn gets each odd value. Every item that can be identified must still be found, counted and billed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import registry
from providers.adapters import fields, parsing
from providers.contract import Answer, Secret
from providers.failures import Garbled
from tests.providers.adapters import test_keyapi, test_memories, test_modash
from tests.providers.asking import answer_of, failure_of
from tests.providers.conftest import Provider

SECRET = Secret(value="a-key-of-alice")
# The values are inserted into JSON as bytes, for no Python value would be written as some of them.
ODD = {
    "null": b"null",
    "missing": b"",
    "true": b"true",
    "false": b"false",
    "a text": b'"odd"',
    "an empty text": b'""',
    "blanks": b'" \\t\\n "',
    "a list": b"[[], {}, 1]",
    "an object": b'{"a": {"b": []}}',
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "1e999": b"1e999",
    "minus one": b"-1",
    "a fraction": b"0.5",
    "beyond 64 bits": b"9223372036854775808",
    "beyond a double": b"1" + b"0" * 400,
    "beyond Python": b"1" * 5000,
    "huge": b'"' + b"x" * 300_000 + b'"',
    "deep": b"[" * 5000 + b"]" * 5000,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep with brackets in texts": b'["]]]", ' * 2000 + b"1" + b"]" * 2000,
    "NUL": b'"a\\u0000b"',
    "half a surrogate": b'"\\ud800"',
    "a raw control character": b'"a\x01\x00b"',
    "not UTF-8": b'"\xff\xfe\x80"',
    "a script": b'"javascript:alert(1)"',
}
VIDEO = {**test_memories.FIRST, "video_bucket": "b", "keyframe_blob": "k"}
USERS_POST = test_modash.PROFILE | {"recentPosts": [test_modash.POST], "viewsCountMedian": 1200}


@dataclass(frozen=True)
class Case:
    """An answer of a source with three items. `listed`: the field that lists them. The second item is changed."""

    source: str
    answer: dict[str, Any]
    listed: str
    identity: tuple[tuple[str, ...], ...]


def three(answer: dict[str, Any], listed: str, item: dict[str, Any], *names: tuple[str, ...]) -> dict[str, Any]:
    items = []
    for number in range(3):
        items.append(copy.deepcopy(item))
        for path in names:
            inside(items[-1], path[:-1])[path[-1]] = f"id-{number}"
    return answer | {listed: items}


def inside(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def case(source: str, answer: dict[str, Any], listed: str, item: dict[str, Any], *names: tuple[str, ...]) -> Case:
    return Case(source, three(answer, listed, item, *names), listed, names)


CASES = [
    case("tiktok-creators", test_modash.ANSWER, "profiles", USERS_POST, ("userId",), ("username",)),
    case("tiktok-products", test_keyapi.ANSWER, "data", test_keyapi.PRODUCT, ("_source", "product_id"), ("_id",)),
    case("public-videos", test_memories.ANSWER, "data", VIDEO, ("videoNo",)),
    case("private-videos", test_memories.ANSWER, "data", VIDEO, ("videoNo",)),
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.source)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of a value, and of each value in it."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in parts:
        yield from paths(part, (*path, step))


def changed(answer: dict[str, Any], path: tuple[Any, ...], odd: bytes) -> bytes:
    """Returns the answer as JSON, with an odd value at the path."""
    new = copy.deepcopy(answer)
    holder = inside(new, path[:-1])
    if odd:
        holder[path[-1]] = "HERE"
    elif isinstance(holder, dict):
        del holder[path[-1]]
    else:
        holder.pop(path[-1])
    return json.dumps(new).encode().replace(b'"HERE"', odd, 1)


def ask(provider: Provider, case: Case) -> Answer:
    return answer_of(registry.adapter(case.source), provider.url, SECRET)


def storable(answer: Answer) -> bool:
    text = json.dumps([[hit.detail, hit.raw, hit.title, hit.external_id] for hit in answer.hits], allow_nan=False)
    return "\\u0000" not in text and "\\ud8" not in text


@every_case
def test_an_item_with_any_odd_field_costs_no_other_and_is_found_by_its_identity(provider: Provider, case: Case) -> None:
    item = case.answer[case.listed][1]
    for field, (name, odd) in ((field, odd) for field in paths(item) for odd in ODD.items() if field):
        provider.answers(changed(case.answer, (case.listed, 1, *field), odd))
        answer = ask(provider, case)
        found = [hit.external_id for hit in answer.hits]
        assert {"id-0", "id-2"} <= set(found), (field, name)
        assert len(found) + answer.unreadable == answer.billed_results == 3, (field, name)
        assert storable(answer), (field, name)
        if not any(field == path[: len(field)] for path in case.identity):
            assert (sorted(found), answer.unreadable) == (["id-0", "id-1", "id-2"], 0), (field, name)


@every_case
@pytest.mark.parametrize("odd", ODD)
def test_an_unidentified_item_is_counted_billed_and_shown_to_operators(
    provider: Provider, case: Case, odd: str
) -> None:
    provider.answers(changed(case.answer, (case.listed, 1), ODD[odd] or b"7"))
    answer = ask(provider, case)
    assert [hit.external_id for hit in answer.hits] == ["id-0", "id-2"]
    assert (answer.unreadable, answer.billed_results) == (1, 3)
    assert 0 < len(answer.excerpt) <= 2048


@every_case
def test_the_rest_of_the_envelope_may_be_odd_too(provider: Provider, case: Case) -> None:
    """Leaves out the odd values that report a failure: another code, or a flag that is set."""
    for field in (name for name in case.answer if name != case.listed):
        for name, odd in ODD.items():
            if (field, name) in REPORTS_A_FAILURE:
                continue
            provider.answers(changed(case.answer, (field,), odd))
            assert [hit.external_id for hit in ask(provider, case).hits] == ["id-0", "id-1", "id-2"], (field, name)


REPORTS_A_FAILURE = {
    ("error", "true"),
    ("success", "false"),
    ("failed", "true"),
    # A code without a meaning is not the code of a success.
    *(("code", name) for name in ("a text", "blanks", "minus one", "a fraction", "beyond 64 bits", "beyond a double")),
    *(("code", name) for name in ("NaN", "infinity", "1e999", "beyond Python", "huge", "NUL", "half a surrogate")),
    *(("code", name) for name in ("a raw control character", "not UTF-8", "a script")),
}


@every_case
@pytest.mark.parametrize("odd", sorted(set(ODD) - {"a list", "deep", "deep with brackets in texts"}))
def test_an_envelope_without_its_list_alone_is_garbled(provider: Provider, case: Case, odd: str) -> None:
    provider.answers(changed(case.answer, (case.listed,), ODD[odd]))
    if odd in ("null", "missing") and case.source != "tiktok-creators":
        adapter = registry.adapter(case.source)
        allowed = odd == "null" or case.source == "tiktok-products"
        assert allowed == (not isinstance(came(provider, case), Garbled)), adapter
    else:
        assert isinstance(came(provider, case), Garbled)


def came(provider: Provider, case: Case) -> Any:
    try:
        return ask(provider, case)
    except Garbled as garbled:
        return garbled


@every_case
@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("utf-8-sig", "application/json"),
        ("utf-16", "application/json"),
        ("utf-16-le", "application/json"),
        ("utf-32-be", "text/plain"),
        ("iso-8859-1", "application/json; charset=ISO-8859-1"),
        ("windows-1252", 'application/json;charset="windows-1252"'),
        # UTF-8 is recognized although the header says Latin-1.
        ("utf-8", "application/json; charset=iso-8859-1"),
        ("utf-8", "text/html; charset=no-such-charset"),
        ("utf-8", "application/json; charset=base64"),
    ],
)
def test_an_answer_in_another_charset_is_read(provider: Provider, case: Case, encoding: str, content_type: str) -> None:
    named = json.dumps(case.answer).replace("id-1", "Zoë")
    provider.answers(named.encode(encoding), headers={"Content-Type": content_type})
    assert sorted(hit.external_id for hit in ask(provider, case).hits) == ["Zoë", "id-0", "id-2"]


@every_case
def test_an_excerpt_of_unidentified_items_quotes_no_key(provider: Provider, case: Case) -> None:
    provider.answers(case.answer | {case.listed: [SECRET.value, {"by": SECRET.value}, "and more"]})
    answer = ask(provider, case)
    assert (answer.hits, answer.unreadable) == ((), 3)
    assert SECRET.value not in answer.excerpt
    assert "and more" in answer.excerpt


@every_case
def test_more_than_can_be_kept_at_once_is_counted(provider: Provider, case: Case) -> None:
    [first, *_] = case.answer[case.listed]
    many = [json.loads(json.dumps(first).replace("id-0", f"n-{number}")) for number in range(fields.MOST_OBJECTS + 3)]
    provider.answers(case.answer | {case.listed: many})
    answer = ask(provider, case)
    assert (len(answer.hits), answer.unreadable) == (fields.MOST_OBJECTS, 3)
    assert answer.billed_results == fields.MOST_OBJECTS + 3


@pytest.mark.parametrize("path", ["matchedPosts", "recentPosts"])
def test_a_post_that_is_no_object_is_left_out_and_an_odd_one_keeps_its_good_fields(
    provider: Provider, path: str
) -> None:
    profile = test_modash.PROFILE | {path: [7, {"id": 7012, "url": "tos://a/b", "thumbnail": "javascript:x"}, None]}
    provider.answers(test_modash.ANSWER | {"profiles": [profile]})
    [hit] = ask(provider, CASES[0]).hits
    [post] = hit.detail["matched_posts" if path == "matchedPosts" else "recent_posts"]
    assert (post["id"], post["url"], post["thumbnail"], post["likes_count"]) == ("7012", None, None, None)
    assert hit.raw[path] == profile[path]


def test_a_failure_is_no_answer_however_much_came_with_it(provider: Provider) -> None:
    failures: list[dict[str, Any]] = [{"error": True}, {"code": 500}, {"failed": True}, {"code": "0429"}]
    for case, said in zip(CASES, failures, strict=True):
        provider.answers(case.answer | said)
        assert not isinstance(failure_of(answer_of, registry.adapter(case.source), provider.url, SECRET), Garbled)


@given(
    st.binary(), st.sampled_from(["", "application/json; charset=utf-16", "text/html; charset=gb18030", "charset=x"])
)
def test_any_bytes_are_parsed_as_json_or_none(content: bytes, content_type: str) -> None:
    json.dumps(parsing.parse(content, content_type), allow_nan=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_becomes_storable(value: Any) -> None:
    kept = json.dumps(parsing.parse(json.dumps(value).encode()), allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in kept
    assert kept.encode("utf-8")
