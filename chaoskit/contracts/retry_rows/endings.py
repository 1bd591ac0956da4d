"""How a retried call ends, and what it leaves: limits, stops, deadlines, errors, arguments, threads."""

from __future__ import annotations

import gc
import math
import threading
import time
import weakref
from collections.abc import Callable
from ctypes import c_ulong, py_object, pythonapi
from functools import partial
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows.doubles import (
    LIMITS,
    SECONDS,
    SMALL,
    Failing,
    eager,
    function,
    outcome,
    shows,
)

__all__ = ["ENDINGS"]


def bounded(adapter: RetryAdapter, attempts: int) -> None:
    """R4: never more calls than attempts; zero and negative numbers are refused, or mean one."""
    with adapter.world():
        # Sixty, not infinite: with a library that takes 0 for "no limit" the call would never end.
        backend = Failing(60)
        try:
            wrapped = adapter.wrap(function(backend), RetryPlan(attempts=attempts))
        except Exception:
            demand(attempts < 1, f"attempts={attempts} was refused")
            return
        outcome(wrapped)
        demand(backend.calls <= max(1, attempts), f"{backend.calls} calls with attempts={attempts}")
        demand(attempts < 1 or backend.calls == attempts, f"{backend.calls} calls with attempts={attempts}")


_STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit)


def stops(adapter: RetryAdapter, example: tuple[int, bool, int]) -> None:
    """R5: a request to stop the program is never retried, even if the condition accepts everything."""
    # A predicate that accepts everything is the usual mistake: on=lambda e: True.
    which, by_predicate, failures = example
    by_predicate = by_predicate and "predicate" in adapter.features
    plan = RetryPlan(
        on=(Exception,), predicate=(lambda error: True) if by_predicate else None, attempts=failures + 3
    )

    def error(number: int) -> BaseException:
        return _STOPS[which](number) if number == failures + 1 else ConnectionError(number)

    with adapter.world():
        backend = Failing(math.inf, error)
        kind, raised = outcome(adapter.wrap(function(backend), plan))
        demand(
            kind == "error" and type(raised) is _STOPS[which],
            f"{raised!r} instead of {_STOPS[which].__name__}",
        )
        demand(backend.calls == failures + 1, f"called again after {_STOPS[which].__name__}")


def original(adapter: RetryAdapter, attempts: int) -> None:
    """R7: the caller sees the last error, with its cause; earlier errors are not chained to it."""
    errors: list[BaseException] = []

    def backend() -> None:
        cause = LookupError(len(errors))
        errors.append(ConnectionError(len(errors)))
        raise errors[-1] from cause

    with adapter.world():
        _, raised = outcome(adapter.wrap(backend, RetryPlan(attempts=attempts)))
        demand(
            isinstance(raised, BaseException) and shows(raised, errors[-1]),
            f"{raised!r} hides {errors[-1]!r}",
        )
        demand(isinstance(errors[-1].__cause__, LookupError), f"the cause became {errors[-1].__cause__!r}")
        # Calling again inside the except block sets __context__. Then each error keeps all earlier ones
        # alive, with their frames and everything in these.
        links = _reachable(errors[-1])
        demand(not links & {id(e) for e in errors[:-1]}, f"error {attempts} has the earlier ones as context")


def _reachable(error: BaseException) -> set[int]:
    """The identities of all errors that can be reached by causes and contexts."""
    found: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if id(link) not in found:
            found.add(id(link))
            waiting += [e for e in (link.__context__, link.__cause__) if e is not None]
    return found - {id(error)}


class _Argument:
    """Supports weak references, which plain objects do not."""


def released(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R8: when a call has ended, by a value or an error, reference counts alone free its arguments."""
    failures, attempts = example
    with adapter.world():
        wrapped = adapter.wrap(function(Failing(failures)), RetryPlan(attempts=attempts, initial=0.0))
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            argument = _Argument()
            watch = weakref.ref(argument)
            # The outcome is not kept, since the traceback of an error rightly holds the arguments.
            outcome(wrapped, argument)
            del argument
            alive = watch() is not None
        finally:
            if was_enabled:
                gc.enable()
        demand(not alive, "an argument waits for the collector: a cycle holds it")


def threads(adapter: RetryAdapter, failures: list[int]) -> None:
    """R10: threads that share a decorated function get their own results, and only their own errors."""
    with adapter.world():
        left = dict(enumerate(failures))
        # The backend is shared too. Without the lock the row would test the backend's own race.
        lock = threading.Lock()

        def backend(caller: int) -> int:
            with lock:
                left[caller] -= 1
                fail = left[caller] >= 0
            if fail:
                raise ConnectionError(caller)
            return caller

        wrapped = adapter.wrap(backend, RetryPlan(attempts=3, initial=0.0))
        # Without it the first thread would often end before the last one starts.
        barrier = threading.Barrier(len(failures))
        got: dict[int, tuple[str, Any]] = {}

        def body(caller: int) -> None:
            barrier.wait()
            got[caller] = outcome(wrapped, caller)

        workers = [threading.Thread(target=body, args=(caller,), daemon=True) for caller in left]
        with eager():
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(20)
        for caller, count in enumerate(failures):
            kind, what = got.get(caller, ("hangs", None))
            if count < 3:
                demand(
                    (kind, what) == ("value", caller),
                    f"thread {caller} with {count} failures got {kind} {what!r}",
                )
            else:
                demand(kind == "error" and _raiser(what) == caller, f"thread {caller} got {kind} {what!r}")


def _raiser(error: BaseException) -> object:
    """The argument of the ConnectionError that ``error`` is, or that is one of its causes."""
    while not isinstance(error, ConnectionError):
        if error.__cause__ is None:
            return error
        error = error.__cause__
    return error.args[0]


def in_time(adapter: RetryAdapter, example: tuple[float, list[float], float]) -> None:
    """R11: no attempt starts after the deadline, and no wait begins that would end after it."""
    deadline, costs, initial = example
    with adapter.world() as clock:
        begun = clock.monotonic()
        starts: list[float] = []

        def backend() -> None:
            starts.append(clock.monotonic() - begun)
            # A library without deadlines would otherwise use up all 50 attempts.
            if starts[-1] < deadline * 10:
                clock.advance(costs[(len(starts) - 1) % len(costs)])
            raise ConnectionError

        plan = RetryPlan(attempts=50, deadline=deadline, initial=initial, factor=1.0, cap=initial)
        outcome(adapter.wrap(backend, plan))
        # 10 µs for libraries that measure the deadline on a coarser clock than ours.
        late = [start for start in starts if start > deadline + 1e-5]
        demand(not late, f"an attempt started at {late[:1]} s, the deadline was {deadline} s")
        ended = starts[-1] + costs[(len(starts) - 1) % len(costs)]
        waited = clock.monotonic() - begun - ended
        demand(waited <= 1e-6, f"it waited {waited} s at the end for an attempt that never came")


@st.composite
def _webs(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Edges between a few errors: causes, contexts and membership of a group, cycles included."""
    edge = st.tuples(st.sampled_from(["cause", "context", "both"]), st.integers(0, 4), st.integers(0, 4))
    return draw(st.lists(edge, max_size=8))


def terminates(adapter: RetryAdapter, edges: list[tuple[str, int, int]]) -> None:
    """R23: a condition that looks through causes and groups ends, even on cycles."""
    # Four and a group: enough for every kind of cycle, and few enough to read when one fails.
    errors: list[Exception] = [RuntimeError(n) for n in range(4)]
    errors.append(ExceptionGroup("some", errors[:3]))
    for kind, source, target in edges:
        if kind != "context":
            errors[source].__cause__ = errors[target]
        if kind != "cause":
            errors[source].__context__ = errors[target]

    def backend() -> None:
        raise errors[(edges[0][1] if edges else 0)]

    with adapter.world():
        wrapped = adapter.wrap(backend, RetryPlan(through_causes=True, initial=0.0))
        demand(_ends(partial(outcome, wrapped)), f"the condition never ends on the edges {edges}")


def _ends(work: Callable[[], object], seconds: float = 3.0) -> bool:
    """Return True if ``work`` ends within ``seconds`` of real time."""
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    if not worker.is_alive():
        return True
    # A thread cannot be stopped from outside, but an endless loop in Python can be made to raise. If it went
    # on it would slow down all later examples.
    pythonapi.PyThreadState_SetAsyncExc(c_ulong(worker.ident or 0), py_object(SystemExit))
    worker.join(seconds)
    return False


def interrupted(adapter: RetryAdapter, after: float) -> None:
    """R25: a request to shut down ends a long wait within 50 ms of real time."""
    took = _interruption(adapter, after)
    # A busy machine may be late once; a retry that does not listen is late every time.
    for _ in range(3):
        if took <= 0.05:
            break
        took = min(took, _interruption(adapter, after))
    demand(took <= 0.05, f"the wait went on for {took:.3f} s after the request")


def _interruption(adapter: RetryAdapter, after: float) -> float:
    """Seconds from the request, made ``after`` seconds into the wait, to the end of the call."""
    from chaoskit.runtime.clock import SystemClock

    with adapter.world():
        wake = threading.Event()
        began = threading.Event()

        def backend() -> None:
            began.set()
            raise ConnectionError

        plan = RetryPlan(initial=5.0, wake=wake, attempts=2)
        # This row runs in real time, since in virtual time every wait ends at once.
        adapter.clock = SystemClock()  # type: ignore[attr-defined]
        wrapped = adapter.wrap(backend, plan)
        worker = threading.Thread(target=outcome, args=(wrapped,), daemon=True)
        worker.start()
        began.wait(5)
        time.sleep(after)
        asked_at = time.monotonic()
        wake.set()
        worker.join(1.0)
        return time.monotonic() - asked_at


ENDINGS = (
    Row("R4", "never more calls than attempts", bounded, st.integers(-3, 12)),
    Row(
        "R5",
        "Ctrl-C, exit and close are never retried",
        stops,
        st.tuples(st.integers(0, 2), st.booleans(), SMALL),
    ),
    Row("R7", "the last original error is shown, and no chain grows", original, LIMITS),
    Row("R8", "no argument waits for the collector", released, st.tuples(SMALL, LIMITS)),
    Row(
        "R10",
        "threads sharing a function see only their own",
        threads,
        st.lists(SMALL, min_size=2, max_size=6),
    ),
    Row(
        "R11",
        "no attempt starts after the deadline, no wait is begun in vain",
        in_time,
        st.tuples(SECONDS, st.lists(SECONDS, min_size=1, max_size=4), SECONDS),
        frozenset({"deadline"}),
    ),
    Row("R23", "conditions terminate on cyclic chains", terminates, _webs(), frozenset({"chains"})),
    Row(
        "R25",
        "a shutdown ends a wait within 50 ms",
        interrupted,
        st.floats(0, 0.003),
        frozenset({"wake"}),
    ),
)
