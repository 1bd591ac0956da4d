"""Keeps secrets out of logs, error files and configuration listings: by the name of a value, and by its form.

The same walk limits the output: a cyclic structure, a huge one, or an object whose ``repr`` raises cannot
harm a program that only wanted to report an error.
"""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.numbers import whole
from chaoskit.runtime.secret_names import is_count_name, is_secret_name, is_sure_secret_name

__all__ = ["DEFAULT", "REDACTED", "RedactionLimits", "Redactor", "is_secret_name", "redact_text"]

REDACTED = "[redacted]"

# Keys that hold a name whose value stands beside them, in lists of variables, headers and parameters.
_NAME_KEYS = frozenset(
    {"name", "key", "parameterkey", "header", "field", "option", "variable", "param", "parameter"}
)
_VALUE_KEYS = frozenset(
    {"value", "val", "parametervalue", "stringvalue", "content", "default", "defaultvalue"}
)
_VIEWS: tuple[type, ...] = (type({}.items()), type({}.values()))

# A container of an unknown type is shown by its repr if it has no more items than this.
_LONGEST_REPR = 1000


def redact_text(text: str) -> str:
    """``text`` without anything that looks like a secret: keys, tokens, logins in URLs, ``password=…``."""
    return DEFAULT.text(text)


@dataclasses.dataclass(frozen=True, slots=True)
class RedactionLimits:
    """Limits on what is shown: characters of a text, entries of a container, levels, and values in total."""

    text: int = 2000
    items: int = 50
    depth: int = 6
    values: int = 1000

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            whole(one.name, getattr(self, one.name), 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Redactor:
    """Turns any value into plain, bounded, JSON-ready data without secrets.

    ``names`` are further names whose values are hidden (compared without case), ``patterns`` match further
    texts to hide. No configuration can show what is hidden by default.

    Raises:
        UsageError: a name is not a text, or a pattern is not compiled.
    """

    names: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()
    limits: RedactionLimits = RedactionLimits()

    def __post_init__(self) -> None:
        # Refused here, since later it would hide nothing, or fail while an error is being reported.
        names = _all_of("names", self.names, str, "texts in a set, such as {'patient'}")
        patterns = _all_of("patterns", self.patterns, re.Pattern, "compiled patterns in a list")
        if not isinstance(self.limits, RedactionLimits):
            raise wrong("limits", self.limits, "RedactionLimits")
        object.__setattr__(self, "names", frozenset(name.lower() for name in names))
        object.__setattr__(self, "patterns", patterns)

    def hides(self, name: str) -> bool:
        """Return True if values with this name are hidden."""
        return name.lower() in self.names or is_secret_name(name)

    def text(self, text: str) -> str:
        """``text`` without anything that looks like a secret; its length is not limited."""
        # Imported late: compiling the patterns takes milliseconds.
        from chaoskit.runtime import secret_patterns as looks
        from chaoskit.runtime.secret_commands import hide_in_text

        for needle, pattern in looks.LOOKS_SECRET:
            # A plain search is cheap, and most texts contain none of the needles.
            if needle in text:
                text = pattern.sub(REDACTED, text)
        for own in self.patterns:
            text = own.sub(REDACTED, text)
        lowered = text.lower()
        if any(word in lowered for word in looks.HEADER_WORDS):
            text = looks.HEADER.sub(rf"\1: {REDACTED}", text)
        if any(word in lowered for word in looks.SCHEME_WORDS):
            text = looks.SCHEME.sub(rf"\1 {REDACTED}", text)
        if any(word in lowered for word in looks.SPOKEN_WORDS):
            text = looks.SPOKEN.sub(self._hide_spoken, text)
        if any(word in lowered for word in looks.TOLD_WORDS):
            text = looks.TOLD.sub(rf"\g<lead>{REDACTED}", text)
        if "val" in lowered:
            text = looks.PAIRED.sub(self._hide_value, text)
        if any(word in lowered for word in looks.GIVEN_WORDS):
            text = looks.GIVEN.sub(self._hide_given, text)
        if "-" in text:
            text = looks.LONG_OPTION.sub(self._hide_value, text)
            text = hide_in_text(text, REDACTED)
        if "</" in text:
            text = looks.ELEMENT.sub(self._hide_value, text)
            text = looks.NAMED_ELEMENT.sub(self._hide_value, text)
        if "%3d" in lowered:
            text = looks.QUOTED_QUERY.sub(self._hide_value, text)
        if "=" in text and ("?" in text or "&" in text):
            text = looks.QUERY.sub(rf"\g<name>={REDACTED}", text)
        assigns = "=" in text or ":" in text or "," in text
        return self._assigned(text) if assigns else text

    def plain(self, value: object, name: str = "") -> Any:
        """``value`` as None, bool, int, float, str, list or dict, redacted and bounded. Never raises.

        Containers are walked; any other object is shown as its ``repr``. A value that contains itself is
        shown as ``<cycle>``.
        """
        return _Walk(self).show(value, name)

    def message(self, error: BaseException) -> str:
        """The message of ``error``, redacted and bounded; a ``__str__`` that raises is replaced by a note."""
        return str(self.plain(_Message(error)))

    def _assigned(self, text: str) -> str:
        from chaoskit.runtime import secret_patterns as looks

        parts, done = [], 0
        for found in looks.ASSIGNED.finditer(text):
            # Skip a name that lies inside a value just hidden, and a harmless one.
            if found.start() < done or not self.hides(found["name"]):
                continue
            # "pass", "fail" is a list of words; "password", "x" is a name and its value.
            if "," in found["sep"] and not is_sure_secret_name(found["name"]):
                continue
            end = _value_end(text, found)
            value = text[found.end() : end]
            if not value or value.startswith(REDACTED[:-1]):
                continue
            # A line number, as in "token.py:12", is as harmless as a count.
            counts = is_count_name(found["name"]) or found["name"].endswith(".py")
            if counts and value.strip("\"'").isdigit():
                continue
            parts += [text[done : found.end()], REDACTED]
            done = end
        return "".join([*parts, text[done:]])

    def _hide_spoken(self, match: re.Match[str]) -> str:
        # Prose: "with password authentication" has no secret to hide.
        harmless = match["value"].lower().strip("'\"").startswith(("auth", "protect", "hash", "check"))
        return match[0] if harmless else match["lead"] + REDACTED

    def _hide_given(self, match: re.Match[str]) -> str:
        # "set password policy" is prose too: the name of a setting is more than one plain word.
        name = match["name"]
        plain = name.isalpha() and (name.islower() or name.istitle())
        return (
            match[0]
            if plain and name.lower() not in ("requirepass", "masterauth")
            else self._hide_value(match)
        )

    def _hide_value(self, match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        counts = is_count_name(name) and value.isdigit()
        if counts or not self.hides(name) or value.startswith(REDACTED[:-1]):
            return match[0]
        start, end = match.span("value")
        base = match.start()
        return match[0][: start - base] + REDACTED + match[0][end - base :]


def _value_end(text: str, found: re.Match[str]) -> int:
    """The end of the value that follows the name ``found``."""
    from chaoskit.runtime import secret_patterns as looks

    start = found.end()
    line = text.rfind("\n", 0, found.start("name")) + 1
    before = text[line : found.start("name")]
    indent = len(before) - len(before.lstrip())
    block = looks.BLOCK.match(text, start)
    if block:
        return _block_end(text, block.end(), indent)
    if "\n" in found["sep"] and not before.strip(" \t-#"):
        # A list or table in YAML ends with its block. If no deeper block follows, it is a value on one line.
        below = text.index("\n", found.start("sep")) + 1
        end = _block_end(text, below, indent)
        if end > below:
            return end
    if text[start : start + 1] in ("[", "{"):
        return _bracket_end(text, start)
    # Alone on its line, with spaces around the sign: a settings file, in which values may have spaces.
    alone = not before.strip(" \t-#") or before.strip() == "export"
    if alone and found["sep"].endswith((" ", "\t")) and text[start : start + 1] not in ('"', "'", "\\"):
        value = looks.SETTING.match(text, start)
    else:
        value = looks.VALUE.match(text, start)
    return value.end() if value else start


def _block_end(text: str, start: int, indent: int) -> int:
    end = start
    while end < len(text):
        line = text[end : (text.find("\n", end) + 1) or len(text)]
        inside = len(line) - len(line.lstrip())
        # The entries of a list may be indented no further than their name.
        if line.strip() and inside <= indent and not (inside == indent and line.lstrip().startswith("- ")):
            break
        end += len(line)
    return end


def _bracket_end(text: str, start: int) -> int:
    """The end of the list or object that begins at ``start``; brackets in quoted strings do not count."""
    from chaoskit.runtime import secret_patterns as looks

    depth = 0
    for part in looks.BRACKETS.finditer(text, start, start + 4000):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(part[0], 0)
        if depth == 0:
            return part.end()
    # Not closed, or longer than a value should be: hide as much as was searched.
    return min(len(text), start + 4000)


class _Message:
    """Wraps an error so that its repr is its message: a ``__str__`` that raises is caught like any repr."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __repr__(self) -> str:
        return str(self._error)


class _Walk:
    """One walk through one value; it counts down how many more values may be shown."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._limits = redactor.limits
        self._left = redactor.limits.values
        self._path: set[int] = set()

    def show(self, value: object, name: str = "", depth: int = 0) -> Any:
        if name and self._redactor.hides(name) and not (type(value) is int and is_count_name(name)):
            return REDACTED
        self._left -= 1
        if self._left < 0:
            return "<more>"
        try:
            return self._show(value, depth)
        except Exception as error:
            # A hostile __repr__, a dictionary that another thread changes, a proxy whose target is gone.
            shown = type(value._error if type(value) is _Message else value).__name__
            return f"<{shown}, which cannot be shown: {type(error).__name__}>"

    def _show(self, value: Any, depth: int) -> Any:
        kind = type(value)  # isinstance() would ask the object's own __class__
        if value is None or kind is bool or kind is float:
            # JSON has neither infinity nor NaN; they become text.
            return value if value == value and value not in (float("inf"), float("-inf")) else repr(value)
        if kind is int:
            # Decimal digits of a huge number take quadratic time, and Python refuses more than 4300.
            return value if -(2**63) < value < 2**63 else self._cut(hex(value)[: self._limits.text])
        if issubclass(kind, str):
            return self._text(str.__str__(value))
        if issubclass(kind, bytes | bytearray | memoryview):
            return self._bytes(value)
        if kind in _VIEWS:
            # The dictionary behind it has the names, which say what its values are.
            return self._show(dict(value.mapping), depth)
        if not self._is_container(value):
            size = len(value) if hasattr(kind, "__len__") else 0
            # A repr would show all of it, and may take minutes.
            return f"<{kind.__name__} of {size} items>" if size > _LONGEST_REPR else self._text(repr(value))
        # Only containers on the path: the same list twice side by side is not a cycle.
        if id(value) in self._path:
            return "<cycle>"
        if depth >= self._limits.depth:
            return f"<{kind.__name__}, deeper than {self._limits.depth} levels>"
        self._path.add(id(value))
        try:
            return self._container(value, depth + 1)
        finally:
            self._path.discard(id(value))

    @staticmethod
    def _is_container(value: object) -> bool:
        kind = type(value)
        return issubclass(kind, dict | list | tuple | set | frozenset | deque | Mapping) or (
            dataclasses.is_dataclass(kind)
        )

    def _container(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if issubclass(kind, dict):
            # Use the base class's methods: a subclass may override them with any code.
            return self._mapping(dict.items(value), dict.__len__(value), depth)
        if issubclass(kind, Mapping):
            return self._mapping(value.items(), len(value), depth)
        if dataclasses.is_dataclass(kind):
            pairs = [(f.name, getattr(value, f.name, "<unset>")) for f in dataclasses.fields(value) if f.repr]
            return {"<type>": kind.__qualname__, **self._mapping(pairs, len(pairs), depth)}
        if hasattr(kind, "_fields") and issubclass(kind, tuple):
            pairs = list(zip(value._fields, tuple.__iter__(value), strict=False))
            return {"<type>": kind.__qualname__, **self._mapping(pairs, len(pairs), depth)}
        return self._sequence(value, depth)

    def _mapping(self, pairs: Iterable[tuple[Any, Any]], size: int, depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        some = list(islice(pairs, self._limits.items))
        named = next((v for k, v in some if type(v) is str and self._key(k).lower() in _NAME_KEYS), "")
        for key, value in some:
            name = self._key(key)
            if named and name.lower() in _VALUE_KEYS:
                # {"name": "DB_PASSWORD", "value": …}: the name of the value stands beside it.
                name = named if self._redactor.hides(named) else name
            shown[self._cut(self._redactor.text(self._key(key)), 200)] = self.show(value, name, depth)
        if size > self._limits.items:
            shown["<more>"] = size - self._limits.items
        return shown

    def _sequence(self, value: Any, depth: int) -> list[Any]:
        # A pair, as in a list of headers: its first half is the name of the second.
        if len(value) == 2 and type(value) in (tuple, list):
            first = next(iter(value))
            if type(first) in (str, bytes) and (
                type(value) is tuple or is_sure_secret_name(self._key(first))
            ):
                return [self.show(first, "", depth), self.show(value[1], self._key(first), depth)]
        some = list(islice(value, self._limits.items))
        if len(some) > 1 and all(type(item) is str for item in some):
            from chaoskit.runtime.secret_commands import hide_in_arguments

            some = hide_in_arguments(some, REDACTED)
        shown: list[Any] = []
        option = ""
        for item in some:
            shown.append(self.show(item, option, depth))
            # A command's arguments: a value follows its option, or its bare name.
            names = type(item) is str and "=" not in item and len(item) <= 80
            option = item if names and (item.startswith("-") or is_sure_secret_name(item)) else ""
        if len(value) > self._limits.items:
            shown.append(f"<{len(value) - self._limits.items} more>")
        return shown

    @staticmethod
    def _key(key: object) -> str:
        if type(key) is bytes:
            # Some frameworks have header names as bytes.
            return key[:200].decode("ascii", "replace")
        try:
            return (key if type(key) is str else repr(key))[:200]
        except Exception as error:
            return f"<{type(key).__name__}, which cannot be shown: {type(error).__name__}>"

    def _text(self, text: str) -> str:
        # Cut first, since searching all of a long text takes time; with a margin, so that a secret that
        # crosses the limit is still recognised.
        limit = self._limits.text
        shown = self._redactor.text(text[: limit + 2048])
        return self._cut(shown, limit, len(text))

    def _cut(self, text: str, limit: int | None = None, length: int | None = None) -> str:
        limit = self._limits.text if limit is None else limit
        whole = len(text) if length is None else length
        return (
            text if len(text) <= limit and whole <= limit + 2048 else f"{text[:limit]}… <{whole} characters>"
        )

    def _bytes(self, value: bytes | bytearray | memoryview) -> str:
        size = value.nbytes if isinstance(value, memoryview) else len(value)
        if isinstance(value, memoryview):
            return f"<memoryview of {size} bytes>"
        shown = self._text(repr(bytes(value[: self._limits.text])))
        return shown if size <= self._limits.text else f"{shown} <{size} bytes>"


def _all_of(what: str, given: Iterable[Any], kind: type, expected: str) -> tuple[Any, ...]:
    # Checked by hand: the module ``kinds``, which all others use for this, loads much more than is needed
    # here.
    found = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (None,)
    if not all(isinstance(one, kind) for one in found):
        raise wrong(what, given, expected)
    return found


DEFAULT = Redactor()
