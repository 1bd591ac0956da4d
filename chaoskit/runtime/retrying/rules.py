"""A retry policy as data: its options, their defaults, and the checks on them, alone and together.

The shells that call, await and wait depend only on these rules; :class:`~chaoskit.runtime.RetryPolicy`
depends on the shells and passes itself to them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypedDict

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import CallableKind, asked, kind_of, synchronous, synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.classifier import DEFAULT, Classifier, Decision
from chaoskit.runtime.failures.symptoms import leaves
from chaoskit.runtime.failures.taxonomy import Category, ResilienceError
from chaoskit.runtime.loading import load_ahead
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.observing.observers import Listener
from chaoskit.runtime.retrying.backoff import EQUAL, LONGEST_WAIT, SYSTEM, Backoff, Chance, Exponential
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.throttle import AdaptiveThrottle

__all__ = [
    "AboveCap",
    "Attempts",
    "Condition",
    "Generators",
    "Hook",
    "Matcher",
    "On",
    "Repair",
    "RetryOptions",
    "RetryRules",
]

Condition: TypeAlias = type[BaseException] | Category | Classifier | Callable[[BaseException], bool]
On: TypeAlias = Condition | Iterable[Condition]
Repair = Callable[[BaseException], object]
Hook = Callable[[Any], AbstractContextManager[Any] | None]
Generators = Literal["refuse", "restart", "pass"]
AboveCap = Literal["wait", "give-up"]
Attempts: TypeAlias = int | Literal["default"] | None

# As in AWS's and Google's clients: more would only multiply the load of a service that is already failing.
DEFAULT_ATTEMPTS = 3

_EXPECTED = "exception classes, categories, a Classifier, a function of the error, or several of these"
_EXAMPLE = "What to retry has no default: name it, as in @retry(on=ConnectionError)."

# Half a second lets most hiccups pass; few people watch a program for longer than a minute. Half of each wait
# is random, so that clients that failed together do not come back together.
DEFAULT_WAIT = Exponential(0.5, cap=60.0, jitter=EQUAL)


class Matcher:
    """Decides if an option such as ``on`` names an error.

    ``KeyboardInterrupt``, ``SystemExit``, ``GeneratorExit``, cancellation and all other errors outside
    ``Exception`` match only if ``on`` has their class, or a base class of it other than ``BaseException``:
    ``on=BaseException`` does not name them.
    """

    __slots__ = ("catch", "categories", "classes", "classifiers", "classifies", "clause", "predicates")

    def __init__(self, on: On, what: str = "on") -> None:
        conditions = _flat(on, what)
        self.classes: tuple[type[BaseException], ...] = tuple(c for c in conditions if isinstance(c, type))
        self.categories = frozenset(c for c in conditions if isinstance(c, Category))
        self.classifiers = tuple(c for c in conditions if isinstance(c, Classifier))
        # True if the answer needs a classification, which costs more than everything else here.
        self.classifies = bool(self.categories or self.classifiers)
        known = (type, Category, Classifier)
        self.predicates: tuple[Callable[[BaseException], bool], ...] = tuple(
            c for c in conditions if not isinstance(c, known)
        )
        named = tuple(c for c in self.classes if not issubclass(c, Exception) and c is not BaseException)
        # The shells put this into their except clause, so that the interpreter does most of the work.
        self.catch: tuple[type[BaseException], ...] = (Exception, *named)
        # A single class if possible: an except clause compares a tuple more slowly.
        self.clause: Any = self.catch if named else Exception

    def matches(self, error: BaseException, decision: Decision | None) -> bool:
        """Return True if ``error`` is named; ``decision`` is its classification, if :attr:`classifies`."""
        if isinstance(error, self.classes):
            return isinstance(error, self.catch) and self._may_repeat(error)
        if decision is not None:
            # A classifier's decision counts only if the policy has one.
            by_classifier = bool(self.classifiers) and decision.retryable
            if by_classifier or decision.category in self.categories:
                return True
        return any(asked("on", one, error, if_it_raises=False) for one in self.predicates)

    def classify(self, error: BaseException, fallback: Classifier | None) -> Decision:
        """Classify by the classifier in ``on``, else by ``fallback``, else by the built-in rules."""
        classifier = self.classifiers[0] if self.classifiers else fallback or DEFAULT
        return classifier.classify(error)

    def _may_repeat(self, error: BaseException) -> bool:
        # Only a group outside Exception can contain a KeyboardInterrupt.
        if isinstance(error, Exception) or not isinstance(error, BaseExceptionGroup):
            return True
        return all(isinstance(leaf, self.catch) for leaf in leaves(error))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RetryRules:
    """The options of a :class:`~chaoskit.runtime.RetryPolicy`, which explains them, checked as a whole.

    ``matcher`` is ``on``, prepared for matching; ``classifies`` is True if a failure has to be classified
    before it can be judged; ``plain`` if the first attempt needs nothing around it, and ``direct`` if, in
    addition, a synchronous call needs no shell for its function; ``most`` is ``attempts`` with the default
    filled in. Raises ``UsageError`` for an option that cannot work.
    """

    on: On
    but_not: On | None = None
    attempts: Attempts = "default"
    attempts_by: Mapping[Category | type[ResilienceError], int] = field(default_factory=dict, hash=False)
    wait: Backoff = DEFAULT_WAIT
    waits: Mapping[Category | type[ResilienceError], Backoff] = field(default_factory=dict, hash=False)
    deadline: float | None = None
    attempt_timeout: float | None = None
    on_result: Callable[[Any], bool] | None = None
    retry_after_cap: float = 300.0
    retry_after_above_cap: AboveCap = "wait"
    retry_after_spread: float = 0.0
    repair: Repair | None = None
    quiet: int = 0
    generators: Generators = "refuse"
    budget: RetryBudget | None = None
    throttle: AdaptiveThrottle | None = None
    classifier: Classifier | None = None
    listeners: tuple[Listener, ...] = ()
    hooks: tuple[Hook, ...] = ()
    clock: Clock = field(default=SystemClock(), compare=False)
    random: Chance = field(default=SYSTEM, compare=False)
    wake: threading.Event | None = field(default=None, compare=False)
    name: str = ""
    matcher: Matcher = field(init=False, repr=False, compare=False)
    exceptions: Matcher | None = field(init=False, repr=False, compare=False)
    classifies: bool = field(init=False, repr=False, compare=False)
    plain: bool = field(init=False, repr=False, compare=False)
    direct: bool = field(init=False, repr=False, compare=False)
    most: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        matcher = Matcher(self.on)
        exceptions = None if self.but_not is None else Matcher(self.but_not, "but_not")
        # Options that depend on the kind of an error need its classification.
        asks = bool(self.waits or self.attempts_by) or (exceptions is not None and exceptions.classifies)
        classifies = asks or matcher.classifies
        self._check_kinds()
        self._check_numbers()
        self._check_parts()
        around = (self.deadline, self.attempt_timeout, self.on_result, self.budget, self.throttle)
        plain = all(part is None for part in around)
        if self.listeners or self.hooks:
            load_ahead("chaoskit.runtime.retrying.events")
        if classifies:
            load_ahead("chaoskit.runtime.failures.built_in")
        for name, value in (
            ("matcher", matcher),
            ("exceptions", exceptions),
            ("classifies", classifies),
            ("most", self._most()),
            ("plain", plain),
            ("direct", plain and self.generators == "refuse" and self.repair is None),
            ("waits", dict(self.waits)),
            ("attempts_by", dict(self.attempts_by)),
            ("listeners", synchronous_all("listener", self.listeners)),
            ("hooks", synchronous_all("hook", self.hooks)),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        # Only the given options: twenty defaults would hide the differences between policies.
        said = [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if self._said(one)]
        return f"{type(self).__name__}({', '.join(said)})"

    def _said(self, one: Field[Any]) -> bool:
        """Return True if an option is not the default, and its value tells the reader something."""
        value = getattr(self, one.name)
        return one.repr and one.compare and value not in ({}, ()) and value != one.default

    def _most(self) -> int | None:
        if self.attempts != "default":
            return self.attempts
        # A deadline is a limit already: three attempts within a second would waste the hour that it gives.
        return DEFAULT_ATTEMPTS if self.deadline is None else None

    def _check_kinds(self) -> None:
        _check_by_kind("attempts_by", self.attempts_by, "numbers of attempts")
        _check_by_kind("waits", self.waits, "backoffs")
        kinds.instance("budget", self.budget, RetryBudget, optional=True)
        kinds.instance("throttle", self.throttle, AdaptiveThrottle, optional=True)
        kinds.instance("classifier", self.classifier, Classifier, optional=True)
        kinds.clock(self.clock)
        kinds.chance(self.random)
        kinds.event("wake", self.wake)
        kinds.text("name", self.name)

    def _check_numbers(self) -> None:
        if self.attempts != "default":
            whole("attempts", self.attempts, 1, none="no limit")
        for kind, most in self.attempts_by.items():
            whole(f"attempts_by[{kind}]", most, 1)
        whole("quiet", self.quiet, 0)
        _check_seconds("deadline", self.deadline)
        _check_seconds("attempt_timeout", self.attempt_timeout)
        if not (is_number(self.retry_after_cap) and 0 <= self.retry_after_cap <= LONGEST_WAIT):
            raise wrong("retry_after_cap", self.retry_after_cap, f"0 to {LONGEST_WAIT:.0f} seconds")

        if self.retry_after_above_cap not in ("wait", "give-up"):
            raise wrong("retry_after_above_cap", self.retry_after_above_cap, "'wait' or 'give-up'")
        if not (is_number(self.retry_after_spread) and 0 <= self.retry_after_spread <= 1):
            raise wrong("retry_after_spread", self.retry_after_spread, "a share from 0 to 1")

    def _check_parts(self) -> None:
        for what, backoff in (("wait", self.wait), *((f"waits[{k}]", b) for k, b in self.waits.items())):
            kinds.able(what, backoff, "a backoff like Exponential(0.5, cap=60.0) or Constant(2.0)", "band")
        if self.generators not in ("refuse", "restart", "pass"):
            raise wrong("generators", self.generators, "'refuse', 'restart' or 'pass'")
        synchronous("on_result", self.on_result)
        if self.repair is not None and kind_of(self.repair) not in (CallableKind.SYNC, CallableKind.ASYNC):
            raise wrong("repair", self.repair, "a function of the error, synchronous or async")


class RetryOptions(TypedDict, total=False):
    """The fields of :class:`RetryPolicy`, for functions that pass them on."""

    on: On
    but_not: On | None
    attempts: Attempts
    attempts_by: Mapping[Category | type[ResilienceError], int]
    wait: Backoff
    waits: Mapping[Category | type[ResilienceError], Backoff]
    deadline: float | None
    attempt_timeout: float | None
    on_result: Callable[[Any], bool] | None
    retry_after_cap: float
    retry_after_above_cap: AboveCap
    retry_after_spread: float
    repair: Repair | None
    quiet: int
    generators: Generators
    budget: RetryBudget | None
    throttle: AdaptiveThrottle | None
    classifier: Classifier | None
    listeners: tuple[Listener, ...]
    hooks: tuple[Hook, ...]
    clock: Clock
    random: Chance
    wake: threading.Event | None
    name: str


def _check_by_kind(what: str, value: Mapping[Any, Any], of: str) -> None:
    kinds.mapping(what, value, f"a mapping of kinds of failures to {of}")
    for kind in value:
        # The classifier never decides on any other class: an entry for one would have no effect.
        of_ours = isinstance(kind, type) and issubclass(kind, ResilienceError)
        if not (of_ours or isinstance(kind, Category)):
            raise wrong(f"a key of {what}", kind, "a Category, or a class of errors of chaoskit.runtime")


def _check_seconds(what: str, value: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_WAIT:
        raise wrong(what, value, f"more than 0 and at most {LONGEST_WAIT:.0f} seconds, or None")


def _flat(on: On, what: str) -> tuple[Any, ...]:
    # A class may be iterable by its metaclass, and a category is a string; both are single conditions.
    several = isinstance(on, Iterable) and not isinstance(on, type | str | bytes)
    conditions: tuple[Any, ...] = tuple(on) if several else (on,)  # type: ignore[arg-type]
    if not conditions:
        raise wrong(what, on, _EXPECTED, _EXAMPLE)
    for condition in conditions:
        _check(condition, what)
    if sum(isinstance(condition, Classifier) for condition in conditions) > 1:
        raise wrong(what, on, "one Classifier at most", "Join their rules: classifier.with_rules(...).")
    return conditions


def _check(condition: object, what: str) -> None:
    if isinstance(condition, type):
        fine = issubclass(condition, BaseException)
    else:
        fine = isinstance(condition, Category | Classifier) or callable(condition)
        if fine and not isinstance(condition, Category | Classifier):
            synchronous(what, condition)
    if not fine:
        raise wrong(what, condition, _EXPECTED, _EXAMPLE)
