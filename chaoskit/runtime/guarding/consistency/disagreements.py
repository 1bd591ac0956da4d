"""What was found, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["ConsistencyReport", "Disagreement", "DisagreementKind", "RepairReport"]

DisagreementKind: TypeAlias = Literal["missing", "orphaned", "stuck", "mismatched"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One row that does not agree with the rest. ``row`` is as it was seen, ``others`` what it was held to.

    ``remedy`` says in words what a repair would do; it is empty if there is none.
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
    """Which rule it is of, in their order."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the rows, which may hold anything."""
        names = ("rule", "kind", "source", "key", "detail", "remedy")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class ConsistencyReport:
    """What a check saw. ``rows`` counts by source.

    ``unread`` says for each source that could not be read to its end why. The rules that need all of it were
    left out, since nothing can be called missing or orphaned for its sake.
    """

    disagreements: tuple[Disagreement, ...]
    rows: Mapping[str, int]
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True if everything could be read, and all of it agrees."""
        return not self.disagreements and not self.unread

    def counts(self) -> dict[str, int]:
        """How many disagreements there are of each kind."""
        return dict(sorted(Counter(one.kind for one in self.disagreements).items()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ok": self.ok,
            "counts": self.counts(),
            "rows": dict(self.rows),
            "unread": dict(self.unread),
            "disagreements": [one.to_dict() for one in self.disagreements],
        }


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, or would do (``dry_run``). ``left`` and ``failed`` say why, in words."""

    repaired: tuple[Disagreement, ...]
    left: tuple[tuple[Disagreement, str], ...]
    failed: tuple[tuple[Disagreement, str], ...]
    dry_run: bool

    @property
    def ok(self) -> bool:
        """True if nothing has failed. What was left had changed, or has no remedy."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "ok": self.ok,
            "dry_run": self.dry_run,
            "repaired": [one.to_dict() for one in self.repaired],
            "left": [{**one.to_dict(), "why": why} for one, why in self.left],
            "failed": [{**one.to_dict(), "why": why} for one, why in self.failed],
        }
