"""Measures how the code is built, and prints a row for each figure: `make shape`, or `python -m tests.shape FOLDER`.

The figures are those by which the project compares itself with others that are easy to read: lengths of functions and tests,
how deep imports go inside `searches`, circles of modules, and class names that mean two things.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from statistics import median, quantiles

APPS = ("config", "searches", "billing", "providers", "accounts")
# Names that a framework asks for, or that each app has for itself.
FRAMEWORK_CLASSES = frozenset({"Meta", "Media", "Config", "Migration", "Command"})
ROOT = Path(__file__).parent.parent
LONGEST_FUNCTION = 50


class Shape:
    """Measures one checkout."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    @property
    def sources(self) -> list[Path]:
        """Returns the Python files of the five apps, without migrations, which Django writes."""
        return [
            path for app in APPS for path in sorted((self.root / app).rglob("*.py")) if "migrations" not in path.parts
        ]

    @property
    def tests(self) -> list[Path]:
        return sorted((self.root / "tests").rglob("*.py"))

    def functions(self) -> dict[str, int]:
        """Returns the lines of each function of the apps, from `def` to its last line, by its place."""
        return {
            f"{path.relative_to(self.root)}:{node.lineno} {node.name}": _lines(node)
            for path in self.sources
            for node in _functions(path)
        }

    def test_lengths(self) -> list[int]:
        return [_lines(node) for path in self.tests for node in _functions(path) if node.name.startswith("test_")]

    def code_lines(self) -> int:
        """Returns the lines outside tests and migrations that are neither empty nor only a comment: Python, SQL and Lua."""
        others = [path for app in APPS for kind in ("sql", "lua") for path in (self.root / app).rglob(f"*.{kind}")]
        lines = (line.strip() for path in [*self.sources, *others] for line in path.read_text().splitlines())
        return sum(bool(line) and not line.startswith(("#", "--")) for line in lines)

    def classes_with_one_name(self) -> dict[str, list[str]]:
        """Returns the class names that two files or more define, with the files."""
        files = defaultdict(list)
        for path in self.sources:
            for node in _tree(path).body:
                if isinstance(node, ast.ClassDef) and node.name not in FRAMEWORK_CLASSES:
                    files[node.name].append(str(path.relative_to(self.root)))
        return {name: where for name, where in sorted(files.items()) if len(where) > 1}

    def imports(self, app: str) -> dict[str, set[str]]:
        """Returns the modules of an app, each with those of the same app that it imports. Empty ones are left out."""
        paths = [path for path in self.sources if path.is_relative_to(self.root / app)]
        modules = {_module(path.relative_to(self.root)): path for path in paths if path.stat().st_size}
        return {name: set(_imported(path, modules)) - {name} for name, path in modules.items()}

    def rooms(self, app: str) -> dict[str, set[str]]:
        """Returns the files and folders of an app's own folder, each with those that it imports."""
        rooms: dict[str, set[str]] = {}
        for module, imported in self.imports(app).items():
            rooms.setdefault(_room(module), set()).update({_room(each) for each in imported} - {_room(module)})
        return rooms

    def circles(self) -> list[frozenset[str]]:
        """Returns the sets of modules that import one another, over all apps."""
        return [circle for app in APPS for circle in _circles(self.imports(app))]


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _module(path: Path) -> str:
    return re.sub(r"(/__init__)?\.py$", "", path.as_posix()).replace("/", ".")


def _imported(path: Path, modules: Collection[str]) -> Iterator[str]:
    """Yields those of the modules that the file imports: of `from a import b` it is `a.b` where that is one, else `a`."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in modules)
        elif isinstance(node, ast.ImportFrom):
            named = (f"{node.module}.{each.name}" for each in node.names)
            yield from {name if name in modules else str(node.module) for name in named} & set(modules)


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def longest_chain(graph: dict[str, set[str]]) -> int:
    """Returns how many nodes the longest chain of imports has, where a circle counts with all of its nodes."""
    circle_of = {node: circle for circle in _circles(graph) for node in circle}

    @cache
    def depth(node: str) -> int:
        together = circle_of.get(node, frozenset({node}))
        below = {each for one in together for each in graph[one]} - together
        return len(together) + max(map(depth, below), default=0)

    return max(map(depth, graph))


def _circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    reached = {node: _reached(graph, node) for node in graph}
    circles = (frozenset(each for each in graph if each in reached[node] and node in reached[each]) for node in graph)
    return {circle for circle in circles if circle}


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        module = ahead.pop()
        if module not in reached:
            reached.add(module)
            ahead += graph[module]
    return reached


def rows(shape: Shape) -> Iterator[tuple[str, str]]:
    lengths = sorted(shape.functions().values())
    longer = sum(length > LONGEST_FUNCTION for length in lengths) / len(lengths)
    yield "functions: lines, median / 90 %", f"{median(lengths):.0f} / {quantiles(lengths, n=10)[-1]:.0f}"
    yield f"functions of more than {LONGEST_FUNCTION} lines", f"{longer:.1%}"
    yield "tests: lines, median", f"{median(shape.test_lengths()):.0f}"
    rooms, modules = shape.rooms("searches"), shape.imports("searches")
    yield "searches: rooms, floors of them", f"{len(rooms)}, {longest_chain(rooms)}"
    yield "searches: modules, floors of them", f"{len(modules)}, {longest_chain(modules)}"
    yield "circles of modules, in all apps", ", ".join(f"one of {len(each)}" for each in shape.circles()) or "none"
    yield "class names that stand twice", str(len(shape.classes_with_one_name()))
    yield "lines of code outside tests", f"{shape.code_lines():,}"


def main() -> None:
    shape = Shape(Path(sys.argv[1]).resolve()) if len(sys.argv) > 1 else Shape()
    sys.stdout.writelines(f"{name:42}{value}\n" for name, value in rows(shape))


if __name__ == "__main__":
    main()
