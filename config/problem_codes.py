"""Lists every `code` that an answer can carry. `/docs/errors` shows the list, with a section for each code.

A code that is missing here has no section, and no other title than that of its status (`config.problems.problem`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProblemType:
    """Describes a code for the people who receive it: what happened, and what to do.

    `detail`: an example of the sentence that an answer has.
    """

    status: int
    title: str
    happened: str
    mend: str
    detail: str


PROBLEMS: Mapping[str, ProblemType] = {
    "invalid_request": ProblemType(
        status=400,
        title="The request is wrong",
        happened="The body, the query or a header has wrong values. Nothing was done. All of them are checked "
        "before the answer, so `errors` names every wrong field at once (at most 100), each with its path, a code "
        "and a sentence.",
        mend="Mend every field that `errors` names, then send the request again. Without `errors`, the request "
        "line, the host or the headers themselves could not be read.",
        detail="lookups[0].limit: Must be from 1 to 1500.",
    ),
    "malformed_body": ProblemType(
        status=400,
        title="The body cannot be read",
        happened="The body is not JSON, or no form of multipart/form-data, so that no field of it could be checked. "
        "JSON is read strictly: UTF-8, no name twice in one object, no NaN, no comments, no comma at the end.",
        mend="Let a library write the body, and send all of it with its Content-Length. `detail` names the place "
        "that cannot be read.",
        detail="The body is not JSON: in line 3, at character 5, a comma or a closing bracket is expected.",
    ),
    "not_authenticated": ProblemType(
        status=401,
        title="No API key",
        happened="The request has no header `Authorization`.",
        mend="Send `Authorization: Bearer sl_live_…`, or `sl_test_…` for the sandbox.",
        detail="Send an API key: `Authorization: Bearer sl_live_…` or `sl_test_…`.",
    ),
    "authentication_failed": ProblemType(
        status=401,
        title="No valid API key",
        happened="A key was sent, but it is mistyped, cut or unknown, or the scheme is not Bearer.",
        mend="Compare the key with the one that was issued, to its last character.",
        detail="This API key is unknown; use one of yours that is active.",
    ),
    "api_key_expired": ProblemType(
        status=401,
        title="The API key has expired",
        happened="The key was made with an expiry, which has passed.",
        mend="Use a key that is active, or make a new one.",
        detail="This API key expired at 2026-11-30T00:00:00Z; use one that is active, or have its expiry moved.",
    ),
    "api_key_revoked": ProblemType(
        status=401,
        title="The API key was revoked",
        happened="Someone revoked the key, for good. It is refused from the next request on.",
        mend="Use a key that is active.",
        detail="This API key was revoked; use one that is active.",
    ),
    "api_key_rotated": ProblemType(
        status=401,
        title="The secret was replaced",
        happened="The API key was rotated: it has a new secret, and the time in which both secrets are taken has "
        "ended.",
        mend="Use the new secret, which the rotation answered once.",
        detail="This secret was replaced by a rotation of its API key, and their overlap has ended; use the new "
        "secret.",
    ),
    "insufficient_credits": ProblemType(
        status=402,
        title="Not enough credits",
        happened="The account with the provider is prepaid, and the search can cost more than it has available. "
        "Nothing was held.",
        mend="Ask for fewer results, or have credits granted. `limit` has the numbers.",
        detail="This search can cost up to 1 modash credits, and 0.5 are available; ask for fewer results, or have "
        "credits granted.",
    ),
    "tenant_cap_reached": ProblemType(
        status=402,
        title="The tenant's cap of the month is reached",
        happened="The search can cost more than your cap of this month has left. What is held by searches in "
        "progress counts. Nothing was held.",
        mend="Ask for fewer results, wait until the cap renews, or have it raised. `limit` has the numbers and the "
        "time.",
        detail="This search can cost up to 1 modash credits, and your cap is 2 a month (1 used, 0.5 held), which "
        "leaves 0.5 until it renews at 2026-12-01T00:00:00Z; ask for fewer results, wait, or have the cap raised.",
    ),
    "key_cap_reached": ProblemType(
        status=402,
        title="The API key's cap of the month is reached",
        happened="The search can cost more than the cap of this API key has left this month. Nothing was held.",
        mend="Ask for fewer results, use another key, wait until the cap renews, or have it raised. `limit` has the "
        "numbers and the time.",
        detail="This search can cost up to 1 modash credits, and the API key's cap is 2 a month (1 used, 0.5 held), "
        "which leaves 0.5 until it renews at 2026-12-01T00:00:00Z; ask for fewer results, wait, use another key, or "
        "have the cap raised.",
    ),
    "max_credits_too_low": ProblemType(
        status=402,
        title="The search can cost more than its max_credits",
        happened="The request has its own limit in `max_credits`, and the worst case of its lookups is above that. "
        "Nothing was held.",
        mend="Raise `max_credits`, or ask for fewer results. POST /v1/searches/quote tells the worst case of each "
        "lookup.",
        detail="This search can cost up to 1 modash credits, and its max_credits.modash is 0.5 (0 used, 0 held), "
        "which leaves 0.5; raise that, or ask for fewer results.",
    ),
    "price_missing": ProblemType(
        status=402,
        title="The source has no price",
        happened="The operator of this Sightline has set no price for the source, and nothing is searched for free "
        "by mistake.",
        mend="Ask the operator to set a price, or leave the source out. GET /v1/sources shows the prices.",
        detail="tiktok-creators has no price, so it cannot be searched; ask the operator of this Sightline to set one.",
    ),
    "permission_denied": ProblemType(
        status=403,
        title="Not allowed",
        happened="The API key is valid, but may not do this. A test key, for instance, changes no provider keys.",
        mend="Use a key that may, as `detail` says.",
        detail="A test key sees credentials and changes none; use a live key.",
    ),
    "scope_missing": ProblemType(
        status=403,
        title="The API key lacks a scope",
        happened="The API key is valid, but its scopes do not cover this route.",
        mend="Use a key that has the scope that `detail` names, or have it added to this one.",
        detail="This API key lacks the scope `searches:write`, which this request needs; use a key that has it, or "
        "have it added to this one.",
    ),
    "stronger_key": ProblemType(
        status=403,
        title="The API key may do more than yours",
        happened="A key changes, rotates and revokes no key that may do more than it: that has another scope, a later expiry, a "
        "wider network or a higher cap.",
        mend="Use a key that may do as much.",
        detail="This API key may do more than the one that asks (scopes); use a key that may do as much.",
    ),
    "address_not_allowed": ProblemType(
        status=403,
        title="The API key is not taken from here",
        happened="The API key is taken only from the networks that it was given, and the request came from another "
        "address.",
        mend="Send the request from an allowed network, or have the address that `detail` names added to the key.",
        detail="This API key is not taken from 198.51.100.7; send the request from one of its allowed networks, or "
        "have this address added to them.",
    ),
    "tenant_suspended": ProblemType(
        status=403,
        title="The tenant is suspended",
        happened="The operator suspended the tenant, so that none of its API keys is accepted.",
        mend="Ask the operator to lift the suspension. What is stored is still there.",
        detail="This tenant is suspended; ask the operator of this Sightline to lift it.",
    ),
    "not_found": ProblemType(
        status=404,
        title="Not found",
        happened="The path does not exist, or nothing with this id is yours. What belongs to another tenant, or to "
        "the other mode of key (live or test), is answered in the same way.",
        mend="Check the path, which ends without a slash, and the id, and whether the key is of the mode in which the object "
        "was made.",
        detail="Nothing of yours is here under this id; it may have been deleted, or never have been.",
    ),
    "results_erased": ProblemType(
        status=404,
        title="The results are no longer kept",
        happened="The search is there, but its results were erased when their retention was over.",
        mend="Search again. Read results before their retention ends, or have it lengthened.",
        detail="The results of this search were erased when their retention was over; search again.",
    ),
    "method_not_allowed": ProblemType(
        status=405,
        title="This path does not take this method",
        happened="The path exists, but not with this method.",
        mend="Use one of the methods that the header `Allow` of the answer names.",
        detail="This path takes GET, POST and HEAD, and not PUT.",
    ),
    "not_acceptable": ProblemType(
        status=406,
        title="No such form",
        happened="The header `Accept` asks for a form that this route does not have.",
        mend="Ask for one of the forms that `detail` names, or leave `Accept` out for JSON.",
        detail="The Accept header asks for a form that is not offered here; ask for application/json.",
    ),
    "idempotency_key_in_use": ProblemType(
        status=409,
        title="The first request with this key is still being handled",
        happened="Another request with the same `Idempotency-Key` was sent before, and has no answer yet. This one did nothing.",
        mend="Send the same request with the same key again after the seconds that `Retry-After` names. It is answered by what "
        "the first one did. If its process died, the key is free after a minute.",
        detail="The first request with this key is still being handled; send this one again after the seconds of `Retry-After`.",
    ),
    "credential_missing": ProblemType(
        status=409,
        title="No credential for the provider",
        happened="No provider key is stored that could serve the request.",
        mend="Store a key with POST /v1/credentials, or name one that is stored, and send the request again.",
        detail="lookups[0]: No modash credential is stored; store your modash key first.",
    ),
    "too_many_credentials": ProblemType(
        status=409,
        title="As many provider keys as there may be",
        happened="The tenant has stored as many provider keys as it may.",
        mend="Delete one that is not used, replace the secret of one by PATCH, or have the limit raised.",
        detail="100 provider keys are stored, as many as there may be; delete one, or replace one.",
    ),
    "credential_unusable": ProblemType(
        status=409,
        title="The credential does not work",
        happened="The provider refuses the stored key, or the key's account has no credits left there.",
        mend="Replace the key's secret by PATCH /v1/credentials/{id}, or top the account up at the provider, and "
        "verify it.",
        detail="Modash does not accept this key: store one that it accepts.",
    ),
    "nothing_to_compare": ProblemType(
        status=409,
        title="The provider's count cannot be compared",
        happened="The provider does not tell what it counted for this key, or no call was made with it that could "
        "be compared.",
        mend="Reconcile a key whose provider tells its count, after a search with it.",
        detail="memories does not tell what it has counted, so there is nothing to compare with its calls.",
    ),
    "image_in_use": ProblemType(
        status=409,
        title="A search needs the picture",
        happened="The picture cannot be deleted as long as a search names it.",
        mend="Erase the searches that name it by DELETE /v1/searches/{id}, or let the retention erase them.",
        detail="A search names this picture, so it is kept as long as the search is.",
    ),
    "too_many_images": ProblemType(
        status=409,
        title="As many pictures as there may be",
        happened="The tenant has stored as many pictures, or as many bytes of pictures, as it may.",
        mend="Delete pictures that no search names, or wait until some expire. GET /v1/images?unused=true lists them.",
        detail="You may store 100,000 pictures; delete some that no search names, or wait until some expire.",
    ),
    "too_many_searches": ProblemType(
        status=409,
        title="As many searches as there may be",
        happened="The tenant has stored as many searches as it may. Nothing was submitted.",
        mend="Erase searches that are not needed any more by DELETE /v1/searches/{id}, or have the limit raised.",
        detail="You may store 1,000,000 searches; delete some, or wait until their retention is over.",
    ),
    "image_deleted": ProblemType(
        status=409,
        title="The picture is gone",
        happened="The picture was deleted by another request while this one was handled; or it belonged to a search "
        "that is to be retried, and its retention is over. Nothing was submitted.",
        mend="Send the request again, with the picture itself; instead of a retry create a new search.",
        detail="The picture was deleted while this request was handled; send the request again.",
    ),
    "nothing_to_retry": ProblemType(
        status=409,
        title="No lookup of the search failed",
        happened="A retry asks the failed lookups of a search, and this one has none. Canceled and expired lookups are not "
        "asked again. Nothing was submitted.",
        mend="Create a new search for lookups that were canceled or expired. A search that runs may be retried when a lookup "
        "has failed.",
        detail="No lookup of this search has failed, so there is nothing to retry; create a new search to ask canceled or "
        "expired ones again.",
    ),
    "retry_impossible": ProblemType(
        status=409,
        title="The lookups cannot be asked again as they were",
        happened="The provider's pages have another size since the search was created, and the offset of a lookup does not fit "
        "them. Nothing was submitted.",
        mend="Create a new search, with an offset that `detail` names.",
        detail="With limit 40 a page has 20 results; offset must be a multiple of that: 0 or 20. Create a new search instead.",
    ),
    "too_many_api_keys": ProblemType(
        status=409,
        title="As many valid API keys as there may be",
        happened="The tenant has as many API keys as it may that are neither revoked nor expired. Or the key that asks was "
        "made with another key, that one with another, and so on, as often as may be.",
        mend="Revoke one that is not used, or have the limit raised. GET /v1/api-keys tells when each was last used. If "
        "`detail` says that the key that asks comes from too many others, use an older one.",
        detail="100 API keys are valid, as many as there may be; revoke one first.",
    ),
    "api_key_ended": ProblemType(
        status=409,
        title="The API key was revoked or has expired",
        happened="A key that was revoked is never changed or rotated, and one that has expired is not rotated.",
        mend="Create another key. An expired key becomes valid again with a later `expires_at`, by PATCH.",
        detail="This API key was revoked, which cannot be undone; create another one.",
    ),
    "too_many_endpoints": ProblemType(
        status=409,
        title="As many webhook endpoints as there may be",
        happened="The tenant has as many endpoints of this mode as it may have, or as many at this host.",
        mend="Delete an endpoint, or change one by PATCH.",
        detail="There are 20 endpoints of this mode, as many as there may be; delete one, or change one.",
    ),
    "endpoint_disabled": ProblemType(
        status=409,
        title="The webhook endpoint is disabled",
        happened="Nothing is sent to a disabled endpoint: by you, by an operator, or because its deliveries failed "
        "for days.",
        mend='Mend what `detail` names, then enable the endpoint by PATCH with `{"enabled": true}`.',
        detail="The endpoint is disabled (failing); enable it first, by PATCH.",
    ),
    "too_many_attempts": ProblemType(
        status=409,
        title="Tried as often as one delivery may be",
        happened="The delivery was tried as often as one may be, automatically and on request.",
        mend="Read what it was about: GET the search, or whatever the event's `data` names.",
        detail="The delivery was tried 1,000 times, the most there may be; GET its subject.",
    ),
    "too_large": ProblemType(
        status=413,
        title="Too large",
        happened="The body has more bytes than this route takes, and the rest of it was not read.",
        mend="Send less: JSON has at most 64 KB, a picture at most 20 MB, and a body with a picture at most 30 MB.",
        detail="The body has 31,457,281 bytes; send at most 31,457,280.",
    ),
    "unsupported_media_type": ProblemType(
        status=415,
        title="Not a content type that is taken",
        happened="The header `Content-Type` names a form that this route does not read.",
        mend="Send JSON with `Content-Type: application/json`. Routes that take a picture also take "
        "multipart/form-data, with the file in `image` and the rest as JSON in `request`.",
        detail="This route does not read text/plain; send application/json or multipart/form-data.",
    ),
    "idempotency_key_reused": ProblemType(
        status=422,
        title="The key was used for another request",
        happened="A request with the same `Idempotency-Key` was handled before, on another path or with another body. Bodies are "
        "compared as values, and pictures by their bytes. Nothing was done.",
        mend="Give each request a key of its own, such as a new UUID, and send it with that key alone.",
        detail="This key was used for another request in the last 24 hours; send another request with another key.",
    ),
    "rate_limited": ProblemType(
        status=429,
        title="Asked too often",
        happened="More requests of this kind came than the limit allows in its time. Nothing was done, and the "
        "request was not charged.",
        mend="Wait for the seconds that `Retry-After` names, then send the same request again. `RateLimit` and "
        "`RateLimit-Policy` tell which limit it was. A limit that is too low can be raised by the operator.",
        detail="You may send 100 requests a second. Ask again in 1 s.",
    ),
    "too_many_waiting_lookups": ProblemType(
        status=429,
        title="As many lookups wait as there may be",
        happened="So many lookups of yours wait for their turn that no more are taken. Nothing was held.",
        mend="Send the search again when some have ended, at the earliest after the seconds that `Retry-After` names.",
        detail="At most 100,000 lookups of yours may wait at once; send this search again when some have ended.",
    ),
    "internal_error": ProblemType(
        status=500,
        title="Our mistake",
        happened="Something failed on our side in a way that we did not foresee. It was noted. Nothing is wrong "
        "with the request.",
        mend="Send the request again, a POST with the `Idempotency-Key` that it had. If it had none, look first whether "
        "its object was made. If the error stays, name the `request_id` when you ask about it.",
        detail="Something went wrong on our side, and it was noted; name the request_id when you ask about it.",
    ),
    "not_ready": ProblemType(
        status=503,
        title="Not ready",
        happened="A part that the request needs does not answer, or too much is under way at this moment. Nothing "
        "is wrong with the request. If the connection to the database broke at its end, it may have been done.",
        mend="Send the same request again after the seconds that `Retry-After` names, a POST with the same "
        "`Idempotency-Key`, and wait longer after each failure.",
        detail="The database cannot be reached right now; send the request again in a moment.",
    ),
    "provider_unavailable": ProblemType(
        status=503,
        title="The provider cannot be asked now",
        happened="The answer needs a call to the provider, which failed or has no turn at the moment. It was not "
        "charged.",
        mend="Send the request again after the seconds that `Retry-After` names.",
        detail="modash did not answer in time.",
    ),
}
