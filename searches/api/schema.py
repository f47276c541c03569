"""The parts of the OpenAPI document that these views' serializers do not have: headers, statuses, texts and examples."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)

from accounts.web import file_examples
from accounts.web.pagination import LINK, PageQuery
from accounts.web.renderers import columns_of
from providers import registry
from searches.api.examples import (
    CALL_SHOWN,
    FILE,
    IMAGE,
    PRODUCT_SHOWN,
    QUOTE_SHOWN,
    RESULT_SHOWN,
    SEARCH_SHOWN,
    SOURCE_SHOWN,
    STORED,
    TINY,
    VIDEO_SHOWN,
)
from searches.api.image_serializers import ImageForm, ImageRequest, StoredImageSerializer
from searches.api.query_serializers import ImageQuery, ResultQuery, SearchQuery
from searches.api.quote_serializers import QuoteSerializer
from searches.api.request_serializers import (
    METADATA_KEY,
    MOST_METADATA,
    MOST_METADATA_CHARACTERS,
    ORDER,
    SearchForm,
    SearchRequest,
)
from searches.api.result_serializers import CallSerializer, ResultSerializer
from searches.api.source_catalog import SourceSerializer
from searches.representations import SearchSerializer

PREFER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=N`: answer when the search has ended, or after N seconds (at most 60). If many requests wait already, "
    "the answer is sent at once, without `Preference-Applied`.",
    examples=[OpenApiExample("Wait for half a minute", value="wait=30")],
)
APPLIED = OpenApiParameter(
    "Preference-Applied",
    str,
    OpenApiParameter.HEADER,
    response=[200, 202, 304],
    description="`wait=N`, if the wait was granted.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="An `ETag` that you received before. While it is current, the answer is 304. With `Prefer: wait=N` the answer "
    "is sent as soon as the search has changed. It is 304 at the end of the wait, and at once if the search has ended.",
)
ETAG = OpenApiParameter(
    "ETag",
    str,
    OpenApiParameter.HEADER,
    response=[200, 202, 304],
    description="The search's version. It is weak, because a position in the queue changes without it.",
)
CREDITS_AVAILABLE = [
    OpenApiParameter(
        f"Credits-Available-{provider}",
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,6})?$", "examples": ["98.5"]},
        OpenApiParameter.HEADER,
        response=[202],
        description=f"The credits of {provider} that you have available after the hold of this search, as in `GET /v1/credits`. "
        f"Only with a live key, for a search with {provider}, and if the account is prepaid: a metered one has no bound.",
    )
    for provider in sorted(registry.PROVIDERS)
]
LOCATION = OpenApiParameter(
    "Location", str, OpenApiParameter.HEADER, response=[201, 202], description="The path of the new object."
)
# Each member is a parameter of its own.
METADATA = OpenApiParameter(
    "metadata",
    {
        "type": "object",
        "propertyNames": {"pattern": rf"^metadata\.{METADATA_KEY.pattern}$"},
        "additionalProperties": {"type": "string", "maxLength": MOST_METADATA_CHARACTERS},
        "maxProperties": MOST_METADATA,
    },
    style="form",
    explode=True,
    # The page of the document fills in the first one.
    examples=[OpenApiExample("Any", value={}), OpenApiExample("A campaign", value={"metadata.campaign": "spring"})],
    description="Only searches whose metadata have these texts under these keys, each as a parameter of its own: "
    "`metadata.campaign=spring`.",
)
SEARCH_EXAMPLE = OpenApiExample("A queued search", value=SEARCH_SHOWN, response_only=True, status_codes=["200", "202"])
STORED_EXAMPLE = OpenApiExample("A picture", value=STORED, response_only=True, status_codes=["200", "201"])

ORDER_BODIES = {
    "application/json": OpenApiRequest(
        SearchRequest,
        examples=[
            OpenApiExample("A picture in it", value={"image": {"base64": TINY}, **ORDER}, request_only=True),
            OpenApiExample("A stored picture", value={"image": {"id": IMAGE["id"]}, **ORDER}, request_only=True),
        ],
    ),
    "multipart/form-data": OpenApiRequest(
        SearchForm,
        encoding={"request": {"contentType": "application/json"}},
        examples=[OpenApiExample("A file", value={"image": FILE, "request": ORDER}, request_only=True)],
    ),
}
SEARCHES = extend_schema_view(
    post=extend_schema(
        operation_id="create_search",
        summary="Create a search",
        description="Takes a picture and 1 to 20 lookups, holds the most credits that they can cost, and queues them. The "
        "picture is a file of a form, base64 text, a URL, or the id of a stored picture.",
        parameters=[PREFER, APPLIED, ETAG, LOCATION, *CREDITS_AVAILABLE],
        request=ORDER_BODIES,
        responses={202: SearchSerializer},
        examples=[SEARCH_EXAMPLE],
    ),
    get=extend_schema(
        operation_id="list_searches",
        summary="List searches, newest first",
        description="A live key lists live searches, a test key the test ones.",
        parameters=[SearchQuery, METADATA, LINK],
        responses={200: SearchSerializer(many=True)},
        examples=[SEARCH_EXAMPLE],
    ),
)
QUOTE = extend_schema_view(
    post=extend_schema(
        operation_id="quote_search",
        summary="Quote a search",
        description="Takes the body of `POST /v1/searches`, and answers what that would answer and hold if it was sent now. "
        "Nothing is stored, queued, held or called, and the picture is not kept. A search that would be refused with a 402 is "
        "answered with 200 and `allowed: false`; any other refusal is the submit's own.",
        request=ORDER_BODIES,
        responses={200: QuoteSerializer},
        examples=[OpenApiExample("A search that a cap does not allow", value=QUOTE_SHOWN, response_only=True)],
    )
)
SEARCH = extend_schema_view(
    get=extend_schema(
        operation_id="get_search",
        summary="Get a search",
        description="Returns the search as it is now. With `Prefer: wait=N` it is returned as soon as it has ended or changed.",
        parameters=[PREFER, APPLIED, IF_NONE_MATCH, ETAG],
        responses={
            200: SearchSerializer,
            304: OpenApiResponse(description="The search still has the version that you know."),
        },
        examples=[SEARCH_EXAMPLE],
    ),
    delete=extend_schema(
        operation_id="delete_search",
        summary="Erase a search",
        description="Cancels the search, and erases its parameters and results at once, and its picture unless another search "
        "uses it. A call that was sent already is finished and charged, but its results are not kept. The ledger keeps costs.",
        responses={204: OpenApiResponse(description="The search is erased.")},
    ),
)
CANCEL = extend_schema_view(
    post=extend_schema(
        operation_id="cancel_search",
        summary="Cancel a search",
        description="Waiting lookups end at 0 credits. A call that was sent is finished, charged and kept. May be repeated.",
        parameters=[ETAG],
        request=None,
        responses={200: SearchSerializer},
        examples=[SEARCH_EXAMPLE],
    )
)
RETRY_EXAMPLE = OpenApiExample(
    "A retry",
    value=SEARCH_SHOWN | {"retry_of": "019a9f3e-1b40-7e02-8c55-2f1d0c9a7005"},
    response_only=True,
    status_codes=["202"],
)
RETRY = extend_schema_view(
    post=extend_schema(
        operation_id="retry_search",
        summary="Retry a search",
        description="Creates a search with the failed lookups of this one, which it names in `retry_of`. Picture, crop, "
        "parameters, limits, offsets, named credentials, priority, `expires_in`, `max_age`, `max_credits` and metadata are the "
        "same; prices, caps and bounds are those of now. A named credential that was deleted is replaced by the default one. The "
        "whole lookup is asked again, pages that it had got too. While this search runs, the lookups are asked again that have "
        "failed so far. The answer is 409 if none has failed, or if the picture was erased.",
        parameters=[PREFER, APPLIED, ETAG, LOCATION, *CREDITS_AVAILABLE],
        request=None,
        responses={202: SearchSerializer},
        examples=[RETRY_EXAMPLE],
    )
)
RESULTS = extend_schema_view(
    get=extend_schema(
        operation_id="list_results",
        summary="List the results of a search",
        description="Lists results by lookup and rank, or in the order of arrival. CSV and NDJSON are files with all rows, "
        "streamed, unless `limit` or `cursor` asks for a page, whose next one is in the `Link` header. A file that could not be "
        "completed ends with an error: in NDJSON a line with `error` alone, in CSV a record with an open quote.",
        parameters=[ResultQuery, LINK],
        responses={
            200: ResultSerializer(many=True),
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
        },
        examples=[
            OpenApiExample("A creator", value=RESULT_SHOWN, response_only=True),
            OpenApiExample("A product", value=PRODUCT_SHOWN, response_only=True),
            OpenApiExample("A video", value=VIDEO_SHOWN, response_only=True),
            *file_examples.files([RESULT_SHOWN], columns_of(ResultSerializer(context={"raw": False}))),
        ],
    )
)
CALLS = extend_schema_view(
    get=extend_schema(
        operation_id="list_calls",
        summary="List the calls to providers",
        description="Lists every HTTP request to a provider that the search made, in the order of their turns. Calls that failed "
        "before anything was sent are included: their `sent_at` is null, they cost nothing, and a lookup's `calls` does not "
        "count them.",
        parameters=[PageQuery, LINK],
        responses={200: CallSerializer(many=True)},
        examples=[OpenApiExample("A call", value=CALL_SHOWN, response_only=True)],
    )
)
IMAGES = extend_schema_view(
    get=extend_schema(
        operation_id="list_images",
        summary="List stored pictures, newest first",
        description="Lists all your pictures, including those that no search uses. A picture is erased when no search has needed "
        "it for as long as your retention says.",
        parameters=[ImageQuery, LINK],
        responses={200: StoredImageSerializer(many=True)},
        examples=[STORED_EXAMPLE],
    ),
    post=extend_schema(
        operation_id="create_image",
        summary="Store a picture",
        description="Stores a picture for repeated searches. The same file sent again is the same picture.",
        parameters=[LOCATION],
        request={
            "application/json": OpenApiRequest(
                ImageRequest,
                examples=[OpenApiExample("A picture in it", value={"image": {"base64": TINY}}, request_only=True)],
            ),
            "multipart/form-data": OpenApiRequest(
                ImageForm, examples=[OpenApiExample("A file", value={"image": FILE}, request_only=True)]
            ),
        },
        responses={201: StoredImageSerializer},
        examples=[STORED_EXAMPLE],
    ),
)
IMAGE_VIEW = extend_schema_view(
    get=extend_schema(
        operation_id="get_image",
        summary="Get a picture",
        description="Returns the size and the format of a stored picture, and when it will be erased. The file itself is not "
        "returned.",
        responses={200: StoredImageSerializer},
        examples=[STORED_EXAMPLE],
    ),
    delete=extend_schema(
        operation_id="delete_image",
        summary="Delete a picture",
        description="Deletes a picture and its files. The answer is 409 while a search uses the picture.",
        responses={204: OpenApiResponse(description="The picture is deleted.")},
    ),
)
SOURCES = extend_schema_view(
    get=extend_schema(
        operation_id="list_sources",
        summary="List sources",
        description="Lists what can be searched: each source with its parameters, its price, its rate limit and its queue now.",
        parameters=[PageQuery, LINK],
        responses={200: SourceSerializer(many=True)},
        examples=[OpenApiExample("A source", value=SOURCE_SHOWN, response_only=True)],
    )
)
