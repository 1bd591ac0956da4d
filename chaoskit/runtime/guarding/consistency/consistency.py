"""Checks rules over sources of rows, and repairs disagreements row by row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, synchronous
from chaoskit.runtime.guarding.consistency.disagreements import (
    ConsistencyReport,
    Disagreement,
    DisagreementKind,
    RepairReport,
)
from chaoskit.runtime.guarding.consistency.rules import ConsistencyRule, RemoveRow, RowByRow, SetColumns
from chaoskit.runtime.guarding.consistency.sources import ChangeableRows, RowSource, Table, source_of

__all__ = ["Consistency"]


class Consistency:
    """Sources by name, and the rules that must hold between them. Nothing is read before ``check``."""

    def __init__(
        self,
        sources: Mapping[str, RowSource | Callable[[], Iterable[Table]]],
        rules: Sequence[ConsistencyRule],
    ) -> None:
        """A source is a function that returns rows, or a ``SqliteRows``, ``FileRows`` or ``CheckpointRows``.

        Raises:
            UsageError: a rule names an unknown source, or would change a source that cannot be changed.
        """
        kinds.mapping("sources", sources, "a mapping of names to sources")
        self._sources = {name: source_of(name, given) for name, given in sources.items()}
        self._rules = kinds.listed("rules", rules, object)
        for rule in self._rules:
            if not all(hasattr(rule, name) for name in ("needs", "check", "again")):
                raise wrong("rule", rule, "a rule, such as FileExists or NotStuck")
            if not isinstance(rule.remedy, SetColumns | RemoveRow):
                synchronous("remedy", rule.remedy)
            for name in rule.needs():
                if name not in self._sources:
                    raise wrong("source", name, f"one of {', '.join(sorted(self._sources))}")
            changes = isinstance(rule.remedy, SetColumns | RemoveRow)
            if changes and not isinstance(self._sources[rule.source], ChangeableRows):
                raise UsageError(
                    f"the source {rule.source!r} is read by a function, and can't be changed; expected one"
                    " with change(), such as SqliteRows. Or give a function as the remedy."
                )

    def check(self) -> ConsistencyReport:
        """Read everything and report the disagreements. Changes nothing."""
        sources = {name: _Counted(source) for name, source in self._sources.items()}
        found: list[Disagreement] = []
        unread: dict[str, str] = {}
        for number, rule in enumerate(self._rules):
            if not unread.keys().isdisjoint(rule.needs()):
                continue
            try:
                for one in rule.check(sources):
                    found.append(replace(one, number=number))
            except UsageError:
                raise
            except Exception as error:
                # The error does not name its source, but the source that failed is still marked as in use.
                reading = [name for name in rule.needs() if sources[name].reading]
                for name in reading or [rule.source]:
                    unread[name] = f"{type(error).__name__}: {error}"
        # The rule that was being checked when its source failed may have seen half of it. That is enough for
        # a rule that judges each row by itself: a damaged record must not keep the others from being
        # repaired.
        kept = [
            one for one in found if one.source not in unread or isinstance(self._rules[one.number], RowByRow)
        ]
        return ConsistencyReport(tuple(kept), {name: one.count for name, one in sources.items()}, unread)

    def repair(
        self,
        report: ConsistencyReport,
        *,
        dry_run: bool = True,
        only: Collection[str] | None = None,
    ) -> RepairReport:
        """Repair the disagreements of ``report``, each after a second look; ``dry_run=False`` makes changes.

        A row that has changed since the check, or that now agrees, is left alone. ``only`` selects by the
        name of the rule, the kind or the source. A repair that fails does not stop the others.

        Raises:
            UsageError: ``only`` has an unknown name.
        """
        self._check_names(only)
        repaired, left, failed = [], [], []
        for found in report.disagreements:
            if only is not None and not {found.rule, found.kind, found.source} & set(only):
                continue
            rule = self._rules[found.number]
            if rule.remedy is None:
                left.append((found, "there is no remedy"))
                continue
            try:
                if rule.again(found, self._sources) is None:
                    left.append((found, "it has changed meanwhile"))
                elif dry_run or self._apply(rule, found):
                    repaired.append(found)
                else:
                    left.append((found, "it has changed meanwhile"))
            except UsageError:
                raise
            # A repair that fails must not stop the remaining ones.
            except Exception as error:
                failed.append((found, f"{type(error).__name__}: {error}"))
        return RepairReport(tuple(repaired), tuple(left), tuple(failed), dry_run)

    def _check_names(self, only: Collection[str] | None) -> None:
        """Check ``only``: a mistyped name would select nothing, and no repair at all looks like success."""
        names = {type(rule).__name__ for rule in self._rules} | set(get_args(DisagreementKind))
        known = names | set(self._sources)
        for name in [only] if isinstance(only, str) else only or ():
            if isinstance(only, str) or name not in known:
                raise wrong("only", only, f"names in a list, of {', '.join(sorted(known))}")

    def _apply(self, rule: ConsistencyRule, found: Disagreement) -> bool:
        remedy = rule.remedy
        if isinstance(remedy, SetColumns | RemoveRow):
            source = self._sources[rule.source]
            assert isinstance(source, ChangeableRows)
            columns = remedy.columns if isinstance(remedy, SetColumns) else None
            return source.change(found.row, columns)
        assert remedy is not None
        return called("remedy", remedy, found) is not False


class _Counted:
    """Wraps a source, counts its rows, and knows whether it is being read."""

    def __init__(self, source: RowSource) -> None:
        self.key, self._source = source.key, source
        self.count, self.reading = 0, False

    def rows(self) -> Iterable[Table]:
        self.reading, count = True, 0
        for row in self._source.rows():
            count += 1
            yield row
        self.reading, self.count = False, max(count, self.count)

    def find(self, column: str, value: Any) -> list[Table]:
        return self._source.find(column, value)
