"""Uses the client that `openapi-python-client` makes of the OpenAPI document, as a customer's program would."""

from __future__ import annotations

import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from uuid import UUID

from sightline import AuthenticatedClient
from sightline.api.credits_ import list_credits
from sightline.api.images import create_image
from sightline.api.searches import (
    cancel_search,
    create_search,
    get_search,
    list_results,
    list_searches,
    quote_search,
)
from sightline.api.sources import list_sources
from sightline.api.webhook_endpoints import create_webhook_endpoint, delete_webhook_endpoint, list_webhook_endpoints
from sightline.models import (
    AccountList,
    EndpointList,
    EndpointRequest,
    EndpointWithSecret,
    ImageForm,
    ListSearchesMetadata,
    LookupTiktokCreators,
    LookupTiktokCreatorsParameters,
    LookupTiktokCreatorsParametersFollowersCount,
    OrderInForm,
    OrderInFormMetadata,
    PictureGiven,
    Problem,
    ProblemCode,
    Quote,
    ResultList,
    ResultType,
    Search,
    SearchForm,
    SearchList,
    SearchRequest,
    SearchSourceList,
    SearchStatus,
    StoredImage,
    WantedEventType,
)
from sightline.types import UNSET, File

URL, KEY, PICTURE, ENDED = sys.argv[1:]
client = AuthenticatedClient(URL, KEY, raise_on_unexpected_status=True)
picture = Path(PICTURE).read_bytes()


def file() -> File:
    return File(payload=BytesIO(picture), file_name="picture.jpg", mime_type="image/jpeg")


# A search, whose picture is a file of a form.
followers = LookupTiktokCreatorsParametersFollowersCount(min_=13000)
creators = LookupTiktokCreators(
    source="tiktok-creators", limit=40, parameters=LookupTiktokCreatorsParameters(followers_count=followers)
)
order = OrderInForm(lookups=[creators], metadata=OrderInFormMetadata.from_dict({"campaign": "spring"}))
created = create_search.sync_detailed(client=client, body=SearchForm(request=order, image=file()), prefer="wait=0")
assert created.status_code == 202
first = created.parsed
assert isinstance(first, Search)
assert created.headers["location"] == f"/v1/searches/{first.id}"
assert first.status == SearchStatus.QUEUED
assert first.lookups[0].effective_parameters["followers_count"] == {"min": 10000}

# Another one in JSON, and its quote.
request = SearchRequest(image=PictureGiven(base64=b64encode(picture).decode()), lookups=[creators])
quote = quote_search.sync(client=client, body=request)
assert isinstance(quote, Quote)
assert quote.allowed
second = create_search.sync(client=client, body=request)
assert isinstance(second, Search)

# A stored picture, and a search with it.
stored = create_image.sync(client=client, body=ImageForm(image=file()))
assert isinstance(stored, StoredImage)
third = create_search.sync(
    client=client,
    body=SearchRequest(image=PictureGiven(id=stored.id), lookups=[LookupTiktokCreators("tiktok-creators")]),
)
assert isinstance(third, Search)
assert third.image is not None
assert third.image.id == stored.id

# Read, with the version that is known.
read = get_search.sync_detailed(first.id, client=client)
assert isinstance(read.parsed, Search)
assert read.parsed.created_at == first.created_at
known = get_search.sync_detailed(first.id, client=client, if_none_match=read.headers["etag"])
assert (known.status_code, known.parsed) == (304, None)

# All searches, a page at a time.
pages: list[SearchList] = []
while not pages or pages[-1].has_more:
    cursor = pages[-1].next_cursor if pages else None
    page = list_searches.sync(client=client, limit=2, cursor=cursor or UNSET)
    assert isinstance(page, SearchList)
    pages.append(page)
ids = [search.id for page in pages for search in page.data]
assert len(pages) == 2
assert ids[:3] == [third.id, second.id, first.id]
spring = list_searches.sync(client=client, metadata=ListSearchesMetadata.from_dict({"metadata.campaign": "spring"}))
assert isinstance(spring, SearchList)
assert [search.id for search in spring.data] == [first.id]

canceled = cancel_search.sync(first.id, client=client)
assert isinstance(canceled, Search)
assert canceled.status == SearchStatus.CANCELED

results = list_results.sync(UUID(ENDED), client=client, type_=ResultType.CREATOR)
assert isinstance(results, ResultList)
assert [result.rank for result in results.data] == [1, 2, 3]
assert results.data[0].creator
assert results.data[0].creator.username == "creator1"

# An error is a value of its own type, which names every wrong field.
wrong = create_search.sync(
    client=client,
    body=SearchRequest(image=PictureGiven(), lookups=[LookupTiktokCreators("tiktok-creators", limit=1501)]),
)
assert isinstance(wrong, Problem)
assert (wrong.status, wrong.code) == (400, ProblemCode.INVALID_REQUEST)
assert wrong.errors
assert {error.field for error in wrong.errors} == {"image", "lookups[0].limit"}
nobody = get_search.sync(UUID(int=0), client=client)
assert isinstance(nobody, Problem)
assert nobody.code == ProblemCode.NOT_FOUND

sources = list_sources.sync(client=client)
assert isinstance(sources, SearchSourceList)
accounts = list_credits.sync(client=client)
assert isinstance(accounts, AccountList)
print("credits", [(account.provider.value, account.posted) for account in accounts.data])

made = create_webhook_endpoint.sync(
    client=client,
    body=EndpointRequest(url="https://example.com/hooks", events=[WantedEventType.SEARCH_SUCCEEDED]),
)
assert isinstance(made, EndpointWithSecret)
assert made.secret.startswith("whsec_")
endpoints = list_webhook_endpoints.sync(client=client)
assert isinstance(endpoints, EndpointList)
assert [endpoint.id for endpoint in endpoints.data] == [made.id]
assert delete_webhook_endpoint.sync_detailed(made.id, client=client).status_code == 204
