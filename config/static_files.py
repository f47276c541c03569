"""Scripts, styles and fonts: which files of the packages are collected, and how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.staticfiles.finders import AppDirectoriesFinder
from django.contrib.staticfiles.storage import HashedFilesMixin
from whitenoise.storage import CompressedManifestStaticFilesStorage

# What no page loads: DRF's own pages, another program for the documents, fonts that are cut to ours, what the bundles have in
# another form, and maps for those who change a package. Two thirds of all bytes.
UNUSED = (
    "rest_framework",
    "redoc",
    "*.map",
    "unfold/fonts/*",
    "admin/js/vendor/jquery/jquery.js",
    "admin/js/vendor/xregexp/*",
)


class Packages(AppDirectoriesFinder):
    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[Any]:
        yield from super().list([*(ignore_patterns or ()), *UNUSED])


class Collected(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Names files by their content, and compresses them. The lines that name maps stay as they are, as no map is collected."""

    patterns = tuple(
        (kind, tuple(rule for rule in rules if "sourceMappingURL" not in str(rule)))
        for kind, rules in HashedFilesMixin.patterns
        if kind == "*.css"
    )
