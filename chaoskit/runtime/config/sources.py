"""Reads the three file formats, together with the line of each key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import BackendUnavailable
from chaoskit.runtime.config.problems import Problem

KeyPath = tuple[str, ...]


class SyntaxProblem(ValueError):
    """The text violates the syntax of its format, at ``line`` if that is known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file, the place of each key, and the problems with its keys."""

    values: Mapping[str, Any]
    places: Mapping[KeyPath, str]
    problems: tuple[Problem, ...] = ()


def read_json(text: str, name: str) -> Document:
    """Read JSON by RFC 8259: a duplicate key in an object is a problem, NaN and Infinity are not JSON.

    Raises ``SyntaxProblem`` with the line, as all three readers do.
    """
    if not text.strip():
        return Document({}, {})
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SyntaxProblem(error.msg, error.lineno) from None
    except RecursionError:
        raise SyntaxProblem("nested too deeply") from None
    except ValueError as error:
        # A number with more digits than Python converts.
        raise SyntaxProblem(str(error)) from None
    # json.loads silently keeps the last of two equal keys.
    places, problems = _json_places(text, name)
    return Document(_top(values), places, tuple(problems))


def read_toml(text: str, name: str) -> Document:
    """Read TOML 1.0. Only tables and keys at the start of a line get lines. Raises ``SyntaxProblem``."""
    import tomllib

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # tomllib gives the line only in its message.
        line = re.search(r"line (\d+)", str(error))
        raise SyntaxProblem(str(error), int(line[1]) if line else None) from None
    except RecursionError:
        raise SyntaxProblem("nested too deeply") from None
    except ValueError as error:
        raise SyntaxProblem(str(error)) from None
    return Document(values, _toml_places(text, name))


def read_yaml(text: str, name: str) -> Document:
    """Read YAML 1.1 like PyYAML's safe loader: plain data only, no objects, no code.

    Keys are always text, so that ``on:`` is the name "on". Raises ``SyntaxProblem``, and
    ``BackendUnavailable`` if PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise BackendUnavailable(
            f"{name} is YAML, which needs PyYAML. Install chaoskit[yaml], or use TOML or JSON."
        ) from None
    places: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    try:
        # By nodes, because constructed values have neither lines nor duplicate keys.
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _measure_yaml(node, {})
            _walk_yaml(node, (), name, places, problems, set())
        values = loader.construct_document(node) if node is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise SyntaxProblem(str(reason), mark.line + 1 if mark else None) from None
    except SyntaxProblem:
        raise
    except (RecursionError, ValueError) as error:
        raise SyntaxProblem(f"{type(error).__name__}: {error}") from None
    return Document(_top(values), places, tuple(problems))


READERS: dict[str, Callable[[str, str], Document]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".toml": read_toml,
    ".json": read_json,
}


def _top(values: Any) -> Mapping[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise SyntaxProblem(
            f"the file holds a {type(values).__name__}; expected a mapping of option names", 1
        )
    return values


def _no_constant(name: str) -> float:
    raise SyntaxProblem(f"{name} is not a number of JSON")


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def _json_places(text: str, name: str) -> tuple[dict[KeyPath, str], list[Problem]]:
    """The lines of keys, found by one pass over the tokens of valid JSON."""
    places: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    path: list[str] = []
    objects: list[bool] = []  # for each open bracket: true if it is an object
    key_next, line, at = False, 1, 0
    for match in _JSON_TOKEN.finditer(text):
        token = match[0]
        line += text.count("\n", at, match.start())
        at = match.start()
        if key_next and token.startswith('"'):
            path[-1] = json.loads(token)
            if tuple(path) in places:
                problems.append(_twice(name, line, path))
            places[tuple(path)] = f"{name}:{line}"
            key_next = False
        elif token in "{[":
            objects.append(token == "{")
            path.append("" if token == "{" else "0")
            key_next = token == "{"
        elif token in "}]":
            objects.pop()
            path.pop()
            key_next = False
        elif token == ",":
            key_next = objects[-1]
            path[-1] = path[-1] if objects[-1] else str(int(path[-1]) + 1)
    return places, problems


def _twice(name: str, line: int, path: list[str] | KeyPath) -> Problem:
    return Problem(
        f"{name}:{line}", ".".join(path), "stands here for the second time", "a key may stand once"
    )


_TOML_TABLE = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_TOML_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_TOML_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _toml_places(text: str, name: str) -> dict[KeyPath, str]:
    # By lines and not by grammar: a line in a multi-line string may look like a key, in which case an error
    # may name that line at worst.
    places: dict[KeyPath, str] = {}
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TOML_TABLE.match(line):
            table = _toml_path(found[1])
            places.setdefault(table, f"{name}:{number}")
        elif found := _TOML_KEY.match(line):
            places.setdefault(table + _toml_path(found[1]), f"{name}:{number}")
    return places


def _toml_path(text: str) -> KeyPath:
    return tuple(part.strip("\"'") for part in _TOML_PART.findall(text))


_MOST_NODES = 100_000
"""The most values of a file, counting aliases at each use. No configuration has as many."""


def _measure_yaml(node: Any, sizes: dict[int, int]) -> int:
    """The number of values in ``node``. Raises ``SyntaxProblem`` for an alias bomb or a circular alias.

    Ten lines of aliases can stand for more values than fit into memory, and merging, checking and showing
    them would take as long.
    """
    known = sizes.get(id(node))
    if known == 0:
        raise SyntaxProblem("an alias stands for a value that it is itself part of", _line(node))
    if known is None:
        sizes[id(node)] = 0  # being counted: reaching it again means there is a cycle
        inner: list[Any] = []
        if node.id == "sequence":
            inner = node.value
        elif node.id == "mapping":
            inner = [part for pair in node.value for part in pair]
        known = 1 + sum(_measure_yaml(one, sizes) for one in inner)
        if known > _MOST_NODES:
            raise SyntaxProblem(f"its aliases stand for more than {_MOST_NODES} values", _line(node))
        sizes[id(node)] = known
    return known


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _walk_yaml(
    node: Any, path: KeyPath, name: str, places: dict[KeyPath, str], problems: list[Problem], seen: set[int]
) -> None:
    # An alias is the node that it refers to: without the set, nested aliases would take exponential time.
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.id == "sequence":
        for position, item in enumerate(node.value):
            places[(*path, str(position))] = f"{name}:{item.start_mark.line + 1}"
            _walk_yaml(item, (*path, str(position)), name, places, problems, seen)
    if node.id != "mapping":
        return
    for key, value in node.value:
        inner = (*path, str(key.value))
        line = key.start_mark.line + 1
        if inner in places:
            problems.append(_twice(name, line, inner))
        if key.id == "scalar" and key.tag != "tag:yaml.org,2002:merge":
            # YAML 1.1 takes the bare words on, yes and no for booleans; as keys they are names.
            key.tag = "tag:yaml.org,2002:str"
        places[inner] = f"{name}:{line}"
        _walk_yaml(value, inner, name, places, problems, seen)
