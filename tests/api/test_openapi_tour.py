"""Sends every example of a request that the OpenAPI document has to every operation, and compares each answer with the document.

An operation that is added later is visited too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from rest_framework.test import APIClient

from accounts.models import Tenant
from config import openapi_links
from searches.api.examples import FILE, IMAGE
from searches.models import Search
from tests.api.examples import PICTURE
from tests.api.routes import belongings, path_to
from tests.api.test_openapi import described, document

OPERATIONS = {each["operationId"]: (path, method) for path, method, each in openapi_links.every(document()["paths"])}
PATHS = {"/v1/providers/{provider}/dictionaries/{name}": "/v1/providers/modash/dictionaries/locations"}
# Nobody listens at the address of the provider that is asked. The search needs its picture, and no lookup of it has failed.
REFUSED = {"look_up_terms": 503, "reconcile_credential": 503, "delete_image": 409, "retry_search": 409}
# The label is taken: the key that the tests have is the default one.
CHANGES = {"create_credential": {"label": "another"}}


def requests(name: str, search: Search) -> Iterator[dict[str, Any]]:
    """Yields how the client sends each example of the operation; nothing, where it has no body."""
    path, method = OPERATIONS[name]
    contents = document()["paths"][path][method].get("requestBody", {}).get("content", {})
    for media_type, content in contents.items():
        for shown in content["examples"].values():
            value = with_rows(shown["value"], search)
            if media_type == "multipart/form-data":
                value = {part: sent(part, text) for part, text in value.items()}
                yield {"data": value, "format": "multipart"}
            else:
                yield {"data": value | CHANGES.get(name, {}), "format": "json"}
    if not contents:
        yield {}


def with_rows(value: Any, search: Search) -> Any:
    """Puts the id of a picture that there is in the place of the example's."""
    return json.loads(json.dumps(value).replace(IMAGE["id"], str(search.image_id)))


def sent(part: str, value: Any) -> Any:
    if value == FILE:
        return SimpleUploadedFile("picture.jpg", PICTURE, content_type="image/jpeg")
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("method", openapi_links.METHODS)
def test_every_operation_takes_its_examples_and_answers_as_described(
    api: APIClient, alice: Tenant, method: str
) -> None:
    search = belongings(api)
    for name, (path, its_method) in OPERATIONS.items():
        if its_method != method:
            continue
        address = path_to(PATHS.get(path, path).replace("{id}", "<id:id>"), search)
        for request in requests(name, search):
            with transaction.atomic():
                response = getattr(api, method)(address, **request)
                transaction.set_rollback(True)
            good = next(status for status in document()["paths"][path][method]["responses"] if status.startswith("2"))
            assert response.status_code == REFUSED.get(name, int(good)), (name, response.content)
            described(path, method, response)


def test_an_answer_to_a_wrong_id_is_described(api: APIClient) -> None:
    for path, method in OPERATIONS.values():
        if "{id}" in path:
            response = getattr(api, method)(path.replace("{id}", str(UUID(int=0))), {}, format="json")
            assert response.status_code == 404
            described(path, method, response)
