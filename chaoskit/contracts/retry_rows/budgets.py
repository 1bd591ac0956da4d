"""The Q rows: a budget of retries that callers share."""

from __future__ import annotations

import math
import threading
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows.doubles import Failing, eager, function, outcome, shows

__all__ = ["BUDGET"]

_WINDOW = 10.0
"""Seconds for which each budget in these rows remembers calls."""

_FLOORS = st.integers(0, 5)
_RATIOS = st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0])
_CALLS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.3, 1.0, 4.9, 10.0, 30.0]), st.integers(0, 4)), max_size=40
)
"""For each call, the seconds before it, and how often it fails."""


def limited(adapter: RetryAdapter, example: tuple[int, float, list[tuple[float, int]]]) -> None:
    """Q1: in the window before any retry there are at most floor + ratio × requests retries."""
    floor, ratio, calls = example
    with adapter.world() as clock:
        budget = adapter.budget(floor=floor, ratio=ratio, window=_WINDOW, cap=1000)
        requests: list[float] = []
        retries: list[float] = []
        # The first call of a backend is a request; its later calls are retries.
        for pause, failures in calls:
            clock.advance(pause)
            backend = Failing(failures)

            def body(backend: Failing = backend) -> Any:
                (retries if backend.calls else requests).append(clock.monotonic())
                return backend()

            outcome(adapter.wrap(body, RetryPlan(attempts=5, initial=0.0, budget=budget)))
            _demand_allowed(floor, ratio, requests, retries)


def _demand_allowed(floor: int, ratio: float, requests: list[float], retries: list[float]) -> None:
    for now in retries:
        # At exactly one window's age both countings are accepted, in the caller's favour: budgets may round.
        spent = sum(now - _WINDOW < at <= now for at in retries)
        earned = sum(now - _WINDOW <= at <= now for at in requests)
        allowed = floor + ratio * earned
        demand(spent <= allowed + 1e-9, f"{spent} retries in a window at {now} s; {allowed} were allowed")


def limited_threads(adapter: RetryAdapter, example: tuple[int, float, int, int]) -> None:
    """Q1: the same limit when threads share the budget."""
    floor, ratio, workers, calls = example
    with adapter.world():
        budget = adapter.budget(floor=floor, ratio=ratio, window=_WINDOW, cap=1000)
        backend = Failing(math.inf)
        lock = threading.Lock()
        barrier = threading.Barrier(workers)

        def body() -> None:
            with lock:
                backend.calls += 1
            raise ConnectionError

        wrapped = adapter.wrap(body, RetryPlan(attempts=4, initial=0.0, budget=budget))

        def work() -> None:
            barrier.wait()
            for _ in range(calls):
                outcome(wrapped)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        with eager():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        requests = workers * calls
        retries = backend.calls - requests
        allowed = floor + ratio * requests
        demand(
            retries <= allowed + 1e-9, f"{retries} retries for {requests} requests; {allowed} were allowed"
        )
        # A lower bound too, since a budget that refuses everything would pass the upper one.
        least = min(math.floor(allowed), 0 if calls == 0 else floor)
        demand(retries >= min(least, requests * 3), f"only {retries} retries, the floor alone allows {least}")


def returned(adapter: RetryAdapter, example: tuple[int, int, str]) -> None:
    """Q2: a retry is charged when it is decided, and refunded if it never starts; the balance is 0 to cap."""
    floor, failures, how = example
    cap = floor + 2
    with adapter.world() as clock:
        budget = adapter.budget(floor=floor, ratio=1.0, window=_WINDOW, cap=cap)
        before = adapter.balance(budget)
        demand(before == floor, f"a new budget has {before}, not its floor of {floor}")
        seen: list[int] = []

        def body() -> None:
            seen.append(adapter.balance(budget))
            raise ConnectionError

        # Ways for a decided retry not to start; each must leave the balance as it was.
        if how == "refused wait":  # the deadline decides against it
            plan = RetryPlan(attempts=3, initial=5.0, deadline=1.0, budget=budget)
            expected = 1
        elif how == "interrupted":  # decided, then the program is told to stop
            event = threading.Event()
            event.set()
            plan = RetryPlan(attempts=3, initial=5.0, wake=event, budget=budget)
            expected = 1
        else:
            plan = RetryPlan(attempts=failures + 1, initial=0.0, budget=budget)
            expected = failures + 1
        outcome(adapter.wrap(body, plan))
        spent = len(seen) - 1
        demand(len(seen) <= expected, f"{len(seen)} attempts, {how}")
        after = adapter.balance(budget)
        # The one request earns 1 at this ratio; the cap still holds.
        demand(
            after == min(cap, floor + 1) - spent, f"{after} left of {floor} + 1 after {spent} retries, {how}"
        )
        for position, balance in enumerate(seen):
            wanted = min(cap, floor + 1) - position
            demand(balance == wanted, f"{balance} left when attempt {position + 1} began, not {wanted}")
        clock.advance(_WINDOW * 3)
        demand(adapter.balance(budget) == floor, f"{adapter.balance(budget)} left of {floor} in a new window")


def told(adapter: RetryAdapter, floor: int) -> None:
    """Q3: if the budget ends a call, the caller sees the call's own error, and observers a separate event."""
    with adapter.world():
        budget = adapter.budget(floor=floor, ratio=0.0, window=_WINDOW, cap=floor)
        # Numbered, so that the error shows at which attempt the call ended.
        errors = [ConnectionError(n) for n in range(floor + 3)]
        backend = Failing(math.inf, lambda number: errors[number - 1])
        with_budget: list[str] = []
        without: list[str] = []
        plan = RetryPlan(attempts=len(errors), initial=0.0, budget=budget, on_event=with_budget.append)
        kind, got = outcome(adapter.wrap(function(backend), plan))
        demand(backend.calls == floor + 1, f"{backend.calls} calls with a budget of {floor}")
        demand(kind == "error" and shows(got, errors[floor]), f"{got!r} hides {errors[floor]!r}")
        limit = RetryPlan(attempts=floor + 1, initial=0.0, on_event=without.append)
        outcome(adapter.wrap(function(Failing(math.inf)), limit))
        demand(
            set(with_budget) - set(without),
            f"an exhausted budget has no event beside {sorted(set(with_budget))}",
        )


_BUDGET = frozenset({"budget"})

BUDGET = (
    Row(
        "Q1",
        "retries in any window within floor + ratio × requests",
        limited,
        st.tuples(_FLOORS, _RATIOS, _CALLS),
        _BUDGET,
    ),
    Row(
        "Q1t",
        "the same under threads",
        limited_threads,
        st.tuples(_FLOORS, _RATIOS, st.integers(2, 5), st.integers(0, 20)),
        _BUDGET,
    ),
    Row(
        "Q2",
        "charged at the decision, returned if it never starts",
        returned,
        st.tuples(_FLOORS, st.integers(0, 4), st.sampled_from(["spent", "refused wait", "interrupted"])),
        _BUDGET | {"wake", "deadline"},
    ),
    Row("Q3", "exhaustion has its own event, the error stays", told, _FLOORS, _BUDGET | {"events"}),
)
