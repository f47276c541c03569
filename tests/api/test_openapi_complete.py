"""The OpenAPI document lacks nothing: whatever is added to the API must be described, with bounds, examples, errors and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from config import openapi_enums, openapi_links, openapi_problems, problems
from config.problem_codes import PROBLEMS
from tests.api.test_openapi import document, resolved

Schema = dict[str, Any]

OPERATIONS = {each["operationId"]: each for _, _, each in openapi_links.every(document()["paths"])}
# Texts of answers that somebody else wrote, and numbers without bounds, need none.
BOUNDS_OF_A_TEXT = {"enum", "const", "format", "pattern", "maxLength", "contentEncoding"}


def inner(schema: Schema, place: str) -> Iterator[tuple[str, Schema]]:
    """Yields a schema and those in it, each with its place. References are not followed."""
    yield place, schema
    for name, described in schema.get("properties", {}).items():
        yield from inner(described, f"{place}.{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from inner(schema[word], f"{place}[]")
    for word in ("oneOf", "anyOf", "allOf"):
        for each in schema.get(word, ()):
            yield from inner(each, place)


def of_requests() -> Iterator[tuple[str, Schema]]:
    """Yields every schema that a body or a parameter can have."""
    names: list[str] = []
    for name, operation in OPERATIONS.items():
        for parameter in operation.get("parameters", ()):
            # A preference or a tag that means nothing is ignored, as their RFCs have it.
            if resolved(parameter)["in"] == "header":
                continue
            yield from inner(resolved(parameter)["schema"], f"{name} {parameter.get('name')}")
        for content in operation.get("requestBody", {}).get("content", {}).values():
            names += references(content["schema"])
    for name in names:
        schema = document()["components"]["schemas"][name]
        names += [other for other in references(schema) if other not in names]
        yield from inner(schema, name)


def references(node: Any) -> list[str]:
    return [each["$ref"].rpartition("/")[2] for each in openapi_enums.nodes(node) if "$ref" in each]


def test_every_operation_says_what_it_does() -> None:
    for name, operation in OPERATIONS.items():
        assert operation["summary"], name
        assert operation["description"].endswith("."), name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
    tags = {tag["name"] for tag in document()["tags"] if tag["description"]}
    assert {tag for operation in OPERATIONS.values() for tag in operation["tags"]} <= tags


def test_every_property_and_parameter_is_described() -> None:
    lacking = []
    for name, schema in document()["components"]["schemas"].items():
        lacking += [] if schema.get("description") else [name]
        for place, each in inner(schema, name):
            for property, described in each.get("properties", {}).items():
                lacking += [] if resolved(described).get("description") else [f"{place}.{property}"]
    for name, operation in OPERATIONS.items():
        for parameter in map(resolved, operation.get("parameters", ())):
            lacking += [] if parameter.get("description") else [f"{name} {parameter['name']}"]
        for status, answer in operation["responses"].items():
            for header, described in resolved(answer).get("headers", {}).items():
                lacking += [] if resolved(described).get("description") else [f"{name} {status} {header}"]
    assert lacking == []


def test_everything_in_a_request_has_bounds() -> None:
    lacking = []
    for place, schema in of_requests():
        types = schema.get("type", ())
        types = {types} if isinstance(types, str) else set(types)
        bounded = BOUNDS_OF_A_TEXT & set(schema)
        bounded |= {"minimum"} if types & {"integer", "number"} and {"minimum", "maximum"} <= set(schema) else set()
        bounded |= {"maxItems"} & set(schema) if "array" in types else set()
        is_map = "object" in types and schema.get("additionalProperties") is not False
        bounded |= {"maxProperties"} & set(schema) if is_map else {"properties"} & set(schema)
        if types - {"boolean", "null"} and not bounded:
            lacking.append(place)
    assert lacking == []


def test_every_whole_number_of_an_answer_has_a_least_value() -> None:
    lacking = []
    for name, schema in document()["components"]["schemas"].items():
        for place, each in inner(schema, name):
            if "integer" in each.get("type", ()) and not {"minimum", "enum"} & set(each):
                lacking.append(place)
    assert lacking == []


def test_an_enumeration_of_several_places_is_one_schema() -> None:
    """Generators of clients then make one type of it, whose values fit everywhere."""
    nodes = [node for node in openapi_enums.nodes(document()["components"]["schemas"]) if "enum" in node]
    values = [tuple(node["enum"]) for node in nodes if isinstance(node["enum"], list)]
    assert len(values) == len(set(values))
    assert not any(None in each for each in values)


def test_every_body_has_an_example() -> None:
    lacking = []
    for name, operation in OPERATIONS.items():
        bodies = [("request", operation.get("requestBody", {})), *operation["responses"].items()]
        for place, body in bodies:
            for media_type, content in resolved(body).get("content", {}).items():
                lacking += [] if content.get("examples") else [f"{name} {place} {media_type}"]
    assert lacking == []


def error_examples(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for status, answer in operation["responses"].items():
        if status >= "4":
            for shown in resolved(answer)["content"][problems.MEDIA_TYPE]["examples"].values():
                assert shown["value"]["status"] == int(status)
                yield shown["value"]


def test_each_operation_shows_each_code_that_it_can_answer() -> None:
    for path, method, operation in openapi_links.every(document()["paths"]):
        shown = {example["code"] for example in error_examples(operation)}
        assert shown >= set(openapi_problems.EVERYWHERE), path
        assert ("not_found" in shown) >= ("{id}" in path), path
        assert (shown >= set(openapi_problems.WITH_A_BODY)) == (method in ("post", "patch")), path


def test_a_wrong_field_is_one_of_the_operation() -> None:
    wrong = {
        name: next(each for each in error_examples(operation) if each["code"] == "invalid_request")["errors"][0][
            "field"
        ]
        for name, operation in OPERATIONS.items()
    }
    assert (wrong["create_search"], wrong["list_searches"]) == ("lookups[0].limit", "limit")
    assert {name for name, field in wrong.items() if field == "lookups[0].limit"} == {"create_search", "quote_search"}
    for name, field in wrong.items():
        parameters = {resolved(each)["name"] for each in OPERATIONS[name]["parameters"]}
        assert (field == "limit") == ("limit" in parameters), name


def test_each_code_is_one_of_an_operation() -> None:
    shown = {example["code"] for operation in OPERATIONS.values() for example in error_examples(operation)}
    assert shown == set(PROBLEMS) - set(openapi_problems.OF_NO_OPERATION)


def test_what_answers_an_id_leads_to_all_that_takes_it() -> None:
    paths = document()["paths"]
    linked = {
        name
        for operation in OPERATIONS.values()
        for answer in operation["responses"].values()
        for name in answer.get("links", {})
    }
    of_an_id = {operation["operationId"] for path, _, operation in openapi_links.every(paths) if "{id}" in path}
    assert linked >= of_an_id
    created = paths["/v1/searches"]["post"]["responses"]["202"]["links"]
    assert set(created) >= {"get_search", "cancel_search", "delete_search", "list_results", "list_calls"}
    assert created["get_search"] == {"operationId": "get_search", "parameters": {"id": "$response.body#/id"}}


def test_a_link_leads_to_an_operation_by_parameters_that_it_has() -> None:
    for operation in OPERATIONS.values():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                target = OPERATIONS[link["operationId"]]
                names = {resolved(each)["name"] for each in target.get("parameters", ())}
                assert set(link.get("parameters", ())) <= names
                assert "requestBody" in target or "requestBody" not in link
