"""The adapter through which the R, Q and A rows drive a retry of any library, and ours for our own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from chaoskit.contracts.virtual import RecordingClock

__all__ = ["FEATURES", "ChaoskitRetry", "RetryAdapter", "RetryPlan", "RetryWorld"]

FEATURES = frozenset(
    {
        "async",  # awrap works
        "budget",  # retries can be limited by a budget that callers share
        "chains",  # a condition can look through causes and groups: plan.through_causes
        "cuts",  # attempts of async functions are cut at the deadline
        "deadline",  # a total time
        "errors",  # the library has error classes, and errors() gives one of each
        "events",  # plan.on_event gets every event, including that of an exhausted budget
        "jitter",  # plan.jitter
        "listeners",  # plan.listener is called before each retry
        "hooks",  # a listener may return a context manager, held during the wait
        "predicate",  # plan.predicate decides instead of plan.on
        "refuses",  # settings are checked when the policy is made
        "retry-after",  # Retry-After of an error with response.headers is obeyed
        "seed",  # plan.seed makes the waits reproducible
        "wake",  # plan.wake ends a wait
    }
)
"""What a retry may offer beyond the minimum. A row that needs more does not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlan:
    """The policy that a row asks for. Wait n is ``initial`` × ``factor`` ** n seconds, at most ``cap``.

    Each wait is multiplied by a random factor from the range ``jitter``, and stays at most ``cap``. An
    adapter lists the ranges that its library offers in ``jitters``.
    """

    on: tuple[type[BaseException], ...] = (ConnectionError,)
    predicate: Callable[[BaseException], bool] | None = None
    through_causes: bool = False
    attempts: Any = 3
    initial: Any = 1.0
    factor: float = 2.0
    cap: float = 60.0
    jitter: tuple[float, float] = (1.0, 1.0)
    deadline: float | None = None
    seed: int | None = None
    listener: Callable[[], Any] | None = None
    on_event: Callable[[str], None] | None = None
    wake: threading.Event | None = None
    budget: Any = None
    retry_after_cap: float = 30.0


class RetryWorld(Protocol):
    """The time of one example, which policies must use."""

    clock: RecordingClock


class RetryAdapter(Protocol):
    """One implementation under test."""

    name: str
    features: frozenset[str]
    jitters: tuple[tuple[float, float], ...]

    def world(self) -> AbstractContextManager[RecordingClock]:
        """The time of one example; its policies are created and used within the block."""

    def wrap(self, fn: Callable[..., Any], plan: RetryPlan) -> Callable[..., Any]:
        """``fn``, synchronous, retried by the plan. Raises the library's own error for what it refuses."""

    def awrap(self, fn: Callable[..., Any], plan: RetryPlan) -> Callable[..., Any]:
        """``fn``, a coroutine function, retried by the plan (feature ``async``)."""

    def budget(self, *, floor: int, ratio: float, window: float, cap: int) -> Any:
        """A budget for ``plan.budget`` (feature ``budget``)."""

    def balance(self, budget: Any) -> int:
        """The number of retries that the budget has left."""

    def errors(self) -> list[BaseException]:
        """One error of each class that the library itself raises."""


class ChaoskitRetry:
    """The adapter for :func:`chaoskit.runtime.retry`. Subclass it to test a variant."""

    name = "chaoskit"
    features = FEATURES
    jitters: tuple[tuple[float, float], ...] = ((1.0, 1.0), (0.0, 1.0), (0.5, 1.0), (0.8, 1.2))

    def __init__(self) -> None:
        self.clock = RecordingClock()

    @contextmanager
    def world(self) -> Iterator[RecordingClock]:
        self.clock = RecordingClock()
        yield self.clock

    def wrap(self, fn: Callable[..., Any], plan: RetryPlan) -> Callable[..., Any]:
        wrapped: Callable[..., Any] = self.policy(plan)(fn)
        return wrapped

    def awrap(self, fn: Callable[..., Any], plan: RetryPlan) -> Callable[..., Any]:
        from chaoskit.runtime.calling.callables import is_async

        policy = self.policy(plan)
        if is_async(fn):
            wrapped: Callable[..., Any] = policy(fn)
            return wrapped
        return partial(policy.acall, fn)

    def policy(self, plan: RetryPlan) -> Any:
        """Our policy for ``plan``."""
        from chaoskit.runtime import Exponential, Jitter, retry

        listener: Callable[[], Any] = plan.listener or (lambda: None)
        return retry(
            on=self.condition(plan),
            attempts=plan.attempts,
            wait=Exponential(plan.initial, cap=plan.cap, factor=plan.factor, jitter=Jitter(*plan.jitter)),
            deadline=plan.deadline,
            retry_after_cap=plan.retry_after_cap,
            budget=plan.budget,
            listeners=tuple(_listeners(plan)),
            hooks=() if plan.listener is None else (lambda event: listener(),),
            clock=self.clock,
            random=random.Random(plan.seed),
            wake=plan.wake,
        )

    def condition(self, plan: RetryPlan) -> Any:
        """The condition of ``plan`` as our ``on``."""
        from chaoskit.runtime import Classifier

        if plan.through_causes:
            return Classifier()
        return plan.on if plan.predicate is None else plan.predicate

    def budget(self, *, floor: int, ratio: float, window: float, cap: int) -> Any:
        from chaoskit.runtime import RetryBudget

        return RetryBudget(floor=floor, ratio=ratio, window=window, cap=cap, clock=self.clock)

    def balance(self, budget: Any) -> int:
        left: int = budget.balance()
        return left

    def errors(self) -> list[BaseException]:
        from chaoskit.runtime.failures import taxonomy

        classes = (getattr(taxonomy, name) for name in taxonomy.__all__)
        errors = [c for c in classes if isinstance(c, type) and issubclass(c, taxonomy.ResilienceError)]
        # With a lock, which cannot be pickled: an error must survive even if its context holds one.
        single = [
            c("lost", context={"lock": threading.Lock()}) for c in errors if c is not taxonomy.PartialFailure
        ]
        # An ExceptionGroup, whose constructor also takes a list of errors.
        return [*single, taxonomy.PartialFailure("some", [ValueError("one")])]


def _listeners(plan: RetryPlan) -> Iterator[Callable[[Any], Any]]:
    if plan.on_event is not None:
        tell = plan.on_event
        yield lambda event: tell(event.name)
