"""The records of what a check found and what a repair did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["ConsistencyReport", "Disagreement", "DisagreementKind", "RepairReport"]

DisagreementKind: TypeAlias = Literal["missing", "orphaned", "stuck", "mismatched"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row that does not agree with the rest. ``row`` is the row as read; ``others`` are its counterparts.

    ``remedy`` says in words what a repair would do; it is empty if there is no remedy.
    """

    rule: str
    kind: DisagreementKind
    source: str
    key: str
    detail: str
    remedy: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Mapping[str, Any], ...] = ()
    number: int = 0
    """The index of the rule that it violates."""

    def to_dict(self) -> dict[str, Any]:
        """The disagreement as JSON types, without the rows, which may contain any objects."""
        names = ("rule", "kind", "source", "key", "detail", "remedy")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class ConsistencyReport:
    """The result of a check. ``rows`` is the number of rows by source.

    ``unread`` gives the reason for each source that could not be read to its end. The rules that need all of
    such a source were left out, since without it nothing can be called missing or orphaned.
    """

    disagreements: tuple[Disagreement, ...]
    rows: Mapping[str, int]
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True if everything could be read, and all of it agrees."""
        return not self.disagreements and not self.unread

    def counts(self) -> dict[str, int]:
        """The number of disagreements of each kind."""
        return dict(sorted(Counter(one.kind for one in self.disagreements).items()))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        return {
            "ok": self.ok,
            "counts": self.counts(),
            "rows": dict(self.rows),
            "unread": dict(self.unread),
            "disagreements": [one.to_dict() for one in self.disagreements],
        }


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did or, with ``dry_run``, would do. ``left`` and ``failed`` give the reasons in words."""

    repaired: tuple[Disagreement, ...]
    left: tuple[tuple[Disagreement, str], ...]
    failed: tuple[tuple[Disagreement, str], ...]
    dry_run: bool

    @property
    def ok(self) -> bool:
        """True if no repair failed. Rows that were left had changed, or have no remedy."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        return {
            "ok": self.ok,
            "dry_run": self.dry_run,
            "repaired": [one.to_dict() for one in self.repaired],
            "left": [{**one.to_dict(), "why": why} for one, why in self.left],
            "failed": [{**one.to_dict(), "why": why} for one, why in self.failed],
        }
