"""Windows over the last calls or seconds: their totals, their memory, and when the breaker opens."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.breaker_adapter import BreakerAdapter, BreakerPlan, Subject
from chaoskit.contracts.breaker_rows.doubles import Broken, answers, fails, seen
from chaoskit.contracts.memory import deep_size
from chaoskit.contracts.report import Row, demand

__all__ = ["WINDOWS"]


def count_window(adapter: BreakerAdapter, example: tuple[int, int, float, list[bool]]) -> None:
    """B12: with a window over calls a breaker opens exactly when a recount says so, in bounded memory."""
    size, minimum, rate, outcomes = example
    # A minimum above the window's size can never be reached, and the breaker may refuse it.
    minimum = min(minimum, size)
    with adapter.world():
        subject = adapter.make(BreakerPlan(window_calls=size, failure_rate=rate, minimum_calls=minimum))
        last: deque[bool] = deque(maxlen=size)
        for n, failed in enumerate(outcomes):
            saw = seen(subject, fails(Broken()) if failed else answers)
            demand(
                saw != "rejected", f"call {n} of {outcomes} was rejected below the rate {rate}: {list(last)}"
            )
            last.append(failed)
            if len(last) >= minimum and sum(last) / len(last) >= rate:
                demand(seen(subject, answers) == "rejected", f"{list(last)} reaches {rate} and did not trip")
                return
            # None: the library does not report totals, and is judged only by when it opens.
            totals = subject.totals()
            demand(totals in (None, (len(last), sum(last))), f"totals {totals}, recount {list(last)}")
        _bounded(subject, size)


def _bounded(subject: Subject, size: int) -> None:
    """Check that many more calls than the window holds do not make the breaker larger."""
    for _ in range(2 * size):
        seen(subject, answers)
    # After twice the window, everything that is limited by it has its full size.
    before = deep_size(subject.raw)
    for _ in range(10 * size):
        seen(subject, answers)
    grown = deep_size(subject.raw) - before
    demand(grown <= 256, f"{10 * size} more calls made a window of {size} calls {grown} bytes larger")


def time_window(adapter: BreakerAdapter, example: tuple[float, list[tuple[float, bool]]]) -> None:
    """B12: the totals of a window over seconds equal a recount, except for calls in its oldest tenth."""
    seconds, steps = example
    with adapter.world() as world:
        # A minimum that no example reaches, since an open breaker would let no more calls through.
        subject = adapter.make(BreakerPlan(window_seconds=seconds, failure_rate=1.0, minimum_calls=1_000_000))
        now, calls = 0.0, []
        # Gaps are in shares of the window, so that one strategy serves all lengths.
        for gap, failed in steps:
            world.advance(gap * seconds)
            now += gap * seconds
            seen(subject, fails(Broken()) if failed else answers)
            calls.append((now, failed))
            _demand_recount(subject.totals(), now, seconds, calls)


def _demand_recount(totals: Any, now: float, seconds: float, calls: list[tuple[float, bool]]) -> None:
    if totals is None:
        return
    # A millionth of the window for rounding errors in sums of floats.
    slack = seconds * 1e-6
    # Windows made of buckets forget a whole bucket at once; ten buckets are the fewest that we allow.
    surely = [failed for at, failed in calls if now - at < 0.9 * seconds - slack]
    perhaps = [failed for at, failed in calls if now - at <= seconds + slack]
    demand(
        len(surely) <= totals[0] <= len(perhaps), f"{totals[0]} calls; recount {len(surely)}..{len(perhaps)}"
    )
    demand(sum(surely) <= totals[1] <= sum(perhaps), f"{totals[1]} failures; {sum(surely)}..{sum(perhaps)}")


def windows(adapter: BreakerAdapter, example: tuple[Any, Any]) -> None:
    """B12: both kinds of window, if the implementation has both."""
    count_window(adapter, example[0])
    if "time-window" in adapter.features:
        time_window(adapter, example[1])


# Rounded: sums of such gaps fall on the borders of buckets, where mistakes are likely.
_STEPS = st.floats(0, 1.5, allow_nan=False).map(lambda gap: round(gap, 3))
_COUNTED = st.tuples(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.25, 0.3, 0.5, 0.7, 1.0]),
    st.lists(st.booleans()),
)
_TIMED = st.tuples(
    st.sampled_from([10.0, 60.0, 300.0]), st.lists(st.tuples(_STEPS, st.booleans()), max_size=30)
)

WINDOWS: tuple[Row, ...] = (
    Row(
        "B12",
        "Window memory is bounded; aggregates equal a recount after any sequence.",
        windows,
        st.tuples(_COUNTED, _TIMED),
        needs=frozenset({"window"}),
    ),
)
