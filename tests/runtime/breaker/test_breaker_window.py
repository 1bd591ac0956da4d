"""Sliding windows: the running totals are those of a recount, in memory that does not grow."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.contracts.memory import deep_size
from chaoskit.runtime.breaker.window import CountWindow, TimeWindow, Window

OUTCOMES = st.integers(0, 3)


def totals(window: Window) -> tuple[int, int, int]:
    """What the window says."""
    return window.calls, window.failures, window.slow


def recount(outcomes: list[int] | deque[int]) -> tuple[int, int, int]:
    """What a pass over the outcomes says."""
    return len(outcomes), sum(o & 1 for o in outcomes), sum(o >> 1 for o in outcomes)


@given(st.integers(1, 10), st.lists(OUTCOMES))
def test_a_count_window_equals_a_recount(size: int, outcomes: list[int]) -> None:
    """After every call the totals are those of the last ``size`` outcomes."""
    window, last = CountWindow(size), deque[int](maxlen=size)
    for outcome in outcomes:
        window.add(outcome, 0.0)
        last.append(outcome)
        assert totals(window) == recount(last)


@given(st.sampled_from([0.01, 1.0, 7.0, 86400.0]), st.lists(st.tuples(st.integers(0, 15), OUTCOMES)))
def test_a_time_window_equals_a_recount_of_its_ten_buckets(
    seconds: float, steps: list[tuple[int, int]]
) -> None:
    """After every call the totals are those of the calls in the present tenth and the nine before it."""
    window, tenth, seen = TimeWindow(seconds), 1000, list[tuple[int, int]]()
    for gap, outcome in steps:
        tenth += gap
        # The middle of a tenth: its borders are a matter of rounding.
        window.add(outcome, (tenth + 0.5) * seconds / 10)
        seen.append((tenth, outcome))
        assert totals(window) == recount([o for at, o in seen if at > tenth - 10])


def test_a_time_window_begins_a_bucket_on_the_border() -> None:
    """A call at the first moment of a tenth belongs to it, and pushes out the one ten before."""
    window = TimeWindow(10.0)
    window.add(1, 0.0)
    window.add(1, 9.999)
    assert totals(window) == (2, 2, 0)
    window.add(0, 10.0)
    assert totals(window) == (2, 1, 0)


def test_a_late_reading_of_the_clock_counts_as_the_newest() -> None:
    """A thread that read the clock earlier and comes later neither loses its call nor moves time back."""
    window = TimeWindow(10.0)
    window.add(1, 25.0)
    window.add(2, 3.0)
    assert totals(window) == (2, 1, 1)
    window.add(0, 34.9)
    assert totals(window) == (3, 1, 1)
    window.add(0, 35.0)
    assert totals(window) == (2, 0, 0)


def test_a_reading_just_before_the_newest_bucket_does_not_move_time_back() -> None:
    """A late reading does not make the newest calls leave early."""
    window = TimeWindow(10.0)
    window.add(1, 25.0)
    window.add(0, 24.5)
    window.add(0, 34.9)
    assert totals(window) == (3, 1, 0)


def test_a_time_window_takes_any_clock_reading() -> None:
    """Readings far beyond whole numbers of buckets, and jumps of years, are just times."""
    window = TimeWindow(0.001)
    for now in (0.0, 1e9, 1e15, 1e300):
        window.add(1, now)
        assert totals(window) == (1, 1, 0)


@pytest.mark.parametrize("window", [CountWindow(5), TimeWindow(10.0)], ids=["count", "time"])
def test_clear_forgets_everything(window: Window) -> None:
    """After clear the totals are zero and the next call is the first."""
    for _ in range(7):
        window.add(3, 50.0)
    window.clear()
    assert totals(window) == (0, 0, 0)
    window.add(1, 51.0)
    assert totals(window) == (1, 1, 0)
    for _ in range(4):
        window.add(0, 51.0)
    assert totals(window) == (5, 1, 0)


@pytest.mark.parametrize("window", [CountWindow(50), TimeWindow(10.0)], ids=["count", "time"])
def test_memory_does_not_grow_with_the_calls(window: Window) -> None:
    """A hundred thousand calls take no more room than a hundred."""
    sizes = []
    for calls in (100, 100_000):
        for n in range(calls):
            window.add(n & 3, n * 0.01)
        sizes.append(deep_size(window))
    assert sizes[1] - sizes[0] < 1000
