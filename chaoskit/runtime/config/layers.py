"""Where values come from: code, a file (YAML, TOML, JSON), ``pyproject.toml``, the environment.

A layer has plain values and knows the place of each of them, for error messages. Reading a layer checks only
the syntax; ``load`` checks the values against the record.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.config import sources
from chaoskit.runtime.config.problems import ConfigurationProblems, Problem
from chaoskit.runtime.context import ENVIRONMENT_VARIABLE

KeyPath = tuple[str, ...]

# No configuration is longer; a device or a log that was named by mistake is.
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one origin. ``places`` has the places of paths; a missing path is at its parent's place.

    ``text`` is True if all values are still text, as in an environment: the option's type parses them.
    """

    origin: str
    values: Mapping[str, Any]
    places: Mapping[KeyPath, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    text: bool = False

    def where(self, path: KeyPath) -> str:
        """The place of the value at ``path``, or of the nearest table above it."""
        for length in range(len(path), 0, -1):
            place = self.places.get(path[:length])
            if place is not None:
                return place
        return self.origin


def from_mapping(values: Mapping[str, Any], origin: str = "code") -> Layer:
    """Values given in code: nested mappings, and finished objects if an option takes them.

    Raises ``UsageError`` for anything but a mapping.
    """
    if not isinstance(values, Mapping):
        raise wrong("values", values, "a mapping of option names")
    return Layer(origin, values)


def from_file(path: str | os.PathLike[str], *, table: str = "") -> Layer:
    """The values of a ``.yaml``, ``.yml``, ``.toml`` or ``.json`` file, or of a ``table`` (``a.b``) in it.

    Raises ``ConfigurationProblems`` if the file cannot be read, has another suffix, is larger than 4 MiB, or
    violates the syntax of its format; ``BackendUnavailable`` for YAML without PyYAML. An empty file has no
    values. A duplicate key is a problem that ``load`` reports together with all others.
    """
    file = Path(path)
    reader = sources.READERS.get(file.suffix.lower())
    if reader is None:
        allowed = f"a name ending in {', '.join(sources.READERS)}"
        problem = Problem(str(path), "", f"cannot be read: its suffix is {file.suffix!r}", allowed)
        raise ConfigurationProblems([problem])
    try:
        document = reader(_read(file), str(path))
    except (OSError, sources.SyntaxProblem) as error:
        line = getattr(error, "line", None)
        where = f"{path}:{line}" if line else str(path)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationProblems([Problem(where, "", f"cannot be read: {reason}")]) from error
    return _part(Layer(str(path), document.values, document.places, document.problems), table)


def from_pyproject(path: str | os.PathLike[str] = "pyproject.toml", *, table: str = "tool.chaoskit") -> Layer:
    """The ``[tool.chaoskit]`` table of a ``pyproject.toml``; no values if file or table is missing."""
    return from_file(path, table=table) if Path(path).is_file() else Layer(str(path), {})


def from_environment(
    prefix: str = "CHAOSKIT_",
    environment: Mapping[str, str] | None = None,
    *,
    ignore: Iterable[str] = (),
) -> Layer:
    """The variables that begin with ``prefix``; a double underscore descends one level.

    ``CHAOSKIT_JOBS__TIMEOUT=300`` sets ``jobs.timeout``. Case is ignored. The variable that carries the
    context to child processes is not an option, nor are those in ``ignore``. Raises ``UsageError`` for an
    empty prefix.
    """
    if not prefix:
        raise wrong(
            "prefix", prefix, "the beginning of the variables' names", "Without one, PATH is an option."
        )
    source = os.environ if environment is None else environment
    skipped = {ENVIRONMENT_VARIABLE, *ignore}
    values: dict[str, Any] = {}
    places: dict[KeyPath, str] = {}
    problems: list[Problem] = []
    # Sorted, so that a value and a group with one name collide in the same order everywhere.
    for name in sorted(source):
        if not name.upper().startswith(prefix.upper()) or name in skipped:
            continue
        # Windows knows names of variables in upper case only, so case cannot distinguish anything.
        path = tuple(part.lower() for part in name[len(prefix) :].split("__"))
        if not _put(values, path, source[name]):
            problems.append(Problem(f"${name}", ".".join(path), "is a value and a group of values at once"))
        places[path] = f"${name}"
    return Layer("environment", values, places, tuple(problems), text=True)


def _put(values: dict[str, Any], path: KeyPath, value: str) -> bool:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            return False
        values = inner
    if path[-1] in values:
        return False
    values[path[-1]] = value
    return True


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise sources.SyntaxProblem(f"larger than {_MAX_BYTES} bytes")
    try:
        # Editors on Windows put a byte order mark before UTF-8.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise sources.SyntaxProblem(f"not UTF-8: {error.reason}", line) from None


def _part(layer: Layer, table: str) -> Layer:
    values: Any = layer.values
    path = tuple(table.split(".")) if table else ()
    for key in path:
        values = values.get(key, {}) if isinstance(values, Mapping) else values
    if not isinstance(values, Mapping):
        where = layer.where(path)
        raise ConfigurationProblems([Problem(where, table, "is not a table of options")])
    places = {p[len(path) :]: place for p, place in layer.places.items() if p[: len(path)] == path}
    problems = tuple(p for p in layer.problems if not table or f"{p.path}.".startswith(f"{table}."))
    return Layer(layer.origin, values, places, problems)
