"""The total deadline that nested calls inherit."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.deadlines import CURRENT, NEVER, check, deadline, nested, remaining
from chaoskit.runtime.failures.taxonomy import DeadlineExceeded


def test_without_a_deadline_there_is_no_limit():
    """``remaining`` is None and ``check`` passes."""
    assert remaining() is None
    check()


def test_it_runs_down_and_is_over_after_the_block():
    """What is left shrinks with the clock, stops at zero, and nothing stays behind."""
    clock = VirtualClock(start=100.0)
    with deadline(5.0, clock=clock):
        assert remaining() == 5.0
        clock.advance(3.0)
        assert remaining() == 2.0
        check()
        clock.advance(3.0)
        assert remaining() == 0.0
        with pytest.raises(DeadlineExceeded):
            check()
    assert remaining() is None


@pytest.mark.parametrize(("outer", "inner", "left"), [(5.0, 9.0, 5.0), (9.0, 5.0, 5.0), (5.0, 5.0, 5.0)])
def test_the_earlier_of_two_holds(outer, inner, left):
    """An inner deadline can shorten the outer one, never lengthen it."""
    clock = VirtualClock()
    with deadline(outer, clock=clock):
        with deadline(inner, clock=clock):
            assert remaining() == left
        assert remaining() == outer


def test_deadlines_on_different_clocks_are_compared_by_what_is_left():
    """Two clocks share no zero; the seconds that are left decide."""
    early, late = VirtualClock(start=1000.0), VirtualClock(start=0.0)
    with deadline(5.0, clock=early), deadline(7.0, clock=late):
        assert remaining() == 5.0
        early.advance(1.0)
        assert remaining() == 4.0


def test_steps_of_the_wall_clock_change_nothing():
    """It is measured on the monotonic clock."""
    clock = VirtualClock()
    with deadline(5.0, clock=clock):
        clock.step(-1e9)
        assert remaining() == 5.0


def test_tasks_inherit_it():
    """A task started within the block has the deadline."""

    async def main() -> float | None:
        with deadline(5.0, clock=VirtualClock()):
            return await asyncio.create_task(asyncio.sleep(0, remaining()))

    assert asyncio.run(main()) == 5.0


def test_a_closed_scope_is_no_deadline():
    """Whoever closes its scope frees those that carry a copy of the context."""
    clock = VirtualClock()

    def within() -> None:
        CURRENT.set(scope := nested(NEVER, 5.0, clock))
        copy = contextvars.copy_context()
        assert copy.run(remaining) == 5.0
        scope[0] = None
        assert remaining() is copy.run(remaining) is None
        assert nested(scope, None, clock) is None
        assert nested(scope, 2.0, clock) == [2.0, clock]

    contextvars.copy_context().run(within)


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_negative_deadline_is_refused(seconds):
    """The message names the value."""
    with pytest.raises(UsageError, match="deadline is"), deadline(seconds):
        pass


def test_zero_has_passed_already():
    """A deadline of zero lets nothing begin."""
    with deadline(0.0), pytest.raises(DeadlineExceeded):
        check()


def test_a_decorated_function_gives_its_value():
    """Each call of it is in a block of its own, synchronous or not, and its value comes through."""
    clock = VirtualClock()

    @deadline(5.0, clock=clock)
    def plain():
        return remaining()

    @deadline(5.0, clock=clock)
    async def later():
        return remaining()

    assert plain() == asyncio.run(later()) == 5.0
