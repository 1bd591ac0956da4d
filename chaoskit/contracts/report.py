"""What a row is, and what examining an implementation yields: which rows hold, fail or do not apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["Adapted", "Finding", "Report", "Row", "RowLike", "demand", "examine", "missing", "row_test"]


class Adapted(Protocol):
    """What every adapter says of its implementation: its name, and which optional abilities it has."""

    @property
    def name(self) -> str: ...

    @property
    def features(self) -> frozenset[str]: ...


class RowLike(Protocol):
    """One promise: its number, its words, what it needs to apply, examples, and the check of one."""

    @property
    def id(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def needs(self) -> frozenset[str]: ...

    @property
    def examples(self) -> SearchStrategy[Any]: ...

    @property
    def check(self) -> Callable[[Any, Any], None]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A row as plain data. ``check`` raises ``AssertionError`` with what was seen."""

    id: str
    title: str
    check: Callable[[Any, Any], None]
    examples: SearchStrategy[Any]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """``outcome``: ``holds``, ``fails`` or ``does not apply``; ``detail``: the shortest counterexample."""

    row: str
    title: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The findings for one implementation, in the order of the rows."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.outcome == "fails")

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {"row": f.row, "title": f.title, "outcome": f.outcome, "detail": f.detail} for f in self.findings
        ]
        return {"name": self.name, "rows": rows}

    def __str__(self) -> str:
        lines = [f"{f.row:>4}  {f.outcome:<15} {f.title}" for f in self.findings]
        details = [f"{f.row}: {f.detail}" for f in self.failed]
        return "\n".join([self.name, *lines, *details])


def demand(condition: object, otherwise: str) -> None:
    """Raise ``AssertionError(otherwise)`` unless ``condition``; unlike ``assert``, under ``-O`` as well."""
    if not condition:
        raise AssertionError(otherwise)


def missing(row: RowLike, adapter: Adapted) -> frozenset[str]:
    """What ``adapter`` would have to offer for ``row`` to apply; empty if it does."""
    return row.needs - adapter.features


def row_test(row: RowLike, adapter: Adapted, profile: settings | None = None) -> Callable[[], None]:
    """A function that checks ``row`` on many examples; what it raises has the shortest that fails."""

    @given(example=row.examples)
    def test(example: Any) -> None:
        row.check(adapter, example)

    test.__name__ = f"test_{row.id}_{adapter.name}"
    return test if profile is None else profile(test)


def examine(adapter: Adapted, rows: Iterable[RowLike], *, examples: int = 50) -> Report:
    """Check every row that applies on ``examples`` examples, the same ones each time."""
    return Report(adapter.name, tuple(_examined(row, adapter, examples) for row in rows))


def _examined(row: RowLike, adapter: Adapted, examples: int) -> Finding:
    lacking = missing(row, adapter)
    if lacking:
        return Finding(row.id, row.title, "does not apply", f"needs {', '.join(sorted(lacking))}")
    profile = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        row_test(row, adapter, profile)()
    except Exception as error:
        return Finding(row.id, row.title, "fails", _counterexample(error))
    return Finding(row.id, row.title, "holds")


def _counterexample(error: BaseException) -> str:
    # Hypothesis puts the example into a note; several failures come as a group: the first will do.
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    notes: Sequence[str] = getattr(error, "__notes__", ())
    example = next((note for note in notes if "example=" in note), "")
    return " ".join(f"{said} {example}".split())
