"""Cuts unfold's fonts to what the operators' pages show: the icons that any source names, and Latin letters. Run by `make fonts`.

Whole, the fonts weigh 750 kB, which no compression makes less. Other letters are shown in the reader's own font.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import unfold
from fontTools import subset
from fontTools.ttLib import TTFont

CHECKOUT = Path(__file__).parents[1]
UNFOLD = Path(unfold.__file__).parent
WHOLE = UNFOLD / "static/unfold/fonts"
CUT = CHECKOUT / "config/static/sightline/fonts"
ICONS = "icons.woff2"
APPS = ("config", "accounts", "providers", "billing", "searches")
# Bold text is shown as semibold, which is near enough to save a fourth file.
TEXT = {f"Inter-{weight}.woff2": WHOLE / f"inter/Inter-{weight}.woff2" for weight in ("Regular", "Medium", "SemiBold")}
# Latin with accents, and the signs of a page: dashes, quotes, bullets, arrows, euro, minus, at most.
LETTERS = (
    *range(0x20, 0x7F),
    *range(0xA0, 0x180),
    *range(0x2010, 0x2030),
    *(0x2030, 0x2039, 0x203A, 0x20AC, 0x2122, 0x2190, 0x2191, 0x2192, 0x2193, 0x2212, 0x2248, 0x2260, 0x2264, 0x2265),
)
# An icon in a template: the text of its element, or the parameter of a component.
IN_MARKUP = re.compile(r"""material-symbols-outlined[^>]*>\s*([a-z0-9_]+)\s*<|icon\w*=["']([a-z0-9_]+)["']""")
# Icons that unfold's own code and style name.
IN_UNFOLD = re.compile(r"""(?:icon\w*|content)["']?\s*[:=]\s*["']([a-z0-9_]+)["']""")


def named_icons() -> set[str]:
    """Returns every icon that our sources or unfold's name."""
    return {name for name in (*of_templates(), *of_python(), *of_unfold()) if name}


def of_templates() -> Iterator[str]:
    for folder in (*(CHECKOUT / app for app in APPS), UNFOLD / "templates", UNFOLD / "contrib/filters"):
        for path in folder.rglob("*.html"):
            for match in IN_MARKUP.finditer(path.read_text()):
                yield from match.groups(default="")


def of_unfold() -> Iterator[str]:
    for path in (*UNFOLD.rglob("*.py"), UNFOLD / "static/unfold/css/styles.css"):
        yield from IN_UNFOLD.findall(path.read_text())


def of_python() -> Iterator[str]:
    """Yields the texts that our code gives to names with "icon" or "symbol" in them, and those in markup that it makes."""
    for app in APPS:
        for path in (CHECKOUT / app).rglob("*.py"):
            text = path.read_text()
            for match in IN_MARKUP.finditer(text):
                yield from match.groups(default="")
            yield from (
                value for name, value in given(ast.parse(text)) if re.search("icon|symbol", name, re.IGNORECASE)
            )


def given(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yields each text in the code with the name that it is given to."""
    for node in ast.walk(tree):
        pairs: list[tuple[Any, Any]] = []
        if isinstance(node, ast.keyword):
            pairs = [(node.arg, node.value)]
        elif isinstance(node, ast.Dict):
            pairs = [
                (key.value if isinstance(key, ast.Constant) else "", v)
                for key, v in zip(node.keys, node.values, strict=True)
            ]
        elif isinstance(node, ast.Assign):
            pairs = [(ast.unparse(target), node.value) for target in node.targets]
        for name, value in pairs:
            for inner in ast.walk(value):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield str(name), inner.value


def ligatures(font: TTFont) -> dict[str, str]:
    """Returns the names that a font of icons draws as one, each with its glyph."""
    letter = {glyph: chr(code) for code, glyph in font.getBestCmap().items()}
    tables = (table for lookup in font["GSUB"].table.LookupList.Lookup for table in lookup.SubTable)
    return {
        "".join(letter.get(part, "") for part in (first, *ligature.Component)): ligature.LigGlyph
        for table in tables
        for first, choices in getattr(getattr(table, "ExtSubTable", table), "ligatures", {}).items()
        for ligature in choices
    }


def cut_icons() -> bytes:
    font = TTFont(WHOLE / "material-symbols/Material-Symbols-Outlined.woff2", recalcTimestamp=False)
    known = ligatures(font)
    wanted = named_icons() & known.keys()
    cutting = subset.Subsetter(options(layout_closure=False))
    cutting.populate(glyphs={known[name] for name in wanted}, text="".join(wanted))
    return cut(font, cutting)


def cut_text(path: Path) -> bytes:
    # Kerning, digits of one width, and marks in their places; no alternates.
    cutting = subset.Subsetter(options(layout_features=["kern", "mark", "mkmk", "ccmp", "tnum"]))
    cutting.populate(unicodes=LETTERS)
    return cut(TTFont(path, recalcTimestamp=False), cutting)


def options(**more: Any) -> subset.Options:
    return subset.Options(flavor="woff2", hinting=False, notdef_outline=True, **more)


def cut(font: TTFont, cutting: subset.Subsetter) -> bytes:
    file = BytesIO()
    cutting.subset(font)
    font.flavor = "woff2"
    font.save(file)
    return file.getvalue()


def main() -> None:
    CUT.mkdir(parents=True, exist_ok=True)
    (CUT / ICONS).write_bytes(cut_icons())
    for name, path in TEXT.items():
        (CUT / name).write_bytes(cut_text(path))


if __name__ == "__main__":
    main()
