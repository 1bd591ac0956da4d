"""The adapter through which the B rows drive a circuit breaker of any library, and ours for our own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from chaoskit.runtime.clock import VirtualClock

Edge = tuple[str, str]
"""The states before and after a change: two of ``closed``, ``open`` and ``half-open``."""

FEATURES = frozenset(
    {
        "async",  # acall works
        *(["fork"] if hasattr(os, "fork") else []),  # the platform can fork
        "ignore",  # some errors can be excluded
        "ignore-classes",  # ... by naming their classes
        "listeners",  # a listener is told every change of state
        "probes",  # the number of half-open probes can be set
        "strict-probes",  # one failed probe is enough to open again
        "shared",  # state can be kept in a store
        "time-window",  # trips by the failure rate over the last seconds
        "window",  # trips by the failure rate over the last calls
    }
)
"""What a breaker may offer beyond the minimum. A row that needs more does not apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPlan:
    """The breaker that a row asks for. Times are in seconds.

    With ``window_calls`` or ``window_seconds`` the breaker opens by ``failure_rate`` only, otherwise by
    ``failures`` in a row only. ``hang_limit`` is how long a probe may take; an adapter ignores it if its
    library has no such setting. ``failures``, ``open_for`` and ``probes`` may be zero or None in B9.
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
        """Return True if ``error`` means that the breaker rejected the call."""

    def totals(self) -> tuple[int, int] | None:
        """Calls and failures in the window, or None if the breaker does not report them."""

    @property
    def raw(self) -> object:
        """The breaker itself, whose memory is measured."""


class BreakerWorld(Protocol):
    """The clocks that the subjects of one example use."""

    def advance(self, seconds: float) -> None:
        """Let time pass, on every clock."""

    def step(self, seconds: float) -> None:
        """Move the wall clock alone by ``seconds``, back if that is negative."""


class StoreDouble(Protocol):
    """A shared store's behaviour in a row: each operation is counted, then fails, hangs or works."""

    def touch(self) -> None:
        """Called by the adapter's store before each operation. Its errors must be passed on."""


class BreakerAdapter(Protocol):
    """One implementation under test. ``patience`` is how many real seconds a row waits for a thread."""

    name: str
    features: frozenset[str]
    patience: float
    recovery: float | None
    """Virtual seconds after which a hung probe is written off; None: hang limit plus open period."""

    def world(self) -> AbstractContextManager[BreakerWorld]:
        """The time of one example; its subjects are created and used within the block."""

    def make(self, plan: BreakerPlan) -> Subject:
        """A new breaker. Raises the library's own error for settings that it refuses."""

    def make_shared(self, plan: BreakerPlan, store: StoreDouble) -> AbstractContextManager[Subject]:
        """As ``make``, with its state in a store (feature ``shared``) until the block ends."""


class ChaoskitBreaker:
    """The adapter for :class:`chaoskit.runtime.CircuitBreaker`. Subclass it to test a subclass."""

    name = "chaoskit"
    features = FEATURES
    patience = 5.0
    recovery: float | None = None
    breaker: ClassVar[Any] = None

    def __init__(self) -> None:
        self.clock = VirtualClock()

    @contextmanager
    def world(self) -> Iterator[BreakerWorld]:
        self.clock = VirtualClock()
        yield self.clock

    def settings(self, plan: BreakerPlan) -> dict[str, Any]:
        """``plan`` as keyword arguments of our breaker."""
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

    def make(self, plan: BreakerPlan) -> Subject:
        return _Ours(self.create(**self.settings(plan)))

    @contextmanager
    def make_shared(self, plan: BreakerPlan, store: StoreDouble) -> Iterator[Subject]:
        from chaoskit.runtime import BreakerLink

        # Every millisecond: the row is about what the link does, not about how often.
        link = BreakerLink(_TouchedStore(store), every=0.001)
        try:
            yield _Ours(self.create(shared=link, **self.settings(plan)))
        finally:
            link.close(0)

    def create(self, **settings: Any) -> Any:
        """Create the breaker. Override this to test another class."""
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


class _TouchedStore:
    """A store for our breakers that behaves as the row's double does."""

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
