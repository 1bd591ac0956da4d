"""Listeners and hooks of a retry: they change nothing, they nest, and they leave nothing behind."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from hypothesis import strategies as st

from chaoskit.contracts.memory import deep_size
from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows.doubles import LIMITS, SMALL, Failing, function, outcome

__all__ = ["OBSERVERS", "errors_logged", "nothing_logged"]


def harmless(adapter: RetryAdapter, example: tuple[int, int, int]) -> None:
    """R13: a listener that raises changes nothing about the call, and its failure is logged."""
    failures, attempts, which = example
    # ConnectionError is among them because it is retried: raised by a listener, it must not be.
    error = (ValueError, ConnectionError, LookupError)[which]

    def listener() -> None:
        raise error("the listener")

    with adapter.world():
        # The same function twice, without and with the listener.
        plain, noisy = Failing(failures), Failing(failures)
        expected = outcome(adapter.wrap(function(plain), RetryPlan(attempts=attempts)), "v")
        with errors_logged() as logged:
            wrapped = adapter.wrap(function(noisy), RetryPlan(attempts=attempts, listener=listener))
            got = outcome(wrapped, "v")
        demand(noisy.calls == plain.calls, f"{noisy.calls} calls instead of {plain.calls}")
        demand(got[0] == expected[0] and repr(got[1]) == repr(expected[1]), f"{got} instead of {expected}")
        demand(logged or failures == 0 or attempts == 1, "the listener's failure was logged nowhere")


@contextmanager
def errors_logged() -> Iterator[list[object]]:
    """The errors that any logger logs in the block, except our own report that a call was given up."""
    logged: list[object] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info or record.name != "chaoskit":
                logged.append(record)

    handler = Handler(logging.WARNING)
    # Ours as well as the root: a test run may have disabled it, or stopped its propagation.
    loggers = [logging.getLogger(), logging.getLogger("chaoskit")]
    before = [(logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.disabled = False
    loggers[1].propagate = False
    try:
        yield logged
    finally:
        for logger, (propagate, disabled) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate, logger.disabled = propagate, disabled


def nested(adapter: RetryAdapter, example: tuple[int, int, bool]) -> None:
    """R21: a policy that is used inside itself, or from its own listener, counts each call separately."""
    outer, inner, from_listener = example
    from_listener = from_listener and "listeners" in adapter.features
    with adapter.world():
        backend = Failing(math.inf)
        depth = 0

        def again() -> None:
            nonlocal depth
            # The inner call has the same listener, and would never end without this.
            if depth == 0:
                depth += 1
                try:
                    outcome(adapter.wrap(function(backend), replace(plan, attempts=inner)))
                finally:
                    depth -= 1

        plan = RetryPlan(attempts=outer, initial=0.0, listener=again if from_listener else None)
        # Counts the outer calls; the inner ones go to ``backend``.
        count = itertools.count(1)

        def body() -> None:
            number = next(count)
            if not from_listener:
                again()
            raise ConnectionError(number)

        outcome(adapter.wrap(body, plan))
        rounds = outer - 1 if from_listener else outer
        demand(next(count) == outer + 1, f"the outer call was not made {outer} times")
        demand(backend.calls == rounds * inner, f"{backend.calls} inner calls instead of {rounds * inner}")


_ROUNDS = 3
"""How many times in a row memory must grow to count as a leak."""


def hooks(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R22: a hook's resource is closed once, before the next one opens, in each call; nothing grows."""
    failures, attempts = example
    log: list[str] = []

    # Not a generator, since the collector would close one that the library leaves open.
    class resource:
        def __enter__(self) -> None:
            log.append("open")

        def __exit__(self, *exc: object) -> None:
            log.append("close")

    with adapter.world() as clock:
        listener = resource if "hooks" in adapter.features else None
        wrapped = adapter.wrap(
            _cycling(failures), RetryPlan(attempts=attempts, initial=0.01, listener=listener)
        )

        def call(times: int) -> int:
            """The bytes that ``wrapped`` holds after ``times`` calls, without our own records."""
            with nothing_logged():
                for _ in range(times):
                    outcome(wrapped)
            for record in (clock.calls, clock.sleeps, log):
                record.clear()
            return deep_size(wrapped)

        outcome(wrapped)
        waits = min(failures, attempts - 1)
        if listener is not None:
            demand(log == ["open", "close"] * waits, f"{log} for {waits} waits")
        # Calls may fill caches of limited size at some time; a leak adds the same each time.
        held = [call(30), *(call(300) for _ in range(_ROUNDS))]
        grown = min(after - before for before, after in itertools.pairwise(held))
        # Forty bytes per call: less than the smallest object that could be kept for each.
        demand(grown < 12000, f"300 calls left at least {grown} bytes behind, {_ROUNDS} times in a row")


@contextmanager
def nothing_logged() -> Iterator[None]:
    """Log nothing in the block: a test run keeps the lines, and they would be measured as memory."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _cycling(failures: int) -> Callable[[], None]:
    """A function that fails ``failures`` times, succeeds once, and starts over."""
    calls = itertools.count()

    def body() -> None:
        if next(calls) % (failures + 1) != failures:
            raise ConnectionError

    return body


OBSERVERS = (
    Row(
        "R13",
        "a raising listener changes nothing and is reported",
        harmless,
        st.tuples(SMALL, LIMITS, st.integers(0, 2)),
        frozenset({"listeners"}),
    ),
    Row("R21", "nested use of one policy is independent", nested, st.tuples(LIMITS, LIMITS, st.booleans())),
    Row("R22", "hooks release once, in order; nothing grows", hooks, st.tuples(SMALL, LIMITS)),
)
