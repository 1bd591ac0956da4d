"""A thread that repeats one thing: begins at once, outlives what goes wrong, and ends when it is closed."""

from __future__ import annotations

import os
import threading
import warnings

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime.running.repeating import Repeating


class Counting(Repeating):
    """Counts, fails the first time, and says when it has come to two."""

    def __init__(self, every: float = 0.001) -> None:
        super().__init__("counter", every)
        self.count = 0
        self.twice = threading.Event()
        self.children = 0

    def _once(self) -> None:
        self.count += 1
        if self.count >= 2:
            self.twice.set()
        raise OSError("not this time")

    def _forked(self) -> None:
        self.children += 1


def test_it_goes_on_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged with the name of what failed, and the next time comes."""
    with Counting() as counting:
        assert counting.twice.wait(30)
    assert "the counter failed, and goes on: OSError('not this time')" in caplog.text


def test_it_begins_at_once() -> None:
    """The first time does not wait for the interval."""
    begun = threading.Event()

    class Once(Repeating):
        def _once(self) -> None:
            begun.set()

    with Once("publisher", every=3600.0):
        assert begun.wait(30)


def test_it_runs_once_at_a_time_and_may_run_again() -> None:
    """A second start is refused while it runs; closed, and closed twice, it may be started again."""
    counting = Counting(every=3600.0)
    with counting, pytest.raises(UsageError, match="the counter runs already"):
        counting.start()
    counting.close()
    seen = counting.count
    with counting:
        pass
    assert counting.count == seen + 1


@pytest.mark.parametrize("every", [0.0, -1.0, float("nan")])
def test_an_interval_is_more_than_nothing(every: float) -> None:
    """Without a pause it would take a processor to itself."""
    with pytest.raises(UsageError, match="every"):
        Counting(every)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_may_start_and_close_it() -> None:
    """The thread stayed in the parent: the child neither waits for it nor is told that it runs."""
    with Counting() as counting:
        assert counting.twice.wait(30)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
            child = os.fork()
        if child == 0:
            try:
                counting.close()
                counting.twice = threading.Event()
                with counting:
                    fine = counting.twice.wait(30)
                os._exit(0 if fine and counting.children == 1 else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_does_not_keep_the_program_alive() -> None:
    """A program that never closes it ends all the same."""
    with Counting() as counting:
        assert counting._thread is not None
        assert counting._thread.daemon
