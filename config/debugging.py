"""Builds Django's debug page without secrets. The page says where the program failed, and is sent to the client that caused
the error.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

SHOWN_SETTINGS = {"DEBUG", "PRODUCTION", "INSTALLED_APPS", "MIDDLEWARE", "ROOT_URLCONF", "LANGUAGE_CODE", "TIME_ZONE"}
SHOWN_META = re.compile(
    r"REQUEST_METHOD|PATH_INFO|SERVER_(?:NAME|PORT|PROTOCOL)|CONTENT_(?:TYPE|LENGTH)|HTTP_(?:HOST|ACCEPT)"
)


class Filter(SafeExceptionReporterFilter):
    """Hides all settings but a few, all variables, and everything that was sent. A list of things to hide would miss the next
    secret.
    """

    def get_safe_settings(self) -> dict[str, Any]:
        shown: dict[str, Any] = super().get_safe_settings()
        return {name: value for name, value in shown.items() if name in SHOWN_SETTINGS}

    def get_safe_request_meta(self, request: HttpRequest) -> dict[str, Any]:
        meta: dict[str, Any] = super().get_safe_request_meta(request)
        return {name: value for name, value in meta.items() if SHOWN_META.fullmatch(name)}

    def get_safe_cookies(self, request: HttpRequest) -> dict[str, Any]:
        return dict.fromkeys(super().get_safe_cookies(request), self.cleansed_substitute)

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return dict.fromkeys(request.POST if request else (), self.cleansed_substitute)

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> Any:
        return dict.fromkeys(tb_frame.f_locals, self.cleansed_substitute).items()


class Reporter(ExceptionReporter):
    """Removes our own secrets from the rest too: the message of an exception may contain an address with its password."""

    def get_traceback_html(self) -> SafeString:
        return without_secrets(super().get_traceback_html())

    def get_traceback_text(self) -> SafeString:
        return without_secrets(super().get_traceback_text())


def without_secrets(text: str) -> SafeString:
    for secret in sorted(_secrets(), key=len, reverse=True):
        for form in (secret, escape(secret)):
            text = text.replace(form, SafeExceptionReporterFilter.cleansed_substitute)
    return mark_safe(text)


def _secrets() -> set[str]:
    password = urlsplit(settings.REDIS_URL).password or ""
    keys = (entry.partition(":")[2] for entry in settings.CREDENTIAL_KEYS.split(","))
    return {settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"], password, unquote(password), *keys} - {""}
