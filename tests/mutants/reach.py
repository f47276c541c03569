"""Notes which functions of some files each test calls, so that a fault is tried only on tests that could notice it."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.mutants import in_place

# The name under which a function that is called finds `Reach.note`.
NOTE = "__reached__"


class Reach:
    """Knows the callers of each function by file and name. `test` is the one that runs now."""

    def __init__(self) -> None:
        self.test = ""
        self._tests: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._noted: dict[str, set[str]] = {}

    def note(self, path: str, name: str) -> None:
        self._tests[path, name].add(self.test)

    def tests(self, path: Path, name: str) -> set[str] | None:
        """Returns the tests that call the function, or any function of the file where it has no name. Returns None where
        nobody knows, because the file's functions do not note their calls.
        """
        if path.suffix == ".sql":
            path, name = path.with_suffix(".py"), ""
        noted = self._noted.get(str(path), set())
        if (name and name not in noted) or not noted:
            return None
        return set().union(*(self._tests[str(path), each] for each in ([name] if name else noted)))

    @contextmanager
    def watching(self, paths: Iterable[Path]) -> Iterator[None]:
        """Lets the functions of these files note their calls until the block ends."""
        setattr(builtins, NOTE, self.note)
        with ExitStack() as stack:
            for path in paths:
                if path.suffix == ".py":
                    self._noted[str(path)] = set(_watched(path, stack))
            yield


def _watched(path: Path, stack: ExitStack) -> Iterator[str]:
    text = path.read_text()
    tree = ast.parse(text)
    names = list(_functions(tree))
    for name, function in names:
        position = 1 if ast.get_docstring(function) else 0
        function.body.insert(position, ast.parse(f"{NOTE}({str(path)!r}, {name!r})").body[0])
    code = compile(ast.fix_missing_locations(tree), str(path), "exec")
    for name, _ in names:
        try:
            stack.enter_context(in_place.replaced(path, name, code))
        except in_place.NotInPlace:
            continue
        yield name


def _functions(tree: ast.Module | ast.ClassDef, within: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield f"{within}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{within}{node.name}.")
