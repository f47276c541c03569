"""Reads a `.env` file as docker compose reads it, so that one file means the same to both.

Rejected: django-environ's and python-dotenv's readers. Each skips a line that it cannot read, and so starts in development
mode what was to be production; neither takes a byte-order mark, and both read `$` in their own way.

Two things that compose lets pass end the start here: a variable in a value that is not set, which compose replaces with
nothing, and a name without a value that the environment lacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BETWEEN = re.compile(r"(?:\s|#[^\n]*)*")
NAME = re.compile(r"(?:export[^\S\n]+)?([\w.-]+)[^\S\n]*(?:([=:])([^\S\n]*)|(?=\n|\Z))", re.ASCII)
QUOTED = re.compile(r"""(?P<quote>['"])(?P<text>(?:\\.|(?!(?P=quote)|\\).)*)(?P=quote)""", re.DOTALL)
REST_OF_LINE = re.compile(r"[^\n]*")
COMMENT = re.compile(r"[ \t]#.*")
ESCAPE = re.compile(r"\\(0[0-7]{1,3}|.)", re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"'}
VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<mark>:?[-?+])?)?", re.ASCII
)


def read(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables of the file; none if there is no file. Its values may refer to each other and to `environ`.

    Raises `ImproperlyConfigured`, whose message names file and line, and no value.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if path.is_symlink():
            raise ImproperlyConfigured(f"{path} leads to a file that is not there.") from None
        return {}
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{path} is not a text file in UTF-8.") from None
    return File(path, text.replace("\r\n", "\n"), environ).variables()


class File:
    """Parses one file, from its beginning to its end."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str]) -> None:
        self.path = path
        self._text = text
        self._at = 0
        self._environ = environ
        self._found: dict[str, str] = {}

    def variables(self) -> dict[str, str]:
        while self._take(BETWEEN) is not None and self._at < len(self._text):
            self._statement()
        return self._found

    def _statement(self) -> None:
        """Reads one line, or several if a value in quotes has line breaks."""
        name = self._take(NAME)
        if name is None:
            raise self._trouble("it is not NAME=value")
        if name[2]:
            value = self._value(name[1], has_space=bool(name[3]))
            if "\0" in value:
                raise self._trouble(f"{name[1]} has a character that cannot be printed")
            self._found[name[1]] = value
        elif name[1] not in self._environ:
            raise self._trouble(f"{name[1]} has no value")

    def _value(self, name: str, *, has_space: bool) -> str:
        if self._text[self._at : self._at + 1] in ("'", '"'):
            return self._quoted(name)
        rest = self._take(REST_OF_LINE)
        assert rest is not None
        if has_space and rest[0].startswith("#"):
            # Compose reads this as the value, although it was written as a comment.
            raise self._trouble(f"{name} begins with #: put the value in quotes, or the comment on a line of its own")
        value = COMMENT.sub("", rest[0]).rstrip()
        if not value.replace("\t", "").isprintable():
            raise self._trouble(f"{name} has a character that cannot be printed")
        return self._expanded(name, value)

    def _quoted(self, name: str) -> str:
        begun = self._at
        quoted = self._take(QUOTED)
        if quoted is None:
            raise self._trouble(f"the quotes of {name} do not end")
        rest = self._take(REST_OF_LINE)
        if rest is not None and not re.fullmatch(r"\s*(?:#.*)?", rest[0]):
            raise self._trouble(f"something follows the quotes of {name}")
        if quoted["quote"] == "'":
            return quoted["text"].replace("\\'", "'")
        after, self._at = self._at, begun
        value = self._expanded(name, ESCAPE.sub(_unescaped, quoted["text"]))
        self._at = after
        return value

    def _expanded(self, name: str, value: str) -> str:
        """Replaces variables: `$X`, `${X}`, `${X:-otherwise}`, `${X:?what is lacking}`, `${X:+instead}`; `$$` becomes `$`."""
        done = ""
        while (found := VARIABLE.search(value)) is not None:
            done += value[: found.start()]
            value = value[found.end() :]
            if found["dollar"]:
                done += "$"
            elif found["plain"]:
                done += self._variable(found["plain"], name)
            elif found["name"]:
                words, value = self._words(name, value)
                done += self._chosen(found["name"], found["mark"] or "", words, name)
            else:
                raise self._trouble(f"{name} has a $ that names no variable: put the value in single quotes")
        return done + value

    def _words(self, name: str, value: str) -> tuple[str, str]:
        """Returns the text before the closing brace, and the text after it."""
        depth = 1
        for at, character in enumerate(value):
            depth += (character == "{" and value[at - 1 : at] == "$") - (character == "}")
            if depth == 0:
                return value[:at], value[at + 1 :]
        raise self._trouble(f"{name} has a ${{ without its }}")

    def _chosen(self, variable: str, mark: str, words: str, name: str) -> str:
        if not mark:
            if words:
                raise self._trouble(f"{name} has a ${{...}} that compose does not know")
            return self._variable(variable, name)
        value = self._known(variable)
        is_there = value is not None if len(mark) == 1 else bool(value)
        if mark[-1] == "+":
            return self._expanded(name, words) if is_there else ""
        if is_there:
            return value or ""
        if mark[-1] == "?":
            raise self._trouble(f"{name} needs {variable}, which is not set")
        return self._expanded(name, words)

    def _variable(self, variable: str, name: str) -> str:
        value = self._known(variable)
        if value is None:
            message = f"{name} refers to ${variable}, which is not set; in single quotes a $ means itself"
            raise self._trouble(message)
        return value

    def _known(self, variable: str) -> str | None:
        return self._environ.get(variable, self._found.get(variable))

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _trouble(self, problem: str) -> ImproperlyConfigured:
        # A value on one line has been taken up to its line break, which is counted with the next line.
        line = self._text.count("\n", 0, self._at) + 1
        return ImproperlyConfigured(f"{self.path}, line {line}: {problem}.")


def _unescaped(escape: re.Match[str]) -> str:
    what = escape[1]
    if what == "$":
        return "$$"
    if what[0] == "0" and len(what) > 1:
        return chr(int(what, 8) & 0xFF)
    return ESCAPES.get(what, escape[0])
