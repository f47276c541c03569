"""Joins the styles and scripts that most operators' pages load into three files, so that a page needs few requests.

`collectstatic` finds the joined files here, and so does a web server that serves files from the packages. `unbundled` removes the
parts of a bundle from what a page lists itself. Where a part changes, the next start joins it anew.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage

UNFOLD, DJANGO = "unfold/js", "admin/js"
BUNDLES: dict[str, tuple[str, ...]] = {
    "sightline/bundles/admin.css": (
        "sightline/css/base.css",
        "unfold/css/styles.css",
        "unfold/css/simplebar/simplebar.css",
        "admin/css/vendor/select2/select2.css",
        "admin/css/autocomplete.css",
        "sightline/css/admin.css",
    ),
    # Alpine starts when the page has been read. It is without its plugin for sorting, because no list here is sorted by hand.
    "sightline/bundles/alpine.js": tuple(
        f"{UNFOLD}/alpine/{name}.js" for name in ("alpine.anchor", "alpine.persist", "alpine.resize", "alpine")
    ),
    "sightline/bundles/admin.js": (
        f"{UNFOLD}/htmx/htmx.js",
        f"{UNFOLD}/simplebar/simplebar.js",
        # In this order: Django takes its jQuery away from the page.
        f"{DJANGO}/vendor/jquery/jquery.min.js",
        f"{DJANGO}/vendor/select2/select2.full.js",
        f"{DJANGO}/jquery.init.js",
        f"{DJANGO}/core.js",
        f"{DJANGO}/admin/RelatedObjectLookups.js",
        f"{DJANGO}/actions.js",
        f"{UNFOLD}/select2.init.js",
        f"{UNFOLD}/app.js",
        "sightline/js/names.js",
    ),
}
# Their functions are for themselves; in one file with others they would be everybody's.
CLOSED = {f"{DJANGO}/admin/RelatedObjectLookups.js", f"{DJANGO}/actions.js", f"{UNFOLD}/select2.init.js"}
# For forms that fill a field from another, of which there are none.
UNUSED = (f"{DJANGO}/urlify.js", f"{DJANGO}/prepopulate.js", f"{DJANGO}/vendor/xregexp/xregexp.js")
LEFT_OUT = {path.replace(".min.", ".") for path in (*UNUSED, *(part for parts in BUNDLES.values() for part in parts))}


def unbundled(media: forms.Media) -> forms.Media:
    """Returns what a page has to load besides the bundles."""
    shown: Any = media  # the lists have no public names
    styles: Any = {medium: _not_in_bundles(paths) for medium, paths in shown._css.items()}
    return forms.Media(js=_not_in_bundles(shown._js), css=styles)


def _not_in_bundles(paths: Sequence[Any]) -> list[Any]:
    return [path for path in paths if str(path).replace(".min.", ".") not in LEFT_OUT]


class Finder(BaseFinder):
    """Finds the bundles, joined in a folder of the state."""

    def find(self, path: str, find_all: bool = False, **old: bool) -> Any:
        """Returns the file of a bundle, or nothing. `all` is Django's former name of `find_all`."""
        found = str(joined(path)) if path in BUNDLES else None
        return ([found] if found else []) if find_all or old.get("all") else found or []

    def list(self, ignore_patterns: Any) -> Iterator[tuple[str, FileSystemStorage]]:
        for path in BUNDLES:
            joined(path)
            yield path, FileSystemStorage(location=folder())


def folder() -> Path:
    place: Path = settings.STATE_DIR
    return place / "static"


def joined(path: str) -> Path:
    """Returns the file of a bundle, which is written anew if a part has changed."""
    text = "\n".join(_part(part) for part in BUNDLES[path])
    file = folder() / path
    if not file.exists() or file.read_text() != text:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        Path(name).replace(file)
    return file


def _part(path: str) -> str:
    """Returns a file's text. A sign ends each script, because some end without one."""
    text = Path(str(finders.find(path))).read_text()
    if not path.endswith(".js"):
        return text
    return f"(() => {{\n{text}\n}})();" if path in CLOSED else f"{text}\n;"
