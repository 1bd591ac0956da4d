"""Rules between rows and files.

A rule finds disagreements, and can check one of them again on rows that are read afresh, which is done before
each repair. A remedy is what a repair does to the row: :class:`SetColumns`, :class:`RemoveRow`, or a user's
function that gets the disagreement and returns False if it did nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.files.reading import open_regular
from chaoskit.runtime.durable.transactions.contents import digest_of
from chaoskit.runtime.guarding.consistency.disagreements import Disagreement, DisagreementKind
from chaoskit.runtime.guarding.consistency.sources import RowSource, Table
from chaoskit.runtime.numbers import is_number

__all__ = [
    "Agree",
    "ConsistencyRule",
    "FileExists",
    "NoOrphans",
    "NotStuck",
    "Remedy",
    "RemoveRow",
    "RowByRow",
    "SetColumns",
    "disagreement",
    "same_again",
]

Sources: TypeAlias = Mapping[str, RowSource]


@dataclass(frozen=True, slots=True)
class SetColumns:
    """Set columns of the row, such as ``SetColumns({"status": "pending"})``.

    Raises:
        UsageError: there are no columns to set.
    """

    columns: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not kinds.mapping("columns", self.columns, "a mapping of columns to their values"):
            raise wrong("columns", self.columns, "at least one column with its value")

    def __str__(self) -> str:
        return "set " + ", ".join(f"{name}={value!r}" for name, value in self.columns.items())


@dataclass(frozen=True, slots=True)
class RemoveRow:
    """Remove the row; a file is moved to the quarantine of its source."""

    def __str__(self) -> str:
        return "remove it"


Remedy: TypeAlias = SetColumns | RemoveRow | Callable[[Disagreement], object] | None


class ConsistencyRule(Protocol):
    """Something that must hold between sources."""

    @property
    def source(self) -> str:
        """The source whose rows are judged and repaired."""

    @property
    def remedy(self) -> Remedy:
        """What a repair does to the row."""

    def needs(self) -> Sequence[str]:
        """The names of all sources that the rule reads."""

    def check(self, sources: Sources) -> Iterator[Disagreement]:
        """Yield everything that does not hold."""

    def again(self, found: Disagreement, sources: Sources) -> Disagreement | None:
        """The disagreement as it is now; None if it is gone."""


class RowByRow:
    """Implements a rule that judges each row of its source by that row alone."""

    source: str
    remedy: Remedy

    def _rows(self, source: RowSource) -> Iterable[Table]:
        """The rows to judge."""
        return source.rows()

    def _judge(self, row: Table, sources: Sources) -> Disagreement | None:
        """What does not hold for the row; None if it is fine."""
        raise NotImplementedError

    def needs(self) -> Sequence[str]:
        return (self.source,)

    def check(self, sources: Sources) -> Iterator[Disagreement]:
        for row in self._rows(sources[self.source]):
            found = self._judge(row, sources)
            if found is not None:
                yield found

    def again(self, found: Disagreement, sources: Sources) -> Disagreement | None:
        return same_again(self, found, sources, lambda row: self._judge(row, sources))


@dataclass(frozen=True)
class FileExists(RowByRow):
    """The file that a row names exists, with the size and the checksum that the row says.

    ``path``, ``size`` and ``checksum`` are names of columns; a checksum is compared if it begins with
    ``sha256:``. Rows without a path are skipped, and so are rows for which ``when`` returns False.
    """

    source: str
    base: str | Path
    path: str = "path"
    size: str | None = None
    checksum: str | None = None
    when: Callable[[Table], bool] | None = None
    remedy: Remedy = None

    def __post_init__(self) -> None:
        _check_texts(source=self.source, path=self.path)
        kinds.instance("base", self.base, str, Path)
        for name in ("size", "checksum"):
            kinds.text(name, getattr(self, name), optional=True)
        synchronous("when", self.when)

    def _rows(self, source: RowSource) -> Iterable[Table]:
        # If the disk is not mounted, its files must not count as missing.
        if not Path(self.base).is_dir():
            raise FileNotFoundError(2, "the base directory is not there", str(self.base))
        columns = [one for one in (self.path, self.size, self.checksum) if one is not None]
        return _having(source.rows(), *columns)

    def _judge(self, row: Table, sources: Sources) -> Disagreement | None:
        name = row.get(self.path)
        if not name or (self.when is not None and not self.when(row)):
            return None
        path = Path(self.base) / str(name)
        kind: DisagreementKind = "mismatched"
        try:
            size = path.stat().st_size
            expected = row.get(self.size) if self.size else None
            if expected is not None and size != expected:
                return disagreement(
                    self, kind, row, sources, f"{name!r} has {size} bytes; expected {expected}"
                )
            expected = row.get(self.checksum) if self.checksum else None
            if isinstance(expected, str) and expected.startswith("sha256:"):
                with open_regular(path) as file:
                    checksum = digest_of(file)[1]
                if checksum != expected:
                    return disagreement(
                        self, kind, row, sources, f"the content of {name!r} is not what was recorded"
                    )
        except (FileNotFoundError, NotADirectoryError):
            return disagreement(self, "missing", row, sources, f"{name!r} is not there")
        return None


@dataclass(frozen=True)
class NoOrphans:
    """Every row, or file, is referred to by a row of another source; ``of`` lists (source, column) pairs.

    A row whose column ``modified`` is less than ``younger`` seconds old is skipped: the row that refers to it
    may not be written yet.

    Raises:
        UsageError: ``of`` is empty, which would make everything an orphan.
    """

    source: str
    of: Sequence[tuple[str, str]]
    column: str = "path"
    younger: float = 3600.0
    modified: str = "modified"
    remedy: Remedy = None
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        kinds.clock(self.clock)
        _check_texts(source=self.source, column=self.column, modified=self.modified)
        if not _pairs("of", self.of):
            raise wrong("of", self.of, "at least one pair of a source and its column")
        if not (is_number(self.younger) and self.younger >= 0):
            raise wrong("younger", self.younger, "seconds, at least 0")

    def needs(self) -> Sequence[str]:
        return (self.source, *(name for name, _ in self.of))

    def check(self, sources: Sources) -> Iterator[Disagreement]:
        # Read the candidates first: a reference written after that does no harm. In the other order, a file
        # written in between, together with its reference, would count as an orphan.
        candidates = list(_having(sources[self.source].rows(), self.column))
        known = {row.get(column) for name, column in self.of for row in _having(sources[name].rows(), column)}
        for row in candidates:
            if row.get(self.column) not in known and not self._is_young(row):
                yield self._orphan(row, sources)

    def again(self, found: Disagreement, sources: Sources) -> Disagreement | None:
        def judge(row: Table) -> Disagreement | None:
            value = row.get(self.column)
            referred = any(sources[name].find(column, value) for name, column in self.of)
            return None if referred or self._is_young(row) else self._orphan(row, sources)

        return same_again(self, found, sources, judge)

    def _is_young(self, row: Table) -> bool:
        at = row.get(self.modified)
        return isinstance(at, int | float) and self.clock.time() - at < self.younger

    def _orphan(self, row: Table, sources: Sources) -> Disagreement:
        names = ", ".join(f"{name}.{column}" for name, column in self.of)
        return disagreement(self, "orphaned", row, sources, f"{row.get(self.column)!r} is in none of {names}")


@dataclass(frozen=True)
class NotStuck(RowByRow):
    """No row has had one of ``statuses`` for more than ``longer_than`` seconds, by its column ``since``.

    Raises:
        UsageError: ``longer_than`` is negative, or ``statuses`` is a single string.
    """

    source: str
    longer_than: float
    statuses: Sequence[str] = ("running", "in_progress")
    status: str = "status"
    since: str = "updated"
    remedy: Remedy = None
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        kinds.clock(self.clock)
        if not (is_number(self.longer_than) and self.longer_than >= 0):
            raise wrong("longer_than", self.longer_than, "seconds, at least 0")
        # A string would be searched for substrings: "run" in "running" is true.
        if isinstance(self.statuses, str):
            raise wrong("statuses", self.statuses, f"several in a list, such as [{self.statuses!r}]")
        kinds.listed("statuses", self.statuses, str)
        _check_texts(source=self.source, status=self.status, since=self.since)

    def _rows(self, source: RowSource) -> Iterable[Table]:
        return _having(source.rows(), self.status, self.since)

    def _judge(self, row: Table, sources: Sources) -> Disagreement | None:
        since = row.get(self.since)
        if row.get(self.status) not in self.statuses or not isinstance(since, int | float):
            return None
        age = self.clock.time() - since
        if age <= self.longer_than:
            return None
        text = f"{row[self.status]!r} for {age:,.0f} s; expected at most {self.longer_than:,.0f} s"
        return disagreement(self, "stuck", row, sources, text)


@dataclass(frozen=True)
class Agree:
    """Rows of two sources with the same key agree in ``columns``, which are pairs of (here, there).

    With ``required``, a row without a counterpart is a disagreement as well (``missing``). ``when`` selects
    the rows of ``source`` that are judged.
    """

    source: str
    other: str
    columns: Sequence[tuple[str, str]] = ()
    on: tuple[str, str] | None = None
    required: bool = True
    when: Callable[[Table], bool] | None = None
    remedy: Remedy = None

    def __post_init__(self) -> None:
        _check_texts(source=self.source, other=self.other)
        _pairs("columns", self.columns)
        if self.on is not None:
            _pairs("on", (self.on,))
        kinds.switch("required", self.required)
        synchronous("when", self.when)

    def needs(self) -> Sequence[str]:
        return (self.source, self.other)

    def check(self, sources: Sources) -> Iterator[Disagreement]:
        here, there = self._on(sources)
        rows = list(_having(sources[self.source].rows(), here, *(mine for mine, _ in self.columns)))
        known: dict[Any, list[Table]] = {}
        for row in _having(sources[self.other].rows(), there, *(its for _, its in self.columns)):
            known.setdefault(row.get(there), []).append(row)
        for row in rows:
            found = self._judge(row, known.get(row.get(here), []), sources)
            if found is not None:
                yield found

    def again(self, found: Disagreement, sources: Sources) -> Disagreement | None:
        here, there = self._on(sources)
        other = sources[self.other]
        now = same_again(
            self, found, sources, lambda row: self._judge(row, other.find(there, row.get(here)), sources)
        )
        # Both sides must be unchanged: a row that disagrees in another way needs another decision.
        return now if now is not None and now.others == found.others else None

    def _on(self, sources: Sources) -> tuple[str, str]:
        return self.on or (sources[self.source].key, sources[self.other].key)

    def _judge(self, row: Table, others: list[Table], sources: Sources) -> Disagreement | None:
        if self.when is not None and not self.when(row):
            return None
        if not others:
            if not self.required:
                return None
            return disagreement(self, "missing", row, sources, f"it has no row in {self.other!r}")
        for other in others:
            for mine, its in self.columns:
                if row.get(mine) != other.get(its):
                    text = f"{mine} is {row.get(mine)!r}, but {self.other}.{its} is {other.get(its)!r}"
                    return disagreement(self, "mismatched", row, sources, text, others)
        return None


def _check_texts(**texts: object) -> None:
    for name, value in texts.items():
        kinds.text(name, value)


def _pairs(what: str, given: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    for pair in (pairs := kinds.listed(what, given, tuple, list)):
        if len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise wrong(f"one of {what}", pair, "a pair of two names")
    return pairs


def _having(rows: Iterable[Table], *columns: str) -> Iterator[Table]:
    """Yield the rows; raise LookupError at their end if none of them has one of the columns.

    With a mistyped column a rule would find nothing or, if others should refer to it, only orphans.
    """
    missing, any_row = set(columns), False
    for row in rows:
        missing.difference_update(row)
        any_row = True
        yield row
    if any_row and missing:
        raise LookupError(
            f"no row has the column {', '.join(map(repr, sorted(missing)))}; expected one at least"
        )


def same_again(
    rule: ConsistencyRule,
    found: Disagreement,
    sources: Sources,
    judge: Callable[[Table], Disagreement | None],
) -> Disagreement | None:
    """Judge the row as it is now; None if it has changed since it was read."""
    source = sources[rule.source]
    rows = source.find(source.key, found.row.get(source.key))
    if [dict(row) for row in rows] != [dict(found.row)]:
        return None
    now = judge(rows[0])
    return now if now is not None and now.kind == found.kind else None


def disagreement(
    rule: ConsistencyRule,
    kind: DisagreementKind,
    row: Table,
    sources: Sources,
    detail: str,
    others: Sequence[Table] = (),
) -> Disagreement:
    key = row.get(sources[rule.source].key)
    if key is None:
        raise wrong("row", dict(row), f"a row with the key {sources[rule.source].key!r}")
    remedy = rule.remedy
    named = getattr(remedy, "__name__", None) if callable(remedy) else None
    told = "" if remedy is None else f"call {named or repr(remedy)}" if callable(remedy) else str(remedy)
    rows = tuple(dict(one) for one in others)
    return Disagreement(type(rule).__name__, kind, rule.source, str(key), detail, told, dict(row), rows)
