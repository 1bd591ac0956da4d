"""Rows, and examinations: which rows hold for an implementation, and which fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = [
    "Adapted",
    "Examination",
    "Row",
    "RowLike",
    "RowOutcome",
    "demand",
    "examine",
    "missing",
    "row_test",
]


class Adapted(Protocol):
    """The part of an adapter that every row uses: its name, and its optional features."""

    @property
    def name(self) -> str: ...

    @property
    def features(self) -> frozenset[str]: ...


class RowLike(Protocol):
    """One promise: its number and wording, the features that it needs, examples, and a check for one."""

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
# Data, not one class for each row: rows differ in their check, which is a function.
class Row:
    """A row as plain data. ``check`` raises ``AssertionError`` with a message about what was seen."""

    id: str
    title: str
    check: Callable[[Any, Any], None]
    examples: SearchStrategy[Any]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """``outcome`` is ``holds``, ``fails`` or ``does not apply``; ``detail`` the shortest counterexample."""

    row: str
    title: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """The outcomes for one implementation, in the order of the rows."""

    name: str
    outcomes: tuple[RowOutcome, ...]

    @property
    def failed(self) -> tuple[RowOutcome, ...]:
        """The rows that fail. Rows that do not apply are not among them."""
        return tuple(one for one in self.outcomes if one.outcome == "fails")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the name, and the number, title, outcome and detail of each row."""
        rows = [
            {"row": f.row, "title": f.title, "outcome": f.outcome, "detail": f.detail} for f in self.outcomes
        ]
        return {"name": self.name, "rows": rows}

    def __str__(self) -> str:
        lines = [f"{f.row:>4}  {f.outcome:<15} {f.title}" for f in self.outcomes]
        details = [f"{f.row}: {f.detail}" for f in self.failed]
        return "\n".join([self.name, *lines, *details])


def demand(condition: object, otherwise: str) -> None:
    """Raise unless ``condition`` is true. Unlike ``assert``, this also works under ``-O``.

    Raises:
        AssertionError: with the text ``otherwise``, if the condition is false.
    """
    if not condition:
        raise AssertionError(otherwise)


def missing(row: RowLike, adapter: Adapted) -> frozenset[str]:
    """The features that ``row`` needs and ``adapter`` lacks; empty if the row applies."""
    return row.needs - adapter.features


def row_test(row: RowLike, adapter: Adapted, profile: settings | None = None) -> Callable[[], None]:
    """A test function that checks ``row`` on many examples. Raises with the shortest failing one."""

    @given(example=row.examples)
    def test(example: Any) -> None:
        row.check(adapter, example)

    test.__name__ = f"test_{row.id}_{adapter.name}"
    return test if profile is None else profile(test)


def examine(adapter: Adapted, rows: Iterable[RowLike], *, examples: int = 50) -> Examination:
    """Check every row that applies on ``examples`` examples, which are the same in each run.

    Errors of checks become part of the result. Only KeyboardInterrupt and the like are raised.
    """
    return Examination(adapter.name, tuple(_examined(row, adapter, examples) for row in rows))


def _examined(row: RowLike, adapter: Adapted, examples: int) -> RowOutcome:
    lacking = missing(row, adapter)
    if lacking:
        return RowOutcome(row.id, row.title, "does not apply", f"needs {', '.join(sorted(lacking))}")
    # Reproducible: the same examples in each run, and none remembered from an earlier one.
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
        # Any exception: for a library that breaks in an unforeseen way the row does not hold.
        row_test(row, adapter, profile)()
    except Exception as error:
        return RowOutcome(row.id, row.title, "fails", _counterexample(error))
    return RowOutcome(row.id, row.title, "holds")


def _counterexample(error: BaseException) -> str:
    # Hypothesis puts the example into a note. If a row fails in several ways it raises a group; one is
    # enough.
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    notes: Sequence[str] = getattr(error, "__notes__", ())
    example = next((note for note in notes if "example=" in note), "")
    return " ".join(f"{said} {example}".split())
