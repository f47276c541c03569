"""Chooses the parser of a body by its `Content-Type`, and the form of an answer by `Accept`, as RFC 9110 orders.

DRF's own negotiation knows no weights (`q=0` refuses a form), and takes a body of the type `*/*` for JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

# The types in a longer header take milliseconds to compare.
LONGEST_HEADER = 8192


class Negotiation(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        sent = str(request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        header = request.headers.get("Accept", "")
        # A header without a type says as little as none.
        if header.strip(" ,") in ("", "*/*"):
            return renderers[0], renderers[0].media_type
        ranges = [MediaType(text.strip()) for text in header.split(",")] if len(header) <= LONGEST_HEADER else []
        # Of forms that weigh the same, the first is the view's own preference.
        weight, best = max(((weight_of(each.media_type, ranges), each) for each in renderers), key=lambda pair: pair[0])
        if not weight:
            raise NotAcceptable(available_renderers=renderers)
        return best, best.media_type


def weight_of(form: str, ranges: Sequence[MediaType]) -> float:
    """Returns the weight of the most specific range that has the form; 0 refuses it. Parameters make no difference."""
    main, _, sub = form.partition("/")
    found = [each for each in ranges if each.main_type in (main, "*") and each.sub_type in (sub, "*")]
    return max(found, key=lambda each: each.specificity).quality if found else 0
