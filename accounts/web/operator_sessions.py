"""Ends operators' sessions, and lets nobody past the password who owes a second factor.

A session ends after OPERATORS_IDLE_MINUTES without a page or a form, and OPERATORS_SESSION_HOURS after the log-in, whatever was
done. A new password, a deactivation and "Log out everywhere" end it with its next request: Django compares the session with the
operator's row. Pages that refresh themselves in the background do not count as use.
"""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import urlencode

from accounts import second_factors

SIGNED_IN_AT, USED_AT = "signed_in_at", "used_at"
# The use of a session is written down when a tenth of its time is over, and not with each page.
NOTED = 10
ENDED = "Your session has ended: it was not used for a while, or the log-in was long ago."
# Pages for who has given the password alone.
BEFORE_THE_CODE = ("login/", "logout/", "jsi18n/", "second_factor/")


@receiver(user_logged_in)
def begin(request: HttpRequest, user: Any, **_: Any) -> None:
    request.session[SIGNED_IN_AT] = request.session[USED_AT] = int(time.time())
    second_factors.note_app(request, user)


class OperatorSessions(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        within = request.path.removeprefix("/admin/")
        is_open = within == request.path or settings.SESSION_COOKIE_NAME not in request.COOKIES
        if is_open or not request.user.is_authenticated:
            return None
        if is_over(request):
            logout(request)
            messages.warning(request, ENDED)
            return led(request, "admin:login")
        note_use(request)
        is_led = not within.startswith(BEFORE_THE_CODE) and second_factors.is_owed(request)
        return led(request, "second_factor") if is_led else None


def is_over(request: HttpRequest) -> bool:
    now, session = time.time(), request.session
    unused, total = now - session.get(USED_AT, 0), now - session.get(SIGNED_IN_AT, 0)
    idle, whole = settings.OPERATORS_IDLE_MINUTES * 60, settings.OPERATORS_SESSION_HOURS * 3600
    return bool(unused > idle or total > whole)


def note_use(request: HttpRequest) -> None:
    now = int(time.time())
    is_due = now - request.session[USED_AT] > settings.OPERATORS_IDLE_MINUTES * 60 / NOTED
    if is_due and not is_background(request):
        request.session[USED_AT] = now


def is_background(request: HttpRequest) -> bool:
    """Returns whether a page asks by itself, as browsers and htmx say."""
    asked = request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate" or "HX-Request" in request.headers
    return request.method == "GET" and asked


def led(request: HttpRequest, name: str) -> HttpResponse:
    """Leads to a page from which the way goes on to the one that was asked for. htmx has to be told to leave its page."""
    path = request.get_full_path() if request.method == "GET" and not is_background(request) else reverse("admin:index")
    address = f"{reverse(name)}?{urlencode({'next': path})}"
    if "HX-Request" in request.headers:
        return HttpResponse(headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)
