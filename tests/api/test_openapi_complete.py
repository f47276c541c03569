"""The OpenAPI document lacks nothing: whatever is added to the API must be described, with bounds, examples, errors and links."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from config import openapi_links, openapi_problems, problems
from config.problem_codes import PROBLEMS
from tests.api.test_openapi import document, resolved

OPERATIONS = {each["operationId"]: each for _, _, each in openapi_links.every(document()["paths"])}


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
