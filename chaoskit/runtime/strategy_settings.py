"""The settings of each strategy, as records that make the strategy.

Clocks, hooks and functions cannot be written in a file: the methods that make a strategy take them as
arguments. When a record is read, it makes its strategy once and throws it away: an error of the strategy then
becomes a problem of the file, with its line, instead of an error when the program first needs it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.bulkhead import Bulkhead
from chaoskit.runtime.calling.candidates import Candidate, LastGood
from chaoskit.runtime.calling.fallback import FallbackChain
from chaoskit.runtime.calling.ratelimit import RateLimit, RateLimiter
from chaoskit.runtime.calling.recovery import Recovery, RecoveryStep
from chaoskit.runtime.calling.timeout import Deadline, Timeout
from chaoskit.runtime.config import option
from chaoskit.runtime.config.made import check
from chaoskit.runtime.failures import taxonomy
from chaoskit.runtime.failures.taxonomy import Category, ResilienceError
from chaoskit.runtime.retrying import backoff, backoffs
from chaoskit.runtime.retrying.backoff import Backoff, Jitter
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.policy import RetryPolicy
from chaoskit.runtime.retrying.throttle import AdaptiveThrottle

__all__ = [
    "BudgetSettings",
    "BulkheadSettings",
    "DeadlineSettings",
    "FallbackSettings",
    "LastGoodSettings",
    "RateLimitSettings",
    "RateSettings",
    "RecoverySettings",
    "RetrySettings",
    "ThrottleSettings",
    "TimeoutSettings",
    "WaitSettings",
    "category_named",
]

_JITTERS: Mapping[str, Jitter] = {"none": backoff.NONE, "equal": backoff.EQUAL, "full": backoff.FULL}


def _default(name: str) -> Any:
    """The policy's default for the option ``name``: written in one place, so that the two cannot differ."""
    return next(f.default for f in dataclasses.fields(RetryPolicy) if f.name == name)


@dataclass(frozen=True, slots=True)
class WaitSettings:
    """A backoff. ``jitter`` is ``none``, ``equal``, ``full``, or a share: 0.2 is plus and minus 20 %.

    ``factor`` is for exponential backoffs, ``step`` for linear ones; ``constant`` waits ``initial``.
    """

    kind: Literal["exponential", "linear", "constant", "decorrelated"] = "exponential"
    initial: float = option(default=_default("wait").initial, minimum=0, unit="s")
    cap: float = option(default=_default("wait").cap, minimum=0, maximum=backoff.LONGEST_WAIT, unit="s")
    factor: float = option(default=2.0, minimum=1)
    step: float = option(default=0.0, minimum=0, unit="s")
    jitter: float | Literal["none", "equal", "full"] = option(
        default="equal", minimum=0, maximum=1, unit="ratio"
    )

    def __post_init__(self) -> None:
        check(self)
        self.backoff()

    def backoff(self) -> Backoff:
        """Make the backoff."""
        jitter = _JITTERS[self.jitter] if isinstance(self.jitter, str) else backoff.band(self.jitter)
        if self.kind == "constant":
            return backoffs.Constant(self.initial, jitter)
        if self.kind == "linear":
            return backoffs.Linear(self.initial, self.step, self.cap, jitter)
        if self.kind == "decorrelated":
            return backoffs.Decorrelated(self.initial, self.cap)
        return backoff.Exponential(self.initial, self.cap, self.factor, jitter)


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """The settings of a :class:`~chaoskit.runtime.RetryBudget`; see there."""

    floor: int = option(default=10, minimum=0)
    ratio: float = option(default=0.1, minimum=0, maximum=1, unit="ratio")
    window: float = option(default=60.0, above=0, unit="s")
    cap: int = option(default=1000, minimum=0)

    def __post_init__(self) -> None:
        check(self)
        self.budget()

    def budget(self, **code: Any) -> RetryBudget:
        """Make the budget; ``code`` adds what a file cannot express (``clock``)."""
        return RetryBudget(floor=self.floor, ratio=self.ratio, window=self.window, cap=self.cap, **code)


@dataclass(frozen=True, slots=True)
class ThrottleSettings:
    """The settings of an :class:`~chaoskit.runtime.AdaptiveThrottle`; see there."""

    k: float = option(default=2.0, minimum=1)
    window: float = option(default=120.0, above=0, unit="s")
    minimum: int = option(default=10, minimum=1)

    def __post_init__(self) -> None:
        check(self)
        self.throttle()

    def throttle(self) -> AdaptiveThrottle:
        """Make the throttle."""
        return AdaptiveThrottle(k=self.k, window=self.window, minimum=self.minimum)


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """The settings of a :class:`~chaoskit.runtime.RetryPolicy`; see there.

    ``on`` lists categories (``transient``) and names of exception classes, and has no default. ``waits`` maps
    a category, or a class of the taxonomy, to another backoff, and ``attempts_by`` to another limit.
    ``budget`` belongs to this policy alone; ``shared_budget`` and ``throttle`` name entries of the groups
    that policies share.

    Raises:
        UsageError: ``on`` is empty, or ``waits`` has an unknown name.
    """

    on: tuple[Category | type[BaseException], ...]
    attempts: int | Literal["default"] | None = option(default=_default("attempts"), minimum=1)
    but_not: tuple[Category | type[BaseException], ...] = ()
    attempts_by: dict[str, int] = field(default_factory=dict)
    wait: WaitSettings = field(default_factory=WaitSettings)
    waits: dict[str, WaitSettings] = field(default_factory=dict)
    deadline: float | None = option(default=_default("deadline"), above=0, unit="s")
    attempt_timeout: float | None = option(default=_default("attempt_timeout"), above=0, unit="s")
    retry_after_cap: float = option(default=_default("retry_after_cap"), minimum=0, unit="s")
    retry_after_above_cap: Literal["wait", "give-up"] = _default("retry_after_above_cap")
    retry_after_spread: float = option(
        default=_default("retry_after_spread"), minimum=0, maximum=1, unit="ratio"
    )
    quiet: int = option(
        default=_default("quiet"), minimum=0, help="first failures that are not worth a warning"
    )
    generators: Literal["refuse", "restart", "pass"] = _default("generators")
    budget: BudgetSettings | None = None
    shared_budget: str | None = None
    throttle: str | None = None

    def __post_init__(self) -> None:
        check(self)
        if not self.on:
            raise wrong("on", self.on, "at least one category or exception class")
        if self.budget is not None and self.shared_budget is not None:
            hint = "Remove one of the two."
            raise wrong("shared_budget", self.shared_budget, "None, since the policy has a budget", hint)
        self.policy()

    def policy(self, name: str = "", **code: Any) -> RetryPolicy:
        """Make the policy; ``code`` adds what a file cannot express (``clock``, ``wake``, ``listeners``)."""
        given: dict[str, Any] = {
            "on": self.on,
            "attempts": self.attempts,
            "but_not": self.but_not or None,
            "attempts_by": {category_named(n): most for n, most in self.attempts_by.items()},
            "wait": self.wait.backoff(),
            "waits": {category_named(n): w.backoff() for n, w in self.waits.items()},
            "deadline": self.deadline,
            "attempt_timeout": self.attempt_timeout,
            "retry_after_cap": self.retry_after_cap,
            "retry_after_above_cap": self.retry_after_above_cap,
            "retry_after_spread": self.retry_after_spread,
            "quiet": self.quiet,
            "generators": self.generators,
            "name": name,
        }
        if self.budget is not None:
            given["budget"] = self.budget.budget()
        # Code is the stronger layer here as well.
        return RetryPolicy(**{**given, **code})


@dataclass(frozen=True, slots=True)
class RateLimitSettings:
    """The settings of a :class:`~chaoskit.runtime.RateLimit`."""

    calls: float = option(above=0)
    per: float = option(default=1.0, above=0, unit="s")
    burst: int = option(default=1, minimum=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class RateSettings:
    """The settings of a :class:`~chaoskit.runtime.RateLimiter`; see there."""

    calls: float = option(above=0)
    per: float = option(default=1.0, above=0, unit="s")
    burst: int = option(default=1, minimum=1)
    also: tuple[RateLimitSettings, ...] = ()
    max_wait: float = option(default=0.0, minimum=0, unit="s")

    def __post_init__(self) -> None:
        check(self)
        self.limiter()

    def limiter(self, name: str = "rate limiter", **code: Any) -> RateLimiter:
        """Make the limiter; ``code`` adds what a file cannot express (``clock``, ``wake``, ``listeners``)."""
        also = [RateLimit(one.calls, one.per, one.burst) for one in self.also]
        rates: dict[str, Any] = {"per": self.per, "burst": self.burst, "also": also}
        return RateLimiter(self.calls, **rates, max_wait=self.max_wait, name=name, **code)


@dataclass(frozen=True, slots=True)
class BulkheadSettings:
    """The settings of a :class:`~chaoskit.runtime.Bulkhead`; see there. No ``max_wait`` means no limit."""

    limit: int = option(minimum=1)
    queue: int = option(default=0, minimum=0)
    max_wait: float | None = option(default=None, minimum=0, unit="s")

    def __post_init__(self) -> None:
        check(self)
        self.bulkhead()

    def bulkhead(self, name: str = "bulkhead", **code: Any) -> Bulkhead:
        """Make the bulkhead; ``code`` adds what a file cannot express, such as ``clock`` and ``wake``."""
        patience = math.inf if self.max_wait is None else self.max_wait
        return Bulkhead(self.limit, queue=self.queue, max_wait=patience, name=name, **code)


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """The settings of a :class:`~chaoskit.runtime.Timeout`; see there."""

    seconds: float = option(above=0, unit="s")
    abandon: int = option(default=0, minimum=0, help="threads of synchronous calls that may be left behind")

    def __post_init__(self) -> None:
        check(self)
        self.timeout()

    def timeout(self, **code: Any) -> Timeout:
        """Make the timeout; ``code`` adds what a file cannot express (``clock``, ``listeners``)."""
        return Timeout(self.seconds, abandon=self.abandon, **code)


@dataclass(frozen=True, slots=True)
class DeadlineSettings:
    """The settings of a :class:`~chaoskit.runtime.Deadline`."""

    seconds: float = option(above=0, unit="s")

    def __post_init__(self) -> None:
        check(self)
        self.deadline()

    def deadline(self, **code: Any) -> Deadline:
        """Make the deadline; ``code`` adds what a file cannot express (``clock``)."""
        return Deadline(self.seconds, **code)


@dataclass(frozen=True, slots=True)
class LastGoodSettings:
    """The settings of a :class:`~chaoskit.runtime.LastGood`; its ``key`` is a function."""

    max_age: float = option(above=0, unit="s")
    size: int = option(default=1024, minimum=1)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class FallbackSettings:
    """The settings of a :class:`~chaoskit.runtime.FallbackChain`; its candidates are functions."""

    on: tuple[type[Exception], ...] = (Exception,)
    minimum_quality: float | None = None
    last_good: LastGoodSettings | None = None

    def __post_init__(self) -> None:
        check(self)

    def chain(
        self, *candidates: Candidate[Any], name: str = "fallback", key: Any = None, **code: Any
    ) -> FallbackChain[Any]:
        """Make the chain of ``candidates``; calls with arguments need the last good value's ``key``."""
        last = self.last_good
        given: dict[str, Any] = {
            "on": self.on,
            "minimum_quality": self.minimum_quality,
            "last_good": None if last is None else LastGood(last.max_age, key, last.size),
            "name": name,
        }
        return FallbackChain(*candidates, **{**given, **code})


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """The settings of a :class:`~chaoskit.runtime.Recovery`; the alternative is a function, so code adds it.

    ``by`` maps a category, or a class of the taxonomy, to a step. Raises ``UsageError`` for an unknown name.
    """

    by: dict[str, RecoveryStep] = field(default_factory=dict)
    then: RecoveryStep = RecoveryStep.GIVE_UP

    def __post_init__(self) -> None:
        check(self)
        self.recovery()

    def recovery(self, **code: Any) -> Recovery:
        """Make the recovery; ``code`` adds what a file cannot express (``policy``, ``alternative``)."""
        given: dict[str, Any] = {"by": {category_named(n): s for n, s in self.by.items()}, "then": self.then}
        return Recovery(**{**given, **code})


def category_named(name: str) -> Category | type[ResilienceError]:
    """The category, or the class of the taxonomy, with that name.

    Raises:
        UsageError: there is neither.
    """
    # A category's name is in lower case and a class's is not, so that no name means both.
    if name in set(Category):
        return Category(name)
    found = getattr(taxonomy, name, None)
    if isinstance(found, type) and issubclass(found, ResilienceError):
        return found
    raise wrong("waits", name, f"one of {', '.join(Category)}, or an error class of chaoskit.runtime")
