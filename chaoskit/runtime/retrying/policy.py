"""A retry policy: what to retry, how often, how long to wait. Immutable, and shared as you like."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypedDict, TypeVar, Unpack

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.classifier import Classifier
from chaoskit.runtime.failures.taxonomy import Category, ResilienceError
from chaoskit.runtime.observing.events import Listener
from chaoskit.runtime.retrying.backoff import EQUAL, LONGEST_WAIT, SYSTEM, Backoff, Chance, Exponential
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.matching import Matcher, On
from chaoskit.runtime.retrying.throttle import AdaptiveThrottle

if TYPE_CHECKING:
    from chaoskit.runtime.retrying.loop import Attempt

__all__ = ["RetryOptions", "RetryPolicy", "retry"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_F = TypeVar("_F", bound=Callable[..., Any])

Repair = Callable[[BaseException], object]
Hook = Callable[[Any], AbstractContextManager[Any] | None]
Generators = Literal["refuse", "restart", "pass"]

# Half a second lets most hiccups pass; a minute is as long as anybody watches. Half of each wait is
# chance, so that clients that failed together do not come back together.
DEFAULT_WAIT = Exponential(0.5, cap=60.0, jitter=EQUAL)

_BARE = "What to retry has no default; say it: @retry(on=ConnectionError)."


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Use it as a decorator, as a loop, or call through it; the three behave alike.

    ::

        policy = RetryPolicy(on=ConnectionError)

        @policy
        def fetch(url): ...

        for attempt in policy:
            with attempt:
                fetch_once(url)

        policy.call(fetch_once, url)        # await policy.acall(...) for coroutine functions

    When it gives up it raises the last attempt's own error, unchanged. All times are seconds.

    on
        What is worth another attempt: exception classes, a :class:`~chaoskit.runtime.Category`, a
        :class:`~chaoskit.runtime.Classifier` (whatever it calls retryable), a function of the error, or
        several of these. No default.
    attempts
        How often to call in all; None for no limit. Three by default, as AWS's and Google's clients
        do: more only multiplies the load of a service that is already failing.
    wait
        The :class:`Backoff` between attempts.
    waits
        Backoffs for a category or a class of the taxonomy, instead of ``wait``.
    deadline
        Total time for all attempts and waits. Calls within inherit it. No attempt starts after it, and
        no wait begins that would not end before it. An attempt of an async function is cut at it.
    attempt_timeout
        Cuts an attempt of an async function, which is then retried. Python cannot cut a synchronous
        function, so there it is refused: pass ``chaoskit.runtime.remaining()`` to what blocks.
    on_result
        Given a result, whether to try again; at the end :class:`ResultRejected` is raised.
    retry_after_cap
        Obey a ``Retry-After`` of the other side up to this; 0 ignores it.
    repair
        A step before each further attempt, given the error (log in again, reconnect). May be a coroutine
        function for async calls. If it fails, the call ends with the attempt's error.
    quiet
        So many first failures are marked as not worth a warning.
    generators
        A call of a generator function does no work yet, so retrying it protects nothing: it is refused.
        ``"restart"`` runs the generator again from its start, which yields the first items again.
        ``"pass"`` lets a plain function return a generator.
    budget, throttle
        Shared limits: :class:`RetryBudget`, :class:`AdaptiveThrottle`.
    classifier
        Judges errors for ``waits`` and for categories in ``on``; the built-in rules by default.
    listeners, hooks
        Listeners get every event. A hook gets each ``RetryScheduled`` and may return a context manager to be
        held during the wait. What either raises is reported and changes nothing.
    clock, random, wake
        Time, chance, and an event whose setting ends every wait, and the call with it, at once.
    name
        For events and registries.
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
            ("listeners", tuple(self.listeners)),
            ("hooks", tuple(self.hooks)),
        ):
            object.__setattr__(self, name, value)

    @property
    def plain(self) -> bool:
        """Whether the first attempt needs nothing done around it."""
        around = (self.deadline, self.attempt_timeout, self.on_result, self.budget, self.throttle)
        return all(part is None for part in around)

    def __call__(self, fn: _F, /) -> _F:
        """``fn``, retried: a function of the same kind, name and signature."""
        from chaoskit.runtime.retrying.decorate import decorate

        decorated: _F = decorate(self, fn)
        return decorated

    def call(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call ``fn``, retried. For a coroutine function use :meth:`acall`."""
        from chaoskit.runtime.retrying.decorate import synchronous

        result: _R = synchronous(self, fn)(*args, **kwargs)
        return result

    async def acall(self, fn: Callable[_P, Awaitable[_R]], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Await ``fn``, retried."""
        from chaoskit.runtime.retrying.decorate import asynchronous

        result: _R = await asynchronous(self, fn)(*args, **kwargs)
        return result

    def __iter__(self) -> Iterator[Attempt]:
        """The attempts of one block of code; each has to be entered with ``with``."""
        from chaoskit.runtime.retrying.loop import attempts

        return attempts(self)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        """The same for ``async for``; its waits do not block the event loop."""
        from chaoskit.runtime.retrying.loop import async_attempts

        return async_attempts(self)

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: getattr(self, name) for name in RetryOptions.__annotations__}
        return (_rebuilt, (options,))

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
        for what in ("on_result", "repair"):
            part = getattr(self, what)
            if part is not None and not callable(part):
                raise wrong(what, part, "a function")


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


def retry(policy: RetryPolicy | None = None, /, **options: Unpack[RetryOptions]) -> RetryPolicy:
    """A policy from ``options``; with a ``policy``, that one with some options changed.

    ``@retry(on=ConnectionError)`` needs nothing else. See :class:`RetryPolicy` for the options.
    """
    if policy is None:
        if "on" not in options:
            raise UsageError(f"retry() was not told what to retry. {_BARE}")
        return RetryPolicy(**options)
    if not isinstance(policy, RetryPolicy):
        raise wrong("the argument of retry", policy, "a RetryPolicy", _BARE)
    return replace(policy, **options)


def _rebuilt(options: RetryOptions) -> RetryPolicy:
    return RetryPolicy(**options)


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
