"""Adapters of well-known circuit breakers for the B rows.

Each is used as its documents say, with its defaults where a row does not ask for another setting.
Time is injected where the library allows it; else the name that it reads the time by is replaced.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from unittest.mock import patch

from chaoskit.contracts.breaker import BreakerPlan, Subject
from chaoskit.contracts.breaker_adapter import BreakerWorld, Edge, StoreDouble
from chaoskit.runtime.clock import VirtualClock

LONG = 10 * 365 * 86400.0
"""Seconds in which any library must have given up a hung probe that ever does."""


class Peer:
    """What all these adapters share: virtual time, put in place of ``time_names``."""

    name = ""
    package = ""
    features: frozenset[str] = frozenset({"fork"})
    patience = 0.3
    recovery: float | None = LONG

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.module = importlib.import_module(self.package or self.name)

    def time_names(self) -> dict[str, Any]:
        """Dotted names that the library reads the time by, and what to put there."""
        return {}

    @contextmanager
    def world(self) -> Iterator[BreakerWorld]:
        self.clock = VirtualClock(start=1000.0)
        patches = [patch(name, value) for name, value in self.time_names().items()]
        for one in patches:
            one.start()
        try:
            yield self.clock
        finally:
            for one in patches:
                one.stop()

    def make(self, plan: BreakerPlan) -> Subject:
        raise NotImplementedError

    @contextmanager
    def make_shared(self, plan: BreakerPlan, store: StoreDouble) -> Iterator[Subject]:
        raise NotImplementedError
        yield


class PeerSubject:
    """A peer's breaker as a subject."""

    def __init__(
        self,
        raw: Any,
        call: Callable[[Any], Any],
        rejection: type[BaseException],
        acall: Callable[[Any], Any] | None = None,
        totals: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self.raw = raw
        self.call = call
        self.acall = acall or call
        self._rejection = rejection
        self._totals = totals

    def is_rejection(self, error: BaseException) -> bool:
        return isinstance(error, self._rejection)

    def totals(self) -> tuple[int, int] | None:
        return None if self._totals is None else self._totals()


def virtual_datetime(clock: VirtualClock) -> type[datetime]:
    """A ``datetime`` class that tells the virtual wall clock's time."""

    class Virtual(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(clock.time(), tz)

        @classmethod
        def utcnow(cls) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(clock.time(), UTC).replace(tzinfo=None)

    return Virtual


def listener_of(base: type, on_edge: Callable[[Edge], None], text: Callable[[Any], str]) -> Any:
    """A listener of the pybreaker kind that tells edges."""

    class Listener(base):  # type: ignore[misc]
        def state_change(self, cb: Any, old: Any, new: Any) -> None:
            on_edge((text(old), text(new)))

    return Listener()


class Pybreaker(Peer):
    """pybreaker. ``throw_new_error_on_trip`` is off, but for the row that is about it."""

    name = "pybreaker"
    features = frozenset({"fork", "ignore", "ignore-classes", "listeners", "shared", "strict-probes"})
    throw_new_error_on_trip = False

    def time_names(self) -> dict[str, Any]:
        return {"pybreaker.datetime": virtual_datetime(self.clock)}

    def make(self, plan: BreakerPlan, storage: Any = None) -> Subject:
        module = self.module
        listeners = []
        if plan.on_edge is not None:
            listeners = [listener_of(module.CircuitBreakerListener, plan.on_edge, lambda state: state.name)]
        breaker = module.CircuitBreaker(
            fail_max=plan.failures,
            reset_timeout=plan.open_for,
            success_threshold=plan.probes,
            exclude=plan.ignore,
            listeners=listeners,
            state_storage=storage,
            throw_new_error_on_trip=self.throw_new_error_on_trip,
        )
        return PeerSubject(breaker, breaker.call, module.CircuitBreakerError)

    @contextmanager
    def make_shared(self, plan: BreakerPlan, store: StoreDouble) -> Iterator[Subject]:
        yield self.make(plan, storing(self.module.CircuitMemoryStorage, self.module.STATE_CLOSED, store))


class PybreakerAsItComes(Pybreaker):
    """pybreaker with all its defaults."""

    throw_new_error_on_trip = True


def storing(memory: type, closed: Any, store: StoreDouble) -> Any:
    """A storage of the pybreaker kind that asks ``store`` before every operation."""

    class Storing(memory):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name in {"state", "counter", "increment_counter", "reset_counter", "opened_at"}:
                store.touch()
            return super().__getattribute__(name)

    return Storing(closed)


class Aiobreaker(Peer):
    """aiobreaker, by its sync and its async call."""

    name = "aiobreaker"
    features = frozenset(
        {"async", "fork", "ignore", "ignore-classes", "listeners", "shared", "strict-probes"}
    )

    def time_names(self) -> dict[str, Any]:
        virtual = virtual_datetime(self.clock)
        return {"aiobreaker.circuitbreaker.datetime": virtual, "aiobreaker.state.datetime": virtual}

    def make(self, plan: BreakerPlan, storage: Any = None) -> Subject:
        module = self.module
        listeners = []
        if plan.on_edge is not None:
            text = {"OPEN": "open", "CLOSED": "closed", "HALF_OPEN": "half-open"}
            listeners = [
                listener_of(module.CircuitBreakerListener, plan.on_edge, lambda state: text[state.state.name])
            ]
        breaker = module.CircuitBreaker(
            fail_max=plan.failures,
            timeout_duration=None if plan.open_for is None else timedelta(seconds=plan.open_for),
            exclude=plan.ignore,
            listeners=listeners,
            state_storage=storage,
        )
        return PeerSubject(breaker, breaker.call, module.CircuitBreakerError, breaker.call_async)

    @contextmanager
    def make_shared(self, plan: BreakerPlan, store: StoreDouble) -> Iterator[Subject]:
        memory = importlib.import_module("aiobreaker.storage.memory").CircuitMemoryStorage
        yield self.make(plan, storing(memory, self.module.CircuitBreakerState.CLOSED, store))


class Circuitbreaker(Peer):
    """circuitbreaker; errors are left out by the predicate that it takes for that."""

    name = "circuitbreaker"
    features = frozenset({"async", "fork", "ignore", "strict-probes"})

    def time_names(self) -> dict[str, Any]:
        return {"circuitbreaker.monotonic": self.clock.monotonic}

    def make(self, plan: BreakerPlan) -> Subject:
        def counts(kind: type[BaseException], error: BaseException) -> bool:
            return issubclass(kind, Exception) and not issubclass(kind, plan.ignore)

        breaker = self.module.CircuitBreaker(
            failure_threshold=plan.failures,
            recovery_timeout=plan.open_for,
            expected_exception=counts if plan.ignore else None,
            name="peer",
        )
        return PeerSubject(breaker, lambda fn: breaker(fn)(), self.module.CircuitBreakerError)


class Interlock(Peer):
    """interlock (``interlock-cb``); n failures in a row are a rate of 100 % in a window of n calls."""

    name = "interlock"
    features = frozenset({"async", "fork", "ignore", "listeners", "probes", "time-window", "window"})

    def make(self, plan: BreakerPlan) -> Subject:
        module = self.module
        timed = plan.window_seconds is not None
        size = plan.window_seconds if timed else plan.window_calls
        if timed and size != int(size):
            raise ValueError("windows are whole seconds here")
        config = module.Config(
            failure_rate_threshold=1.0 if size is None else plan.failure_rate,
            minimum_number_of_calls=plan.failures if size is None else plan.minimum_calls,
            window_size=plan.failures if size is None else int(size),
            window_type=module.WindowType.TIME_BASED if timed else module.WindowType.COUNT_BASED,
            wait_duration_in_open=plan.open_for,
            permitted_calls_in_half_open=plan.probes,
            max_concurrent_probes=plan.probes,
        )
        breaker = module.CircuitBreaker(
            name="peer",
            config=config,
            clock=self.clock,
            classifier=_Classifier(plan.ignore) if plan.ignore else None,
            listener=None if plan.on_edge is None else _Listener(plan.on_edge),
        )

        def totals() -> tuple[int, int]:
            snapshot = breaker.snapshot()
            return snapshot.total_calls, snapshot.failed_calls

        return PeerSubject(breaker, breaker.call, module.CircuitOpenError, breaker.call, totals)


class _Classifier:
    def __init__(self, ignore: tuple[type[BaseException], ...]) -> None:
        self._ignore = ignore

    def is_failure(self, *, result: object, exception: Exception | None) -> bool:
        return exception is not None and not isinstance(exception, self._ignore)


class _Listener:
    def __init__(self, on_edge: Callable[[Edge], None]) -> None:
        self._on_edge = on_edge

    def on_state_change(self, *, name: str, old: str, new: str) -> None:
        self._on_edge((old.replace("_", "-"), new.replace("_", "-")))


PEERS: tuple[type[Peer], ...] = (Pybreaker, Circuitbreaker, Aiobreaker, Interlock)
