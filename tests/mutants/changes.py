"""Lists the small faults that a file can be given: one at a time, each of which some test should notice.

Python is changed by its syntax tree. SQL and Lua are changed by their words: the rules of the ledger and of the lanes are in
them too, and no mutation tester for Python would change them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
OTHER_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Faults of SQL and Lua: a pattern, and its replacement.
WORDS = (
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>-])<(?![=>])", "<="),
    (r"(?<![<>=-])>(?![=])", ">="),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"\bgreatest\(", "least("),
    (r"\bleast\(", "greatest("),
    (r"\bmath\.max\(", "math.min("),
    (r"\bmath\.min\(", "math.max("),
    (r"\bAND\b", "OR"),
    (r"\bOR\b(?! REPLACE)", "AND"),
    (r"\band\b", "or"),
    (r"\bor\b", "and"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bNOT EXISTS\b", "EXISTS"),
    (r"\bnot ", ""),
    (r" == ", " ~= "),
    (r" ~= ", " == "),
    (r"(?<![\w.])1(?![\w.])", "2"),
    (r"(?<![\w.])0(?![\w.])", "1"),
    (r" FOR (NO KEY )?UPDATE( OF \w+)?( SKIP LOCKED)?", ""),
    (r" SKIP LOCKED", ""),
)
# What is left out of SQL and Lua: one condition, or one statement, that has a line of its own.
LINES = (
    (r"^[ \t]+(AND .+?)(?=;?$)", ""),
    (r"^[ \t]+(PERFORM .+;)$", "NULL;"),
    (r"^[ \t]+([a-z_][\w.]*\(.*\))$", ""),
    (r"^[ \t]+((?!local |if )[a-z_][\w.\[\], ]* = [^=].*[^,;])$", ""),
)
SQL = re.compile(r"\b(SELECT|UPDATE)\b.*\b(FROM|SET)\b", re.DOTALL)
# The calls of a queryset whose arguments are conditions or values: each may be left out.
OF_QUERYSETS = ("filter", "exclude", "update")
COMMENT = {".sql": "--", ".lua": "--"}
# First and last character in the file, and the replacement.
Fault: TypeAlias = tuple[int, int, str]


@dataclass(frozen=True)
class Change:
    """Replaces the text from `begin` to `end` (characters of the file) by `becomes`."""

    path: Path
    begin: int
    end: int
    becomes: str

    def applied(self, text: str) -> str:
        return text[: self.begin] + self.becomes + text[self.end :]

    def described(self, text: str) -> str:
        line = text.count("\n", 0, self.begin) + 1
        return f"{self.path}:{line}: {text[self.begin : self.end]!r} becomes {self.becomes!r}"


def changes_of(path: Path, text: str) -> list[Change]:
    found = _Syntax(text).faults() if path.suffix == ".py" else _of_words(text, COMMENT[path.suffix])
    return sorted((Change(path, *each) for each in set(found)), key=lambda change: (change.begin, change.becomes))


def _of_words(text: str, comment: str) -> Iterator[Fault]:
    offset = 0
    for line in text.splitlines(keepends=True):
        code = line.split(comment)[0]
        for wanted, becomes in WORDS:
            for match in re.finditer(wanted, code):
                yield offset + match.start(), offset + match.end(), becomes
        for wanted, becomes in LINES:
            for match in re.finditer(wanted, code.rstrip()):
                if match[1].count("(") == match[1].count(")"):
                    yield offset + match.start(1), offset + match.end(1), becomes
        offset += len(line)


def _undecorated(tree: ast.AST) -> Iterator[ast.AST]:
    """Walks a tree without what its decorators say: a class that is frozen or not is the same to every test."""
    yield tree
    decorators = getattr(tree, "decorator_list", [])
    for node in ast.iter_child_nodes(tree):
        if node not in decorators:
            yield from _undecorated(node)


class _Syntax:
    """Collects the faults of one Python file, by the types of its nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.begins = [0]
        for line in text.splitlines(keepends=True):
            self.begins.append(self.begins[-1] + len(line))

    def faults(self) -> Iterator[Fault]:
        for node in _undecorated(ast.parse(self.text)):
            faults_of = getattr(self, f"of_{type(node).__name__.lower()}", None)
            if faults_of is not None:
                yield from faults_of(node)

    def of_compare(self, node: ast.Compare) -> Iterator[Fault]:
        if len(node.ops) == 1:
            yield from self._between(node.left, node.comparators[0], COMPARISONS[type(node.ops[0])])

    def of_boolop(self, node: ast.BoolOp) -> Iterator[Fault]:
        left, right = node.values[:2]
        yield from self._between(left, right, "or" if isinstance(node.op, ast.And) else "and")

    def of_binop(self, node: ast.BinOp) -> Iterator[Fault]:
        if type(node.op) in ARITHMETIC:
            yield from self._between(node.left, node.right, ARITHMETIC[type(node.op)])

    def of_unaryop(self, node: ast.UnaryOp) -> Iterator[Fault]:
        if isinstance(node.op, ast.Not):
            begin = self._span(node)[0]
            yield begin, begin + len("not "), ""

    def of_constant(self, node: ast.Constant) -> Iterator[Fault]:
        if isinstance(node.value, bool):
            yield *self._span(node), str(not node.value)
        elif isinstance(node.value, int):
            # A large number plus 1 is the same to most tests, and should be.
            yield *self._span(node), str(node.value + 1 if node.value < 100 else 2 * node.value)
        elif isinstance(node.value, str) and SQL.search(node.value):
            begin, end = self._span(node)
            for first, last, becomes in _of_words(self.text[begin:end], "--"):
                yield begin + first, begin + last, becomes

    def of_name(self, node: ast.Name) -> Iterator[Fault]:
        if node.id in OTHER_NAMES:
            yield *self._span(node), OTHER_NAMES[node.id]

    def of_if(self, node: ast.If) -> Iterator[Fault]:
        begin, end = self._span(node.test)
        yield begin, end, f"not ({self.text[begin:end]})"

    def of_expr(self, node: ast.Expr) -> Iterator[Fault]:
        if isinstance(node.value, ast.Call):
            yield *self._span(node), "pass"

    def of_call(self, node: ast.Call) -> Iterator[Fault]:
        if not isinstance(node.func, ast.Attribute):
            return
        if node.func.attr == "select_for_update":
            yield self._span(node.func.value)[1], self._span(node)[1], ""
        if node.func.attr in OF_QUERYSETS:
            for keyword in node.keywords:
                begin, end = self._span(keyword)
                yield begin, end + self.text[end:].startswith(","), ""

    def of_assign(self, node: ast.Assign) -> Iterator[Fault]:
        if isinstance(node.targets[0], (ast.Attribute, ast.Subscript)):
            yield *self._span(node), "pass"

    def of_functiondef(self, node: ast.FunctionDef) -> Iterator[Fault]:
        for decorator in node.decorator_list:
            if "atomic" in ast.unparse(decorator):
                begin, end = self._span(decorator)
                yield begin - 1, end, ""

    def _between(self, left: ast.expr, right: ast.expr, becomes: str) -> Iterator[Fault]:
        """Replaces the operator that stands there, unless a bracket does too: the replacement would take that with it."""
        begin, end = self._span(left)[1], self._span(right)[0]
        if not set(self.text[begin:end]) & set("()[]{},#"):
            yield begin, end, f" {becomes} "

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _at(self, line: int, column: int) -> int:
        row = self.text[self.begins[line - 1] : self.begins[line]]
        return self.begins[line - 1] + len(row.encode()[:column].decode())
