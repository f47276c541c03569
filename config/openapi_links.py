"""The links of the OpenAPI document: an answer's ids lead to the operations that take them.

Each is made from the paths, so that a route that is added later is linked the day it is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

METHODS = ("get", "post", "patch", "delete")
OF_ONE = re.compile(r"(?P<collection>.*)/\{id\}(?P<action>/[^{}]+)?")
FIRST = "$response.body#/data/0/id"
OWN = "$response.body#/id"
# Links that no path tells of: an operation, the one that it leads to, and the rest of the link.
OTHERS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("create_search", "list_credit_entries"): {"parameters": {"lookup": "$response.body#/lookups/0/id"}},
    ("create_image", "create_search"): {
        "requestBody": {"image": {"id": OWN}, "lookups": [{"source": "tiktok-creators"}]}
    },
    ("send_webhook_test", "redeliver_webhook"): {"parameters": {"id": OWN}},
    ("send_webhook_test", "list_webhook_deliveries"): {"parameters": {"endpoint": "$response.body#/endpoint_id"}},
}


def add(paths: Mapping[str, Any]) -> None:
    """Adds its links to the good answer of each operation that leads to others."""
    operations = {operation["operationId"]: operation for _, _, operation in every(paths)}
    for path, method, operation in every(paths):
        for target, id in leads_to(paths, path, method):
            link(operation, target["operationId"], {"parameters": {"id": id}})
    for (name, target_name), rest in OTHERS.items():
        link(operations[name], target_name, rest)


def every(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in paths.items():
        for method in METHODS:
            if method in operations:
                yield path, method, operations[method]


def leads_to(paths: Mapping[str, Any], path: str, method: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yields the operations of the row that an operation answers, or of the first of a list, and where its id is."""
    operation, own = paths[path][method], OF_ONE.fullmatch(path)
    one = own["collection"] if own else path
    answers_a_row = method != "delete" and schema_of(operation) == schema_of(
        paths.get(f"{one}/{{id}}", {}).get("get", {})
    )
    if own and not answers_a_row:
        return
    for other, _, target in every(paths):
        found = OF_ONE.fullmatch(other)
        if found and found["collection"] == one and target is not operation:
            yield target, OWN if own or method == "post" else FIRST


def schema_of(operation: Mapping[str, Any]) -> Any:
    """Returns the schema of the good answer of an operation; None if it has no JSON."""
    return good(operation).get("content", {}).get("application/json", {}).get("schema")


def good(operation: Mapping[str, Any]) -> dict[str, Any]:
    answers = operation.get("responses", {})
    return next((answer for status, answer in answers.items() if status.startswith("2")), {})


def link(operation: Mapping[str, Any], target: str, rest: Mapping[str, Any]) -> None:
    good(operation).setdefault("links", {})[target] = {"operationId": target, **rest}
