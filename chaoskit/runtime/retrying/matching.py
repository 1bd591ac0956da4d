"""What ``on=`` says: which failures are worth another attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import asked, synchronous
from chaoskit.runtime.failures.classifier import DEFAULT, Classifier, Decision
from chaoskit.runtime.failures.symptoms import leaves
from chaoskit.runtime.failures.taxonomy import Category

__all__ = ["Condition", "Matcher", "On"]

Condition: TypeAlias = type[BaseException] | Category | Classifier | Callable[[BaseException], bool]
On: TypeAlias = Condition | Iterable[Condition]

_EXPECTED = "exception classes, categories, a Classifier, a function of the error, or several of these"
_EXAMPLE = "What to retry has no default; say it: @retry(on=ConnectionError)."


class Matcher:
    """Decides whether ``on`` names an error.

    ``KeyboardInterrupt``, ``SystemExit``, ``GeneratorExit``, cancellation and whatever else is no
    ``Exception`` match only a class that is named itself or that has a named base below
    ``BaseException``: ``on=BaseException`` does not name them.
    """

    __slots__ = ("catch", "categories", "classes", "classifiers", "predicates")

    def __init__(self, on: On) -> None:
        conditions = _flat(on)
        self.classes: tuple[type[BaseException], ...] = tuple(c for c in conditions if isinstance(c, type))
        self.categories = frozenset(c for c in conditions if isinstance(c, Category))
        self.classifiers = tuple(c for c in conditions if isinstance(c, Classifier))
        known = (type, Category, Classifier)
        self.predicates: tuple[Callable[[BaseException], bool], ...] = tuple(
            c for c in conditions if not isinstance(c, known)
        )
        named = tuple(c for c in self.classes if not issubclass(c, Exception) and c is not BaseException)
        # What the shells put into their except clause: the interpreter does most of the work.
        self.catch: tuple[type[BaseException], ...] = (Exception, *named)

    @property
    def classifies(self) -> bool:
        """Whether the answer needs a classification."""
        return bool(self.categories or self.classifiers)

    def matches(self, error: BaseException, decision: Decision | None) -> bool:
        """Whether ``error`` is named; ``decision`` is its classification, where :attr:`classifies`."""
        if isinstance(error, self.classes):
            return isinstance(error, self.catch) and self._may_repeat(error)
        if decision is not None and (decision.category in self.categories or self._retryable(decision)):
            return True
        return any(asked("on", one, error, if_it_raises=False) for one in self.predicates)

    def classify(self, error: BaseException, fallback: Classifier | None) -> Decision:
        """The classification by ``on``'s own classifier, else ``fallback``, else the built-in rules."""
        classifier = self.classifiers[0] if self.classifiers else fallback or DEFAULT
        return classifier.classify(error)

    def _may_repeat(self, error: BaseException) -> bool:
        # Only a group that is no Exception can hold a KeyboardInterrupt.
        if isinstance(error, Exception) or not isinstance(error, BaseExceptionGroup):
            return True
        return all(isinstance(leaf, self.catch) for leaf in leaves(error))

    def _retryable(self, decision: Decision) -> bool:
        return bool(self.classifiers) and decision.retryable


def _flat(on: On) -> tuple[Any, ...]:
    # A class may be iterable by its metaclass, and a category is text; both are one condition.
    several = isinstance(on, Iterable) and not isinstance(on, type | str | bytes)
    conditions: tuple[Any, ...] = tuple(on) if several else (on,)  # type: ignore[arg-type]
    if not conditions:
        raise wrong("on", on, _EXPECTED, _EXAMPLE)
    for condition in conditions:
        _check(condition)
    if sum(isinstance(condition, Classifier) for condition in conditions) > 1:
        raise wrong("on", on, "one Classifier at most", "Join their rules: classifier.with_rules(...).")
    return conditions


def _check(condition: object) -> None:
    if isinstance(condition, type):
        fine = issubclass(condition, BaseException)
    else:
        fine = isinstance(condition, Category | Classifier) or callable(condition)
        if fine and not isinstance(condition, Category | Classifier):
            synchronous("on", condition)
    if not fine:
        raise wrong("on", condition, _EXPECTED, _EXAMPLE)
