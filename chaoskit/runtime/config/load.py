"""Builds a record from layers: merges them, checks everything, and reports all problems at once.

Precedence, weakest first: the record's defaults, then the layers in the order given. The usual order is
``pyproject.toml``, a file, the environment, code. Tables are merged key by key; any other value, including a
list, replaces the whole value of a weaker layer. In a table of named records (retry policies, say) the other
entries start from the entry ``default``.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import json
import typing
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime.config.convert import Unfit, convert, expected, short
from chaoskit.runtime.config.hints import hints_of, mapping_values, members_of
from chaoskit.runtime.config.layers import KeyPath, Layer
from chaoskit.runtime.config.options import OptionInfo, info_of
from chaoskit.runtime.config.problems import ConfigurationProblems, Problem
from chaoskit.runtime.redact import REDACTED, is_secret_name, redact_text

T = TypeVar("T")

DEFAULT = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One effective value: its path, the value, its origin, and whether it must not be shown."""

    path: str
    value: Any
    origin: str
    secret: bool = False

    @property
    def shown(self) -> str:
        """The value as text. A secret is hidden unless it is empty: that it is missing may be shown."""
        if self.secret and self.value not in (None, ""):
            return REDACTED
        return redact_text(_text(self.value))


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A record that passed every check, with the origin of each value."""

    value: T
    settings: tuple[Setting, ...]

    def origin(self, path: str) -> str:
        """The origin of the value at ``path`` (``jobs.timeout``); ``default`` if no layer sets it.

        Raises ``UsageError`` for a path that names no option.
        """
        for setting in self.settings:
            if setting.path == path:
                return setting.origin
        raise wrong("path", path, f"one of {', '.join(s.path for s in self.settings)}")


def load(record: type[T], *layers: Layer) -> Loaded[T]:
    """Build ``record`` from its defaults and ``layers``, the strongest last.

    Checks that every key is an option (otherwise the nearest name is proposed), that every option without a
    default is set, every type and bound, and the record's own ``__post_init__``. Raises
    ``ConfigurationProblems`` with all problems; then nothing is built.
    """
    if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
        raise wrong("record", record, "a dataclass")
    # An option that is missing at the top could be added to any of the sources.
    where = " or ".join(layer.origin for layer in layers) or "configuration"
    merged = _Table(where)
    reader = _RecordReader([p for layer in layers for p in layer.problems])
    try:
        for layer in layers:
            # Merge before any check: a mistake in a weaker layer does not count if a stronger layer corrects
            # it.
            merged.add(layer, layer.values, ())
        value = reader.record(record, merged, ())
    # The author of a file decides how deep it is nested; without this the error would be Python's.
    except RecursionError:
        raise ConfigurationProblems([*reader.problems, Problem(where, "", "is nested too deeply")]) from None
    if reader.problems:
        raise ConfigurationProblems(reader.problems)
    return Loaded(value, tuple(reader.settings))


@dataclasses.dataclass(frozen=True, slots=True)
class _Leaf:
    """A value that is not a table, and the layer that set it."""

    value: Any
    layer: Layer
    where: str


class _Table:
    """A table after merging; ``where`` is the place of the strongest layer that has it."""

    def __init__(self, where: str) -> None:
        self.entries: dict[str, _Table | _Leaf] = {}
        self.where = where

    def add(self, layer: Layer, values: Mapping[Any, Any], path: KeyPath) -> None:
        for key, value in values.items():
            inner = (*path, str(key))
            name = str(key)
            where = layer.where(inner)
            if isinstance(value, Mapping):
                self._table(name, value, where).add(layer, value, inner)
            else:
                self.entries[name] = _Leaf(value, layer, where)

    def _table(self, name: str, value: Mapping[Any, Any], where: str) -> _Table:
        old = self.entries.get(name)
        # A table of another kind is another record, so the weaker layer's options do not apply to it.
        same = isinstance(old, _Table) and ("kind" not in value or old.kind() in (None, value["kind"]))
        table = old if isinstance(old, _Table) and same else _Table(where)
        table.where = where
        self.entries[name] = table
        return table

    def kind(self) -> Any:
        leaf = self.entries.get("kind")
        return leaf.value if isinstance(leaf, _Leaf) else None

    def plain(self) -> dict[str, Any]:
        return {k: v.plain() if isinstance(v, _Table) else v.value for k, v in self.entries.items()}


# Stands for a value that could not be read. None would not do, because it is a value.
_FAILED: Any = object()


class _RecordReader:
    """Reads a whole configuration once; collects problems and settings."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.settings: list[Setting] = []

    def record(self, kind: type, table: _Table, path: KeyPath, base: Any = None) -> Any:
        """``table`` as a ``kind``; missing options are taken from ``base``, or from the class."""
        options = {f.name: f for f in dataclasses.fields(kind) if f.init and not f.name.startswith("_")}
        hints = hints_of(kind)
        given: dict[str, Any] = {}
        before = len(self.problems)
        for name, entry in table.entries.items():
            if name not in options and not (name == "kind" and _kind_of(kind) is not None):
                self._unknown(name, entry, list(options), path)
        for name, spec in options.items():
            here = (*path, name)
            if name in table.entries:
                default = _default_of(spec, base)
                given[name] = self.value(
                    hints[name], table.entries[name], info_of(spec.metadata), here, default
                )
            elif base is not None:
                given[name] = self._default(spec, _default_of(spec, base), here)
            elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                allowed = f"{expected(hints[name], info_of(spec.metadata))}; it has no default"
                self._problem(table.where, here, "is missing", allowed)
            else:
                self._default(spec, _default_of(spec, None), here)
        # A record with a wrong option is not built: its own checks would only repeat the problem.
        return _FAILED if len(self.problems) > before else self._build(kind, given, table.where, path)

    def value(
        self, kind: Any, entry: _Table | _Leaf, info: OptionInfo, path: KeyPath, default: Any = None
    ) -> Any:
        if isinstance(entry, _Leaf):
            return self._leaf(kind, entry, info, path)
        record = self._record_type(kind, entry, path)
        if record is _FAILED:
            return _FAILED
        if record is not None:
            # Only a base of the same type: the options of another kind of record do not apply.
            return self.record(record, entry, path, default if type(default) is record else None)
        mapping = mapping_values(kind)
        if mapping is not None:
            return self._mapping(mapping, entry, info, path)
        return self._unfit(entry.where, path, Unfit("is a table", expected(kind, info)))

    def _mapping(self, kind: Any, table: _Table, info: OptionInfo, path: KeyPath) -> Any:
        """Read a table of named values; of records, the others start from the one named ``default``."""
        # Read ``default`` first, wherever it stands in the file: the others start from it.
        first = table.entries.get(DEFAULT)
        base = self.value(kind, first, info, (*path, DEFAULT)) if first is not None else None
        built = {} if first is None else {DEFAULT: base}
        for name, entry in table.entries.items():
            if name != DEFAULT:
                before = len(self.settings)
                built[name] = self.value(kind, entry, info, (*path, name), base)
                self._inherit(before, path, name)
        return built

    def _inherit(self, start: int, path: KeyPath, name: str) -> None:
        """Give inherited settings of an entry the origin that they have in its sibling ``default``."""
        known = {s.path: s.origin for s in self.settings[:start]}
        for position, setting in enumerate(self.settings[start:], start):
            rest = setting.path[len(".".join((*path, name))) :]
            origin = known.get(".".join((*path, DEFAULT)) + rest)
            if setting.origin == DEFAULT and origin is not None:
                # The origin is the place where the value was written, since it has to be changed there.
                self.settings[position] = dataclasses.replace(setting, origin=origin)

    def _leaf(self, kind: Any, leaf: _Leaf, info: OptionInfo, path: KeyPath) -> Any:
        items = _record_items(kind)
        if items is not None and leaf.layer.text:
            leaf = _read_list(leaf)
        if items is not None and isinstance(leaf.value, list | tuple) and leaf.value:
            return self._records(items, leaf, path)
        # A finished record, given in code, of a type that the option allows.
        if dataclasses.is_dataclass(leaf.value) and any(
            isinstance(member, type) and isinstance(leaf.value, member) for member in members_of(kind)
        ):
            self._flatten(leaf.value, path, leaf.where)
            return leaf.value
        try:
            value = convert(leaf.value, kind, info, text=leaf.layer.text)
        except Unfit as unfit:
            return self._unfit(leaf.where, path, unfit)
        self._setting(path, value, leaf.where, info)
        return value

    def _records(self, kind: type, leaf: _Leaf, path: KeyPath) -> Any:
        """A list of records, such as TOML's ``[[alerts]]``."""
        built = []
        for position, item in enumerate(leaf.value):
            here = (*path, str(position))
            where = leaf.layer.where(here)
            if isinstance(item, Mapping):
                table = _Table(where)
                table.add(leaf.layer, item, here)
                built.append(self.record(kind, table, here))
            elif isinstance(item, kind):
                built.append(item)
            else:
                self._unfit(where, here, Unfit(f"is {short(item)}", "expected a table"))
        return tuple(built)

    def _record_type(self, kind: Any, table: _Table, path: KeyPath) -> Any:
        """The type of the record that a table becomes; None if the option is not a record."""
        records: list[Any] = [k for k in members_of(kind) if dataclasses.is_dataclass(k)]
        if len(records) < 2:
            return records[0] if records else None
        wanted = table.kind()
        for record in records:
            if _kind_of(record) == wanted or record.__name__.lower() == str(wanted).lower():
                return record
        # With several records and no ``kind`` for any of them, the file must say which one it means.
        names = ", ".join(repr(_kind_of(r) or r.__name__.lower()) for r in records)
        what = "is missing" if wanted is None else f"is {wanted!r}"
        self._problem(table.where, (*path, "kind"), what, f"one of {names}")
        return _FAILED

    def _build(self, kind: type, given: dict[str, Any], where: str, path: KeyPath) -> Any:
        try:
            return kind(**given)
        except (ValueError, TypeError) as error:
            # The record's own rules, about several options together or finer than a bound.
            self._problem(where, path, redact_text(str(error)), "")
            return _FAILED

    def _default(self, spec: dataclasses.Field[Any], value: Any, path: KeyPath) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            self._flatten(value, path, DEFAULT)
        else:
            self._setting(path, value, DEFAULT, info_of(spec.metadata))
        return value

    def _flatten(self, value: Any, path: KeyPath, origin: str) -> None:
        for spec in dataclasses.fields(value):
            inner = getattr(value, spec.name)
            here = (*path, spec.name)
            if dataclasses.is_dataclass(inner) and not isinstance(inner, type):
                self._flatten(inner, here, origin)
            elif not spec.name.startswith("_"):
                self._setting(here, inner, origin, info_of(spec.metadata))

    def _setting(self, path: KeyPath, value: Any, origin: str, info: OptionInfo) -> None:
        secret = info.secret or is_secret_name(path[-1])
        self.settings.append(Setting(".".join(path), value, origin, secret))

    def _unknown(self, name: str, entry: _Table | _Leaf, known: list[str], path: KeyPath) -> None:
        # Propose the nearest name: most unknown options are misspelt.
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        proposal = f"did you mean {near[0]!r}? " if near else ""
        self._problem(
            entry.where, (*path, name), "is not an option", f"{proposal}there are {', '.join(sorted(known))}"
        )

    def _unfit(self, where: str, path: KeyPath, unfit: Unfit) -> Any:
        # The value may be a secret under a wrong name.
        shown = "is a value that is not shown" if path and is_secret_name(path[-1]) else unfit.what
        self._problem(where, path, shown, unfit.allowed)
        return _FAILED

    def _problem(self, where: str, path: KeyPath, what: str, allowed: str) -> None:
        self.problems.append(Problem(where, ".".join(path), what, allowed))


def _read_list(leaf: _Leaf) -> _Leaf:
    """Parse a variable that holds a JSON list; return any other leaf unchanged."""
    if not str(leaf.value).lstrip().startswith("["):
        return leaf
    try:
        value = json.loads(leaf.value)
    except (ValueError, RecursionError):
        return leaf
    return dataclasses.replace(leaf, value=value, layer=dataclasses.replace(leaf.layer, text=False))


def _default_of(spec: dataclasses.Field[Any], base: Any) -> Any:
    if base is not None:
        return getattr(base, spec.name)
    if spec.default is not dataclasses.MISSING:
        return spec.default
    return None if spec.default_factory is dataclasses.MISSING else spec.default_factory()


def _record_items(kind: Any) -> type | None:
    for member in members_of(kind):
        arguments = typing.get_args(member)
        if (
            typing.get_origin(member) in (tuple, list)
            and arguments
            and dataclasses.is_dataclass(arguments[0])
        ):
            return arguments[0]  # type: ignore[return-value]
    return None


def _kind_of(record: Any) -> Any:
    """The word that identifies a record in a union of records: its ``kind`` attribute, if it has one."""
    value = getattr(record, "kind", None)
    return value if isinstance(value, str) else None


def _text(value: Any) -> str:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        return repr(value)
    if isinstance(value, enum.Enum):
        return repr(value.value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return str(value)
