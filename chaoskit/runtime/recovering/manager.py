"""The recovery manager: a strategy for each kind of failure, a history of outcomes, and a report."""

from __future__ import annotations

import enum
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeAlias

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, synchronous, synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.context import correlation_id
from chaoskit.runtime.durable.files.writing import write_file
from chaoskit.runtime.durable.recorded import record_error
from chaoskit.runtime.failures.base import Category
from chaoskit.runtime.failures.classifier import DEFAULT, Classifier
from chaoskit.runtime.forks import survive_fork
from chaoskit.runtime.numbers import whole
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit

__all__ = ["RecoveryDone", "RecoveryManager", "RecoveryOutcome", "RecoveryReport", "RecoveryResult"]


class RecoveryResult(enum.StrEnum):
    """How a recovery ended."""

    RECOVERED = "recovered"
    SKIPPED = "skipped"
    GIVEN_UP = "given up"
    FAILED = "failed"


Strategy: TypeAlias = Callable[[BaseException, Mapping[str, Any]], Any]
"""A function of the error and the context; it returns the value of the recovery, or raises if it failed."""


@dataclass(frozen=True, slots=True)
class RecoveryOutcome:
    """The outcome of one failure. ``value`` is the strategy's result, ``error`` what it raised instead."""

    result: RecoveryResult
    category: Category
    strategy: str
    value: Any = None
    error: BaseException | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryDone(Event):
    """A failure was handled."""

    name: ClassVar[str] = "recovery.done"

    category: Category
    strategy: str
    result: RecoveryResult
    error: BaseException


@dataclass(frozen=True, slots=True)
class RecoveryEntry:
    """One failure in the history, as text. ``at`` is in seconds since the epoch."""

    at: float
    category: str
    strategy: str
    result: str
    error: Mapping[str, Any]
    context: Mapping[str, str]
    correlation_id: str | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """All counts since the manager was made, and its newest failures, the oldest first."""

    counts: Mapping[str, Mapping[str, int]]
    entries: tuple[RecoveryEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        return {"version": 1, "counts": self.counts, "entries": [asdict(one) for one in self.entries]}

    def __str__(self) -> str:
        lines = [
            f"{category}: {', '.join(f'{count} {result}' for result, count in results.items())}"
            for category, results in self.counts.items()
        ]
        return "\n".join(lines) or "Nothing has failed."


class RecoveryManager:
    """Handles each failure with a strategy and keeps the outcomes.

    The strategy is the one for the error's class, else the one for the class of the taxonomy that the
    classifier gives it, else the one for its category.

    A strategy is a function of the error and the context. If it returns, the failure is *recovered*; None for
    a category in ``skips`` makes it *skipped*; without a strategy it is *given up*; if the strategy raises,
    it has *failed*. ``handle`` never raises an error of a strategy: the caller decides by the outcome, and a
    second error never hides the first. The last ``history`` failures are kept, without secrets.

    Threads may share it. Raises UsageError for async strategies, or a history below 1.
    """

    def __init__(
        self,
        strategies: Mapping[Category | type[BaseException], Strategy],
        *,
        skips: Sequence[Category] = (Category.VALIDATION,),
        classifier: Classifier = DEFAULT,
        history: int = 200,
        clock: Clock | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        whole("history", history, 1)
        kinds.mapping("strategies", strategies, "a mapping of kinds of failures to functions")
        for kind, strategy in strategies.items():
            synchronous("a strategy", strategy, optional=False)
            # The name of a category as a text equals no category, so its strategy would never be called.
            if not isinstance(kind, Category) and not (
                isinstance(kind, type) and issubclass(kind, BaseException)
            ):
                raise wrong("what a strategy is for", kind, "a Category or a class of exceptions")
        self._strategies, self._skips = dict(strategies), kinds.listed("skips", skips, Category)
        self._classifier = kinds.instance("classifier", classifier, Classifier)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        self._lock = threading.RLock()
        self._entries: deque[RecoveryEntry] = deque(maxlen=history)
        self._counts: dict[str, Counter[str]] = {}
        survive_fork(self)

    def handle(self, error: BaseException, context: Mapping[str, Any] | None = None) -> RecoveryOutcome:
        """Handle ``error`` with its strategy, and return the outcome.

        KeyboardInterrupt and the like are never handled: they are raised again.
        """
        if not isinstance(error, Exception):
            raise error
        known = dict(context or {})
        decision = self._classifier.classify(error)
        category = decision.category
        strategy = self._strategy(error, decision.verdict, category)
        outcome = self._tried(strategy, error, known, category)
        self._remember(error, known, outcome)
        event = RecoveryDone(
            at=self._clock.monotonic(),
            category=category,
            strategy=outcome.strategy,
            result=outcome.result,
            error=error,
        )
        emit(self._listeners, event)
        return outcome

    def report(self) -> RecoveryReport:
        """The report so far."""
        with self._lock:
            return RecoveryReport(
                {name: dict(one) for name, one in self._counts.items()}, tuple(self._entries)
            )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the report as JSON, as a whole or not at all.

        Raises:
            DiskFull, OutcomeUnknown, OSError: as in ``write_file``.
        """
        import json

        write_file(path, json.dumps(self.report().to_dict(), indent=2).encode() + b"\n")

    def _strategy(
        self, error: BaseException, verdict: type[BaseException], category: Category
    ) -> Strategy | None:
        # The nearest class wins: a strategy for ConnectionResetError beats one for OSError. The error's own
        # classes come before those of the verdict.
        for cls in (*type(error).__mro__, *verdict.__mro__):
            if cls in self._strategies:
                return self._strategies[cls]
        return self._strategies.get(category)

    def _tried(
        self, strategy: Strategy | None, error: Exception, context: Mapping[str, Any], category: Category
    ) -> RecoveryOutcome:
        if strategy is None:
            result = RecoveryResult.SKIPPED if category in self._skips else RecoveryResult.GIVEN_UP
            return RecoveryOutcome(result, category, "")
        name = getattr(strategy, "__qualname__", type(strategy).__qualname__)
        try:
            value = called("a strategy", strategy, error, context)
        except Exception as trouble:
            # Chain the original error: it is the one to look into.
            if trouble is not error and trouble.__cause__ is None:
                trouble.__cause__ = error
            return RecoveryOutcome(RecoveryResult.FAILED, category, name, error=trouble)
        skipped = value is None and category in self._skips
        result = RecoveryResult.SKIPPED if skipped else RecoveryResult.RECOVERED
        return RecoveryOutcome(result, category, name, value)

    def _remember(self, error: Exception, context: Mapping[str, Any], outcome: RecoveryOutcome) -> None:
        told = record_error(error)
        # As text of limited length: a history of objects would keep alive everything that the work held.
        plain = {str(name): record_error(ValueError(value))["message"] for name, value in context.items()}
        trouble = "" if outcome.error is None else record_error(outcome.error)["message"]
        entry = RecoveryEntry(
            self._clock.time(),
            outcome.category.value,
            outcome.strategy,
            outcome.result.value,
            told,
            plain,
            correlation_id(),
            trouble,
        )
        with self._lock:
            self._entries.append(entry)
            self._counts.setdefault(outcome.category.value, Counter())[outcome.result.value] += 1

    def _after_fork(self) -> None:
        """Do nothing: a forked child continues with its parent's history."""
