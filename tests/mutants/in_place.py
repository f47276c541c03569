"""Gives a running process a fault: its functions get other code, its database other functions, its limiter another script.

A process that is started anew for each fault spends its time on imports. Whatever else holds a function keeps holding it, for
only the code inside the function is replaced.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import psycopg

from config import database_functions
from tests.mutants.changes import Change

# The longest that a statement waits for a lock that a dead session may have left.
LOCK_TIMEOUT = "-c lock_timeout=5s"


class NotViable(Exception):
    """The fault is no program: nothing that runs can have it."""


class NotInPlace(Exception):
    """The changed text runs when a module or a class is made. A running process cannot be given it."""


@contextmanager
def given(change: Change) -> Iterator[None]:
    """Gives the process the fault until the block ends. Raises `NotViable` and `NotInPlace`."""
    before = Path(change.path).read_text()
    give = {".py": _python, ".sql": _sql, ".lua": _lua}[change.path.suffix]
    with give(change, before, change.applied(before)):
        yield


@contextmanager
def _sql(change: Change, before: str, after: str) -> Iterator[None]:
    with psycopg.connect(
        os.environ["DATABASE_URL"], dbname=database(), autocommit=True, options=LOCK_TIMEOUT
    ) as session:
        try:
            _install(session, after)
            yield
        except psycopg.ProgrammingError as error:
            raise NotViable from error
        finally:
            _install(session, before)


def _install(session: psycopg.Connection, text: str) -> None:
    for definition in database_functions.DEFINITION.finditer(text):
        session.execute(definition[0].encode())


def database() -> str:
    from django.db import connection

    return str(connection.settings_dict["NAME"])


@contextmanager
def _lua(change: Change, before: str, after: str) -> Iterator[None]:
    from providers import limiter

    name = change.path.stem.removeprefix("limiter_").upper()
    _load(limiter, name, after)
    try:
        yield
    finally:
        _load(limiter, name, before)


def _load(limiter: ModuleType, name: str, text: str) -> None:
    setattr(limiter, name, text)
    limiter._script.cache_clear()


@contextmanager
def _python(change: Change, before: str, after: str) -> Iterator[None]:
    statement = place(change, before)
    try:
        code = compile(after, str(change.path), "exec")
    except SyntaxError as error:
        raise NotViable from error
    if isinstance(statement, str):
        with replaced(change.path, statement, code):
            yield
    else:
        with _constants(_module(change.path), statement, after, change.path):
            yield


@contextmanager
def replaced(path: Path, name: str, code: CodeType) -> Iterator[None]:
    """Gives a function the code that it has in this code of its whole module."""
    function = _function(_module(path), name)
    own, other = function.__code__, _code(code, name)
    if other.co_freevars != own.co_freevars:
        raise NotInPlace
    function.__code__ = other
    try:
        yield
    finally:
        function.__code__ = own


@contextmanager
def _constants(module: ModuleType, number: int, after: str, path: Path) -> Iterator[None]:
    """Computes one assignment of the module again."""
    own = dict(vars(module))
    assignment = ast.Module([ast.parse(after).body[number]], [])
    try:
        exec(compile(assignment, str(path), "exec"), vars(module))
        yield
    finally:
        vars(module).update(own)


def _module(path: Path) -> ModuleType:
    name = ".".join(path.with_suffix("").parts)
    if name not in sys.modules:
        raise NotInPlace
    return sys.modules[name]


def place(change: Change, text: str) -> str | int:
    """Returns the name of the function whose body has the change, or the number of the assignment in the module."""
    line = text.count("\n", 0, change.begin) + 1
    for number, statement in enumerate(ast.parse(text).body):
        if statement.lineno <= line <= (statement.end_lineno or 0):
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                return number
            return _in_function(statement, line)
    raise NotInPlace


def _in_function(node: ast.stmt, line: int, within: str = "") -> str:
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            if inner.lineno <= line <= (inner.end_lineno or 0):
                return _in_function(inner, line, f"{within}{node.name}.")
    if isinstance(node, ast.FunctionDef) and line >= node.body[0].lineno:
        return f"{within}{node.name}"
    raise NotInPlace


def _function(module: ModuleType, name: str) -> FunctionType:
    found: Any = module
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    for inner in ("fget", "func", "__func__"):
        found = getattr(found, inner, found) if not isinstance(found, FunctionType) else found
    found = inspect.unwrap(found)
    if not isinstance(found, FunctionType) or found.__code__.co_qualname != name:
        raise NotInPlace
    return found


def _code(module: CodeType, name: str) -> CodeType:
    pending = [module]
    for code in pending:
        if code.co_qualname == name:
            return code
        pending += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    raise NotInPlace
