"""Rates are what a recount gives, memory is bounded, and every alert is told once at each edge."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.observing.metrics import (
    AlertCleared,
    AlertRaised,
    AlertRule,
    ErrorMetrics,
    MetricsOptions,
    Rate,
    RateWindow,
)
from chaoskit.runtime.observing.observers import subscribe


def watched(**rule: object) -> tuple[ErrorMetrics, VirtualClock, list[AlertRaised]]:
    told: list[AlertRaised] = []
    clock = VirtualClock()
    options = MetricsOptions(alerts=(AlertRule(**rule),))  # type: ignore[arg-type]
    return ErrorMetrics(options, clock=clock, listeners=[told.append]), clock, told


def test_counts_by_operation_and_error_type() -> None:
    """Each failure counts for its operation and type, for the operation, and for everything."""
    metrics = ErrorMetrics(clock=VirtualClock())
    metrics.success("upload")
    metrics.failure("upload", OSError())
    metrics.failure("scan", "Timeout")
    assert metrics.rate("upload") == Rate(2, 1, 300.0)
    assert metrics.rate("upload", "OSError") == Rate(2, 1, 300.0)
    assert metrics.rate() == Rate(3, 2, 300.0)
    assert metrics.rate(error_type="Timeout").failures == 1
    assert metrics.rate("nothing") == Rate(0, 0, 300.0)
    assert metrics.rate("upload").ratio == 0.5
    assert metrics.rate("upload").per_second == 1 / 300
    assert metrics.rate("nothing").ratio == 0.0


def test_measure_counts_the_block() -> None:
    """A block that raises counts as failed and passes its error on; Ctrl-C is not counted."""
    metrics = ErrorMetrics(clock=VirtualClock())
    with metrics.measure("upload"):
        pass
    with pytest.raises(OSError, match="x"), metrics.measure("upload"):
        raise OSError("x")
    with pytest.raises(KeyboardInterrupt), metrics.measure("upload"):
        raise KeyboardInterrupt
    assert metrics.rate("upload") == Rate(2, 1, 300.0)


STEPS = st.lists(st.tuples(st.floats(0, 50), st.integers(0, 3), st.integers(0, 3)), max_size=40)


@given(steps=STEPS, slots=st.integers(1, 7))
def test_a_window_is_what_a_recount_gives(steps: list[tuple[float, int, int]], slots: int) -> None:
    """After any sequence the sums equal a recount of what lies in the window's slots."""
    window, width, now, history = RateWindow(60.0, slots), 60.0 / slots, 0.0, []
    for wait, calls, failures in steps:
        now += wait
        window.add(now, calls, failures)
        history.append((int(now // width), calls, failures))
        first = int(now // width) - slots + 1
        inside = [h for h in history if h[0] >= first]
        rate = window.rate(now)
        assert (rate.calls, rate.failures) == (sum(h[1] for h in inside), sum(h[2] for h in inside))


def test_a_window_empties_after_its_time() -> None:
    """Nothing of the past is left after the window's length, however long the silence was."""
    for silence in (300.0, 1e6, 1e12):
        window = RateWindow(300.0, 60)
        window.add(0.0, 5, 5)
        assert window.rate(294.9).failures == 5
        assert window.rate(silence) == Rate(0, 0, 300.0)


def test_a_late_thread_counts_in_the_present() -> None:
    """A time that is a little earlier than the last one does not disturb the sums."""
    window = RateWindow(10.0, 10)
    window.add(5.0, 1, 0)
    window.add(3.0, 1, 1)
    assert window.rate(5.0) == Rate(2, 1, 10.0)


def test_ten_percent_in_five_minutes_raises_once_and_clears_once() -> None:
    """The watcher's rule: told when the ratio reaches 10 %, and again when it is left, not at each call."""
    metrics, clock, told = watched(ratio=0.1, window=300.0, minimum=10)
    for _ in range(10):
        metrics.success("upload")
    metrics.failure("upload", OSError())
    assert told == []
    metrics.failure("upload", OSError())
    metrics.failure("upload", OSError())
    assert [type(e) for e in told] == [AlertRaised]
    assert (told[0].ratio, told[0].calls, told[0].threshold) == (2 / 12, 12, 0.1)
    assert metrics.check() == metrics.options.alerts
    clock.advance(300)
    assert metrics.check() == ()
    assert [type(e) for e in told] == [AlertRaised, AlertCleared]


def test_few_calls_are_no_trend() -> None:
    """Below the minimum number of calls a rule says nothing, even if all of them fail."""
    metrics, _, told = watched(minimum=5)
    for _ in range(4):
        metrics.failure("upload", OSError())
    assert told == []
    metrics.failure("upload", OSError())
    assert len(told) == 1


def test_hysteresis_keeps_an_alert_from_fluttering() -> None:
    """With clear_below the alert stays raised until the ratio is well below its threshold."""
    metrics, _, told = watched(ratio=0.5, clear_below=0.2, minimum=1)
    metrics.failure("upload", OSError())
    for _ in range(4):
        metrics.success("upload")
        metrics.check()
    assert len(told) == 1
    metrics.success("upload")
    metrics.check()
    assert [type(e) for e in told] == [AlertRaised, AlertCleared]


def test_a_rule_is_for_its_operation_and_type() -> None:
    """Failures of another operation or another type do not raise a rule."""
    metrics, _, told = watched(operation="upload", error_type="OSError", minimum=1)
    metrics.failure("scan", OSError())
    metrics.failure("upload", ValueError())
    assert told == []
    metrics.failure("upload", OSError())
    assert told[0].operation == "upload"


def test_several_windows_are_kept_apart() -> None:
    """Each rule's own window is counted; another one is refused by name."""
    metrics, clock, _ = watched(window=3600.0)
    metrics.failure("upload", OSError())
    clock.advance(1000)
    assert metrics.rate("upload").calls == 0
    assert metrics.rate("upload", window=3600.0).calls == 1
    with pytest.raises(UsageError, match=r"window is 5.0.*one of 300.0, 3600.0"):
        metrics.rate("upload", window=5.0)


def test_memory_is_bounded() -> None:
    """Ever new operations and error types do not grow the metrics; they are counted together."""
    options = MetricsOptions(operations=5, error_types=3, slots=10)
    metrics = ErrorMetrics(options, clock=VirtualClock())

    def fill() -> int:
        for number in range(300):
            metrics.failure(f"operation{number}", f"Error{number}")
            metrics.failure("operation1", f"Error{number}")
        return len(metrics._series) + sys.getsizeof(metrics._types)

    first = fill()
    assert fill() == first
    assert metrics.rate("other").calls == 2 * (300 - 5)
    assert metrics.rate("operation1", "other").failures > 0
    assert metrics.rate() == Rate(1200, 1200, 300.0)


def test_an_operation_cannot_pass_for_all() -> None:
    """An operation that is called * is not counted as every operation together twice."""
    metrics = ErrorMetrics(clock=VirtualClock())
    metrics.failure("*", OSError())
    assert metrics.rate().calls == 1


def test_threads_lose_no_count() -> None:
    """Counts from many threads add up."""
    metrics = ErrorMetrics()

    def work() -> None:
        for _ in range(500):
            metrics.success("a")
            metrics.failure("a", "E")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.rate("a") == Rate(4000, 2000, 300.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_can_count() -> None:
    """A child that is forked while other threads are counting never inherits a held lock."""
    metrics, stop = ErrorMetrics(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            metrics.failure("a", "E")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a deadlock kills the child, and the test sees it
                metrics.success("a")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def test_a_listener_may_use_the_metrics() -> None:
    """Alerts are told outside the lock, so that a listener can look at the rates from any thread."""
    metrics, _, _ = watched(minimum=1)
    seen: list[Rate] = []

    def look(event: object) -> None:
        thread = threading.Thread(target=lambda: seen.append(metrics.rate()))
        thread.start()
        thread.join(30)

    with subscribe(look):
        metrics.failure("a", "E")
    assert seen == [Rate(1, 1, 300.0)]


def test_the_snapshot_has_everything() -> None:
    """snapshot() gives totals, windows and raised rules, ready for JSON."""
    metrics, clock, _ = watched(minimum=1)
    metrics.failure("a", "E")
    clock.advance(1000)
    shown = metrics.snapshot()
    assert shown["operations"]["a"]["E"] == {
        "calls": 1, "failures": 1, "window_calls": 0, "window_failures": 0,
    }  # fmt: skip
    assert shown["raised"] == ["*/*"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ratio": 0},
        {"ratio": 1.1},
        {"window": 0},
        {"window": float("inf")},
        {"minimum": 0},
        {"clear_below": 0.2},
    ],
)
def test_rules_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    """A rule that could never speak, or never be silent, is refused."""
    with pytest.raises(UsageError):
        AlertRule(**wrong)  # type: ignore[arg-type]
