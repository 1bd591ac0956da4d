"""How the B rows drive a circuit breaker, whoever wrote it: what an adapter provides, and ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from chaoskit.runtime.clock import VirtualClock

Edge = tuple[str, str]
"""Two of ``closed``, ``open`` and ``half-open``: before and after."""

FEATURES = frozenset(
    {
        "async",  # acall works
        *(["fork"] if hasattr(os, "fork") else []),  # the platform has it
        "ignore",  # some errors can be excluded
        "ignore-classes",  # by naming their classes
        "listeners",  # edges are told to a listener
        "probes",  # the number of half-open probes can be set
        "strict-probes",  # one failed probe is enough to open again
        "shared",  # state can be kept in a store
        "time-window",  # a failure rate over the last seconds
        "window",  # a failure rate over the last calls
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The breaker that a row asks for; times in seconds.

    With ``window_calls`` or ``window_seconds`` the breaker trips by ``failure_rate`` alone, else by
    ``failures`` in a row alone. ``hang_limit`` is how long a probe may take; an adapter without such a
    setting ignores it.
    """

    failures: Any = 3
    open_for: Any = 10.0
    probes: Any = 1
    hang_limit: Any = 20.0
    ignore: tuple[type[BaseException], ...] = ()
    window_calls: int | None = None
    window_seconds: float | None = None
    failure_rate: float = 0.5
    minimum_calls: int = 1
    on_edge: Callable[[Edge], None] | None = None


class Subject(Protocol):
    """One breaker under test."""

    def call(self, fn: Callable[[], Any]) -> Any:
        """Call ``fn`` through the breaker."""

    def acall(self, fn: Callable[[], Any]) -> Any:
        """Return an awaitable that awaits async ``fn`` through the breaker (feature ``async``)."""

    def is_rejection(self, error: BaseException) -> bool:
        """Whether ``error`` says that a call was not let through."""

    def totals(self) -> tuple[int, int] | None:
        """Calls and failures in the window, or None if the breaker does not tell."""

    @property
    def raw(self) -> object:
        """The breaker itself, to measure its memory."""


class World(Protocol):
    """The time that the subjects of one example see."""

    def advance(self, seconds: float) -> None:
        """Let time go by on every clock."""

    def step(self, seconds: float) -> None:
        """Move the wall clock alone."""


class StoreDouble(Protocol):
    """What a shared store of a row does on every operation: count it, then fail, hang or work."""

    def touch(self) -> None:
        """To be called by the adapter's store before each operation."""


class Adapter(Protocol):
    """One implementation under test. ``lacks`` gives, for features it has not, a word on why."""

    name: str
    features: frozenset[str]
    patience: float
    recovery: float | None
    """Seconds in which a hung probe must have been given up; None for hang limit and open period."""

    def world(self) -> AbstractContextManager[World]:
        """The time for one example; subjects are made and used inside."""

    def make(self, plan: Plan) -> Subject:
        """A new breaker; raises what the library raises for settings that it refuses."""

    def make_shared(self, plan: Plan, store: StoreDouble) -> AbstractContextManager[Subject]:
        """The same with its state in a store (feature ``shared``)."""


class ChaoskitBreaker:
    """Adapter of :class:`chaoskit.runtime.CircuitBreaker`; subclass it to test a subclass."""

    name = "chaoskit"
    features = FEATURES
    patience = 5.0
    recovery: float | None = None
    breaker: ClassVar[Any] = None

    def __init__(self) -> None:
        self.clock = VirtualClock()

    @contextmanager
    def world(self) -> Iterator[World]:
        self.clock = VirtualClock()
        yield self.clock

    def settings(self, plan: Plan) -> dict[str, Any]:
        """The keyword arguments that ``plan`` means for our breaker."""
        by_rate = plan.window_calls is not None or plan.window_seconds is not None
        return {
            "failures": None if by_rate else plan.failures,
            "open_for": plan.open_for,
            "probes": plan.probes,
            "hang_limit": plan.hang_limit,
            "ignore": plan.ignore,
            "window_calls": plan.window_calls,
            "window_seconds": plan.window_seconds,
            "failure_rate": plan.failure_rate if by_rate else None,
            "minimum_calls": plan.minimum_calls if by_rate else 1,
            "clock": self.clock,
            "listeners": () if plan.on_edge is None else (_edges_to(plan.on_edge),),
        }

    def make(self, plan: Plan) -> Subject:
        return _Ours(self.create(**self.settings(plan)))

    @contextmanager
    def make_shared(self, plan: Plan, store: StoreDouble) -> Iterator[Subject]:
        from chaoskit.runtime.breaker import BreakerLink

        link = BreakerLink(_Store(store), every=0.001)
        try:
            yield _Ours(self.create(shared=link, **self.settings(plan)))
        finally:
            link.close(0)

    def create(self, **settings: Any) -> Any:
        """Make the breaker; overridden to test another class."""
        from chaoskit.runtime import CircuitBreaker

        return CircuitBreaker(**settings)


class _Ours:
    """Our breaker as a subject."""

    def __init__(self, breaker: Any) -> None:
        self.raw = breaker

    def call(self, fn: Callable[[], Any]) -> Any:
        return self.raw.call(fn)

    def acall(self, fn: Callable[[], Any]) -> Any:
        return self.raw(fn)()

    def is_rejection(self, error: BaseException) -> bool:
        from chaoskit.runtime.failures.taxonomy import BreakerOpen

        return isinstance(error, BreakerOpen)

    def totals(self) -> tuple[int, int] | None:
        window = self.raw.machine.window
        return None if window is None else (window.calls, window.failures)


class _Store:
    """A store for breakers that does what the row's double says."""

    def __init__(self, double: StoreDouble) -> None:
        self._touch = double.touch

    def publish(self, breaker: str, open_for: float | None, origin: str) -> int:
        self._touch()
        return 1

    def read(self, breaker: str) -> None:
        self._touch()


def _edges_to(on_edge: Callable[[Edge], None]) -> Callable[[Any], None]:
    def listen(event: Any) -> None:
        if event.name == "breaker.changed":
            on_edge((str(event.before), str(event.after)))

    return listen
