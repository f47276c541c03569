"""Says in every answer what its page may load and run, with django-csp: nothing, but on the pages that need something.

No page runs a script that stands in the page itself, and none loads a script or a style from elsewhere.

The admin's theme forces two exceptions, below `/admin` alone. Alpine.js makes functions of the texts in its attributes, which is
`unsafe-eval`; its build without that reads no arrow functions, which the theme's attributes have. The theme's widths and heights
are `style` attributes. Its one `<style>` element has the answer's nonce.
"""

from __future__ import annotations

from typing import Any

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Policy = dict[str, list[Any]]

NOTHING: Policy = {"default-src": [NONE], "base-uri": [NONE], "form-action": [NONE], "frame-ancestors": [NONE]}
# Results have their pictures anywhere.
ADMIN: Policy = {
    **NOTHING,
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, NONCE],
    "style-src-attr": [UNSAFE_INLINE],
    "img-src": [SELF, "data:", "https:", "http:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "form-action": [SELF],
}


def policy_of(path: str, content_type: str) -> Policy:
    """Returns the policy of an answer whose view sets none: what is no page of the admin may do nothing."""
    is_page_of_admin = content_type.startswith("text/html") and path.startswith("/admin/")
    return ADMIN if is_page_of_admin else NOTHING


class ContentPolicy(CSPMiddleware):
    """Gives each answer the policy of its path. The pages about the API set the header themselves."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if parts.config is None and not report_only:
            parts.config = policy_of(request.path, response.get("Content-Type", ""))
        return parts
