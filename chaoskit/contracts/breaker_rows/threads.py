"""The B rows that need several threads, a store that fails, or a fork.

No check waits by sleeping. Threads report how far they have come, and something that does not happen within
the adapter's ``patience`` (seconds) counts as never happening.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.breaker_adapter import BreakerAdapter, BreakerPlan, Subject
from chaoskit.contracts.breaker_rows.doubles import (
    VALUE,
    Broken,
    answers,
    fails,
    is_let_through,
    seen,
    trip,
)
from chaoskit.contracts.report import Row, demand

_REJECTED_WITHIN = 0.001
"""Seconds within which a rejection must come: the promise of B2."""


class ParkedBackend:
    """A backend that holds its calls until :meth:`release`. Counts those inside, rejected, and returned."""

    def __init__(self, patience: float) -> None:
        self._changed = threading.Condition()
        self._go = threading.Event()
        self._patience = patience
        self.inside = 0
        self.rejected = 0
        self.out = 0

    def __call__(self) -> Any:
        with self._changed:
            self.inside += 1
            self._changed.notify_all()
        self._go.wait()
        return VALUE

    def release(self) -> None:
        """Let every call in the backend return, and every later one too."""
        self._go.set()

    def caller(self, subject: Subject) -> threading.Thread:
        """Start a thread that makes one call through ``subject``."""
        thread = threading.Thread(target=self._one, args=(subject,), daemon=True)
        thread.start()
        return thread

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Return True as soon as ``condition`` holds, or False after the patience."""
        with self._changed:
            return self._changed.wait_for(condition, self._patience)

    def _one(self, subject: Subject) -> None:
        rejected = seen(subject, self) == "rejected"
        with self._changed:
            self.rejected += rejected
            self.out += not rejected
            self._changed.notify_all()


@contextmanager
def backend(adapter: BreakerAdapter) -> Iterator[ParkedBackend]:
    """A backend that releases every call at the end, so that a failed check leaves no thread behind."""
    made = ParkedBackend(adapter.patience)
    try:
        yield made
    finally:
        made.release()


def within(patience: float, fn: Callable[[], Any], what: str) -> Any:
    """The result of ``fn``, run in a thread.

    Raises the error of ``fn``, or AssertionError if it takes longer than ``patience`` seconds.
    """
    box: list[Any] = []

    def run() -> None:
        try:
            box.append((fn(), None))
        except BaseException as error:
            box.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience)
    demand(box, f"{what} took longer than {patience} s")
    value, error = box[0]
    if error is not None:
        raise error
    return value


# -- B2 ------------------------------------------------------------------------------------------


def bounded_probes(adapter: BreakerAdapter, example: tuple[int, int]) -> None:
    """B2: in half-open at most ``probes`` callers reach the backend; all others are rejected at once."""
    probes, extra = example
    probes = probes if "probes" in adapter.features else 1
    callers = probes + extra
    with adapter.world() as world, backend(adapter) as inner:
        subject = adapter.make(BreakerPlan(failures=1, probes=probes))
        trip(subject, 1)
        world.advance(10.0)
        threads = [inner.caller(subject) for _ in range(callers)]
        decided = inner.wait(lambda: inner.inside + inner.rejected == callers)
        demand(
            inner.inside <= probes,
            f"{inner.inside} of {callers} callers reached the backend, probes={probes}",
        )
        stuck = callers - inner.inside - inner.rejected
        demand(decided, f"{stuck} of {callers} callers were neither let through nor rejected")
        demand(
            inner.inside == probes,
            f"{inner.inside} of {callers} callers reached the backend, probes={probes}",
        )
        # The fastest of five, since a thread that was not scheduled for a while says nothing about the
        # breaker.
        took = min(_rejection_time(subject) for _ in range(5))
        demand(took <= _REJECTED_WITHIN, f"a rejection took {took * 1000:.2f} ms, the quickest of five")
        inner.release()
        for thread in threads:
            thread.join(adapter.patience)


def _rejection_time(subject: Subject) -> float:
    started = time.perf_counter()
    demand(seen(subject, answers) == "rejected", "one call more than the probes was let through")
    return time.perf_counter() - started


# -- B3 ------------------------------------------------------------------------------------------


def no_lock_held(adapter: BreakerAdapter, example: tuple[int, bool]) -> None:
    """B3: any number of callers of a closed breaker are in the backend at the same time."""
    callers, windowed = example
    plan = BreakerPlan(window_calls=10) if windowed and "window" in adapter.features else BreakerPlan()
    with adapter.world(), backend(adapter) as inner:
        subject = adapter.make(plan)
        for _ in range(callers):
            inner.caller(subject)
        together = inner.wait(lambda: inner.inside == callers)
        demand(together, f"only {inner.inside} of {callers} callers were in the backend at the same time")


# -- B7 ------------------------------------------------------------------------------------------


def hung_probe(adapter: BreakerAdapter, example: tuple[int, float]) -> None:
    """B7: after the hang limit a new probe is let through, even if all earlier ones still hang."""
    probes, hang_limit = example
    probes = probes if "probes" in adapter.features else 1
    with adapter.world() as world, backend(adapter) as inner:
        subject = adapter.make(BreakerPlan(failures=1, probes=probes, hang_limit=hang_limit))
        trip(subject, 1)
        world.advance(10.0)
        for n in range(probes):
            inner.caller(subject)
            demand(inner.wait(lambda n=n: inner.inside == n + 1), "a probe was not let through")  # type: ignore[misc]
        world.advance(hang_limit + 10.0 if adapter.recovery is None else adapter.recovery)
        again = within(adapter.patience, lambda: is_let_through(subject), "a call after the hang limit")
        demand(again, f"{probes} hung probes keep every call out")


# -- B14 -----------------------------------------------------------------------------------------


class FaultyStore:
    """A store double that raises, hangs, or works, and records which threads have used it."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.users: list[int] = []
        self.used = threading.Event()
        self.let_go = threading.Event()

    def touch(self) -> None:
        """Count the operation; raises OSError in mode ``fails``, waits for ``let_go`` in mode ``hangs``."""
        self.users.append(threading.get_ident())
        self.used.set()
        if self.mode == "fails":
            raise OSError("the store is down")
        if self.mode == "hangs":
            self.let_go.wait()


def store_trouble(adapter: BreakerAdapter, example: tuple[str, int]) -> None:
    """B14: a store that fails or hangs changes nothing for callers; healthy calls do no I/O."""
    mode, failures = example
    store = FaultyStore(mode)
    # The breaker may use its store while it is constructed, so the trouble begins after that.
    store.mode = "works"
    with adapter.world() as world, adapter.make_shared(BreakerPlan(failures=failures), store) as subject:
        store.mode = mode
        try:
            within(
                adapter.patience, lambda: _healthy(subject, store), f"a healthy call, while the store {mode},"
            )
            log = within(
                adapter.patience, lambda: _tripped(subject, failures), f"tripping, while the store {mode},"
            )
            demand(log == ["error"] * failures + ["rejected"], f"while the store {mode}, callers saw {log}")
            world.advance(10.0)
            probe = within(
                adapter.patience, lambda: seen(subject, answers), f"a probe, while the store {mode},"
            )
            demand(probe == "value", f"while the store {mode}, a probe saw {probe}")
        finally:
            store.let_go.set()


def _healthy(subject: Subject, store: FaultyStore) -> None:
    me = threading.get_ident()
    for _ in range(20):
        saw = seen(subject, answers)
        demand(saw == "value", f"a healthy call saw {saw}")
    demand(me not in store.users, f"20 healthy calls made {store.users.count(me)} store operations")


def _tripped(subject: Subject, failures: int) -> list[str]:
    try:
        return [seen(subject, fails(Broken())) for _ in range(failures + 1)]
    except OSError as error:
        if isinstance(error, Broken):
            raise
        raise AssertionError(f"a caller saw the store's error: {error!r}") from error


# -- B15 -----------------------------------------------------------------------------------------


def survives_fork(adapter: BreakerAdapter, example: tuple[int, bool]) -> None:
    """B15: a child forked while other threads are in calls can call through the breaker."""
    hammering, windowed = example
    plan = (
        BreakerPlan(window_calls=10, minimum_calls=10)
        if windowed and "window" in adapter.features
        else BreakerPlan()
    )
    with adapter.world(), backend(adapter) as inner:
        subject = adapter.make(plan)
        # One call that is certainly inside, and others that may hold any lock at the moment of the fork.
        parked = inner.caller(subject)
        demand(inner.wait(lambda: inner.inside == 1), "a call was not let through")
        stop = threading.Event()
        threads = [threading.Thread(target=_hammer, args=(subject, stop)) for _ in range(hammering)]
        for thread in threads:
            thread.start()
        try:
            verdict = _in_child(lambda: seen(subject, answers), adapter.patience)
        finally:
            stop.set()
            inner.release()
            for thread in threads:
                thread.join(adapter.patience)
            parked.join(adapter.patience)
        demand(
            verdict == 0, f"a call in a forked child {'hung' if verdict is None else f'ended with {verdict}'}"
        )


def _hammer(subject: Subject, stop: threading.Event) -> None:
    """Call through the breaker, with and without errors, until ``stop`` is set."""
    backends = (answers, answers, fails(KeyError()))
    while not stop.is_set():
        for one in backends:
            try:
                subject.call(one)
            except Exception:
                pass


def _in_child(fn: Callable[[], object], patience: float) -> int | None:
    """Run ``fn`` in a forked child; return its exit status, or None if it hung (and was killed)."""
    with warnings.catch_warnings():
        # CPython warns of forking beside threads, which is exactly what this row tests.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if fn() in ("value", "rejected") else 2
        finally:
            # Not sys.exit: the child must not run the exit handlers of the test runner.
            os._exit(status)
    return _reap(child, patience)


def _reap(child: int, patience: float) -> int | None:
    """The exit status of ``child``, or None if it had to be killed."""
    box: list[int] = []
    waiter = threading.Thread(target=lambda: box.append(os.waitpid(child, 0)[1]), daemon=True)
    waiter.start()
    waiter.join(patience)
    if not box:
        os.kill(child, signal.SIGKILL)
        waiter.join()
        return None
    return os.waitstatus_to_exitcode(box[0])


def often(*parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Tuples of ``parts``, with repetitions, since threads meet differently each time."""
    # Hypothesis does not repeat an example. The number makes equal ones different.
    return st.tuples(st.tuples(*parts), st.integers(0, 100_000)).map(lambda pair: pair[0])


THREADED: tuple[Row, ...] = (
    Row(
        "B2",
        "Half-open: at most N probes reach the backend; the rest are rejected within 1 ms.",
        bounded_probes,
        often(st.integers(1, 3), st.integers(1, 5)),
    ),
    Row(
        "B3",
        "No lock is held across user code.",
        no_lock_held,
        often(st.integers(2, 5), st.booleans()),
    ),
    Row(
        "B7",
        "A hung probe cannot hold half-open forever.",
        hung_probe,
        often(st.integers(1, 3), st.sampled_from([0.5, 20.0, 3600.0])),
    ),
    Row(
        "B14",
        "A failing or slow shared store degrades to local and never raises into the call; "
        "healthy calls do no store I/O.",
        store_trouble,
        often(st.sampled_from(["works", "fails", "hangs"]), st.integers(1, 4)),
        needs=frozenset({"shared"}),
    ),
    Row(
        "B15",
        "Survives fork: a child never inherits a held lock.",
        survives_fork,
        often(st.integers(0, 2), st.booleans()),
        needs=frozenset({"fork"}),
    ),
)
