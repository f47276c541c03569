"""Requests and answers about searches, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from providers import json_schema, registry

ID = "019a9f3e-6f2c-7c31-a7bb-50a6f1d0c001"
LOOKUP_ID = "019a9f3e-6f2d-7a52-9d6e-3f0f4f7e1003"
IMAGE: dict[str, Any] = {
    "id": "019a9f3e-6f2a-7d10-8f10-9b1c5a33e002",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "format": "jpeg",
    "width": 1280,
    "height": 853,
    "bytes": 201377,
}
# Stands for the bytes of a file, of which JSON has none.
FILE = "the bytes of picture.jpg"
# A picture of four pixels.
TINY = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR42mMUsfmwhcGCaQuDBQMDAwAcLgMcYxXBmwAAAABJRU5ErkJggg=="
SEARCH_SHOWN: dict[str, Any] = {
    "id": ID,
    "status": "queued",
    "mode": "live",
    "version": 1,
    "created_at": "2026-11-20T09:30:00.000000Z",
    "finished_at": None,
    "image": IMAGE,
    "crop": None,
    "lookups": [
        {
            "id": LOOKUP_ID,
            "source": "tiktok-creators",
            "provider": "modash",
            "status": "queued",
            "parameters": {"followers_count": {"min": 13000}, "language": "en", "has_email": True},
            "effective_parameters": {"followers_count": {"min": 10000}, "language": "en", "has_email": True},
            "position": 12,
            "estimated_start_at": "2026-11-20T09:30:12.024000Z",
            "waiting_on": "turn",
            "repeat": "miss",
            "repeat_of": None,
            "credits": {"held": "1", "charged": "0", "unknown": "0", "final": False},
            "calls": 0,
            "result_count": 0,
            "duplicates": 0,
            "unreadable": 0,
            "total": None,
            "error": None,
        }
    ],
    "metadata": {"campaign": "spring"},
    "retry_of": None,
}
RESULT_SHOWN: dict[str, Any] = {
    "id": "019a9f3e-81aa-7b0e-8d11-0a5de13f1004",
    "lookup_id": LOOKUP_ID,
    "source": "tiktok-creators",
    "type": "creator",
    "rank": 1,
    "sequence": 1,
    "observed_at": "2026-11-20T09:30:13.120000Z",
    "external_id": "173560420",
    "title": "Instagram",
    "url": "https://www.tiktok.com/@instagram",
    "image_url": "https://example.com/instagram.jpg?x-expires=1763805600&x-signature=c2lnbmVk",
    "media_expires_at": "2026-11-22T10:00:00Z",
    "score": None,
    "creator": {
        "username": "instagram",
        "followers_count": 313560626,
        "views_count_median": None,
        "engagement_rate": 0.01,
        "account_category": "Sportsperson / Digital creator",
        "matched_posts": [],
        "recent_posts": [],
    },
}
VIDEO_SHOWN: dict[str, Any] = {
    **{name: value for name, value in RESULT_SHOWN.items() if name != "creator"},
    "source": "public-videos",
    "type": "video",
    "external_id": "PI-600947902470296459",
    "title": "Sample public video title",
    "url": None,
    "image_url": None,
    "score": 0.8631,
    "video": {
        "video_no": "PI-600947902470296459",
        "name": "Sample public video title",
        "platform": "TIKTOK",
        "moments": [{"start_seconds": 79.0, "end_seconds": 82.0, "score": 0.8631}],
    },
}

STORED: dict[str, Any] = IMAGE | {
    "created_at": "2026-11-20T09:29:58.000000Z",
    "expires_at": "2026-12-20T09:29:58.000000Z",
}
CAP_SHOWN: dict[str, Any] = {
    "name": "tenant_cap",
    "provider": "modash",
    "size": "500",
    "used": "498.5",
    "held": "1",
    "asked": "1",
    "left": "0.5",
    "short_by": "0.5",
    "renews_at": "2026-12-01T00:00:00Z",
}
QUOTE_SHOWN: dict[str, Any] = {
    "mode": "live",
    "allowed": False,
    "error": {
        "code": "tenant_cap_reached",
        "detail": "This search can cost up to 1 modash credits, and your cap is 500 a month (498.5 used, 1 held), which leaves "
        "0.5 until it renews at 2026-12-01T00:00:00Z; ask for fewer results, wait, or have the cap raised.",
        "limit": CAP_SHOWN,
    },
    "lookups": [
        {
            "source": "tiktok-creators",
            "provider": "modash",
            "most_credits": "1",
            "repeat": "miss",
            "repeat_of": None,
            "estimated_start_at": "2026-11-20T09:30:12.024000Z",
            "waiting_on": "turn",
        }
    ],
    "providers": [{"provider": "modash", "asked": "1", "limits": [CAP_SHOWN]}],
}
PRODUCT_SHOWN: dict[str, Any] = {
    **{name: value for name, value in RESULT_SHOWN.items() if name != "creator"},
    "source": "tiktok-products",
    "type": "product",
    "external_id": "1729384756",
    "title": "Ceramic mug, 350 ml",
    "url": "https://shop.tiktok.com/view/product/1729384756?region=US&locale=en-US",
    "image_url": "https://example.com/mug.jpg",
    "product": {
        "product_id": "1729384756",
        "name": "Ceramic mug, 350 ml",
        "region": "US",
        "source_image": "tos-useast5-i/mug",
    },
}
CALL_SHOWN: dict[str, Any] = {
    "id": "019a9f3e-7c11-7d02-b1aa-4be1f7a91005",
    "lookup_id": LOOKUP_ID,
    "source": "tiktok-creators",
    "page": 0,
    "state": "answered",
    "armed_at": "2026-11-20T09:30:12.050000Z",
    "sent_at": "2026-11-20T09:30:12.061000Z",
    "finished_at": "2026-11-20T09:30:13.118000Z",
    "duration_ms": 1057,
    "status": 200,
    "returned": 20,
    "unreadable": 0,
    "credits": "0.5",
    "overbilled": "0",
    "provider_request_id": "req_8d1f02",
    "error": None,
}
VIDEOS = registry.adapter("public-videos")
SOURCE_SHOWN: dict[str, Any] = {
    "source": VIDEOS.source,
    "provider": VIDEOS.provider,
    "title": VIDEOS.title,
    "result_type": VIDEOS.result_type,
    "parameters": json_schema.of(VIDEOS.parameters),
    "default_limit": VIDEOS.default_limit,
    "max_results": VIDEOS.max_results,
    "price": {"per_call": "1", "per_result": "0"},
    "rate": {
        "calls": 60,
        "window_ms": 60000,
        "scope": "account",
        "whose": "The provider's, for your own account there; nobody else's searches count.",
    },
    "line": {"waiting": 3, "expected_wait_seconds": 2.4},
    "score_range": {"min": 0.0, "max": 1.0},
    "lag": VIDEOS.lag,
    "caveats": list(VIDEOS.caveats),
}
