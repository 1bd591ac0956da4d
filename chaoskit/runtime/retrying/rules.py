"""What a retry policy says, as data: its options, their defaults, and the checks that hold for them together.

The shells that call, await and wait read these and nothing else; :class:`~chaoskit.runtime.RetryPolicy`
stands above the shells and hands itself down to them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, TypedDict

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import CallableKind, kind_of, synchronous, synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.failures.taxonomy import Category, ResilienceError
from chaoskit.runtime.observing.events import Listener
from chaoskit.runtime.retrying.backoff import EQUAL, LONGEST_WAIT, SYSTEM, Backoff, Chance, Exponential
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.matching import Matcher, On
from chaoskit.runtime.retrying.throttle import AdaptiveThrottle

__all__ = ["Generators", "Hook", "Repair", "RetryOptions", "RetryRules"]

Repair = Callable[[BaseException], object]
Hook = Callable[[Any], AbstractContextManager[Any] | None]
Generators = Literal["refuse", "restart", "pass"]

# Half a second lets most hiccups pass; a minute is as long as anyone watches. Half of each wait is
# chance, so that clients that failed together do not come back together.
DEFAULT_WAIT = Exponential(0.5, cap=60.0, jitter=EQUAL)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RetryRules:
    """The options of a :class:`~chaoskit.runtime.RetryPolicy`, which explains them, checked as a whole.

    ``matcher`` is ``on`` made ready to be asked; ``classifies`` is true if a failure has to be classified
    before it can be judged. Raises ``UsageError`` for an option that cannot work.
    """

    on: On
    attempts: int | None = 3
    wait: Backoff = DEFAULT_WAIT
    waits: Mapping[Category | type[ResilienceError], Backoff] = field(default_factory=dict, hash=False)
    deadline: float | None = None
    attempt_timeout: float | None = None
    on_result: Callable[[Any], bool] | None = None
    retry_after_cap: float = 300.0
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
    classifies: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        matcher = Matcher(self.on)
        self._check_numbers()
        self._check_parts()
        for name, value in (
            ("matcher", matcher),
            ("classifies", bool(self.waits) or matcher.classifies),
            ("waits", dict(self.waits)),
            ("listeners", synchronous_all("listener", self.listeners)),
            ("hooks", synchronous_all("hook", self.hooks)),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        # What was said, not the defaults: those would be twenty options long, and tell no two apart.
        said = [f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if self._said(one)]
        return f"{type(self).__name__}({', '.join(said)})"

    def _said(self, one: Field[Any]) -> bool:
        """True if an option is not the default, and a reader can tell anything from its value."""
        value = getattr(self, one.name)
        return one.repr and one.compare and value not in ({}, ()) and value != one.default

    @property
    def plain(self) -> bool:
        """True if the first attempt needs nothing done around it."""
        around = (self.deadline, self.attempt_timeout, self.on_result, self.budget, self.throttle)
        return all(part is None for part in around)

    def _check_numbers(self) -> None:
        _check_count("attempts", self.attempts, least=1, none="no limit")
        _check_count("quiet", self.quiet, least=0)
        _check_seconds("deadline", self.deadline)
        _check_seconds("attempt_timeout", self.attempt_timeout)
        if isinstance(self.retry_after_cap, bool) or not 0 <= self.retry_after_cap <= LONGEST_WAIT:
            raise wrong("retry_after_cap", self.retry_after_cap, f"0 to {LONGEST_WAIT:.0f} seconds")

    def _check_parts(self) -> None:
        for what, backoff in (("wait", self.wait), *((f"waits[{k}]", b) for k, b in self.waits.items())):
            if not callable(getattr(backoff, "band", None)):
                raise wrong(what, backoff, "a backoff like Exponential(0.5, cap=60.0) or Constant(2.0)")
        if self.generators not in ("refuse", "restart", "pass"):
            raise wrong("generators", self.generators, "'refuse', 'restart' or 'pass'")
        synchronous("on_result", self.on_result)
        if self.repair is not None and kind_of(self.repair) not in (CallableKind.SYNC, CallableKind.ASYNC):
            raise wrong("repair", self.repair, "a function of the error, synchronous or async")


class RetryOptions(TypedDict, total=False):
    """The fields of :class:`RetryPolicy`, for passing on."""

    on: On
    attempts: int | None
    wait: Backoff
    waits: Mapping[Category | type[ResilienceError], Backoff]
    deadline: float | None
    attempt_timeout: float | None
    on_result: Callable[[Any], bool] | None
    retry_after_cap: float
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


def _check_count(what: str, value: int | None, least: int, none: str = "") -> None:
    if value is None and none:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        rest = f", or None for {none}" if none else ""
        raise wrong(what, value, f"a whole number from {least}{rest}")


def _check_seconds(what: str, value: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_WAIT:
        raise wrong(what, value, f"more than 0 and at most {LONGEST_WAIT:.0f} seconds, or None")
