"""The bulkhead: never more than its limit inside, first come first served, no place ever lost."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.core.errors import UsageError
from chaoskit.runtime import Bulkhead, Stop
from chaoskit.runtime.calling.bulkhead import BulkheadRejected, _Waiter
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.deadlines import deadline
from chaoskit.runtime.failures.taxonomy import BulkheadFull


class Room:
    """A backend whose calls stay inside until they are let out; knows how many are in."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.inside = 0
        self.entered: list[Any] = []
        self.allowed = 0

    def __call__(self, who: Any) -> Any:
        with self.changed:
            self.inside += 1
            self.entered.append(who)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.allowed > 0, 10)
            self.allowed -= 1
            self.inside -= 1
            self.changed.notify_all()
        return who

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 10)

    def let_out(self) -> None:
        with self.changed:
            self.allowed += 1
            self.changed.notify_all()


def start(fn: Callable[..., Any], *args: Any) -> threading.Thread:
    """Run ``fn`` in a thread."""
    thread = threading.Thread(target=fn, args=args, daemon=True)
    thread.start()
    return thread


def until_waiting(bulkhead: Bulkhead, number: int) -> None:
    """Return when ``number`` callers are in the queue."""
    deadline_ = threading.Event()
    for _ in range(10_000):
        if bulkhead.waiting == number:
            return
        deadline_.wait(0.001)
    raise AssertionError(f"{bulkhead.waiting} are waiting, not {number}")


def test_no_more_than_the_limit_is_inside_and_the_queue_is_in_order() -> None:
    """With two places and a queue of two: two in, two wait and follow in order, the fifth is rejected."""
    bulkhead, room = Bulkhead(2, queue=2), Room()
    protected = bulkhead(room)
    threads = [start(protected, 0)]
    room.wait(lambda: room.inside == 1)
    threads.append(start(protected, 1))
    room.wait(lambda: room.inside == 2)
    for n in (2, 3):
        threads.append(start(protected, n))
        until_waiting(bulkhead, n - 1)
    with pytest.raises(BulkheadFull, match="all 2 places are taken, and so are the 2 in the queue"):
        protected(4)
    assert repr(bulkhead) == "<Bulkhead 'bulkhead' 2 of 2 in use, 2 waiting>"
    for n in (3, 4):
        room.let_out()
        room.wait(lambda n=n: len(room.entered) == n)  # type: ignore[misc]
        assert room.inside == 2
    room.let_out()
    room.let_out()
    for thread in threads:
        thread.join(10)
    assert room.entered == [0, 1, 2, 3]
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_a_call_that_fails_gives_its_place_back() -> None:
    """Errors, Ctrl-C included, free the place."""
    bulkhead = Bulkhead(1)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            bulkhead.call(lambda error=error: (_ for _ in ()).throw(error()))
    assert bulkhead.in_use == 0
    assert bulkhead.call(lambda: "value") == "value"


def test_a_wait_ends_after_max_wait() -> None:
    """A caller in the queue is rejected after ``max_wait``, leaves the queue, and the event says so."""
    clock, told = VirtualClock(), list[Any]()
    bulkhead = Bulkhead(1, queue=1, max_wait=2.5, name="db", clock=clock, listeners=[told.append])

    def inner() -> None:
        with pytest.raises(BulkheadFull, match=r"db: none of the 1 places became free within 2.5 s"):
            bulkhead.call(lambda: None)

    bulkhead.call(inner)
    assert clock.sleeps == [2.5]
    assert told == [BulkheadRejected(at=2.5, bulkhead="db", limit=1, waited=2.5)]
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_a_wait_never_passes_the_deadline() -> None:
    """The deadline in force is the most that a caller waits."""
    clock = VirtualClock()
    bulkhead = Bulkhead(1, queue=1, clock=clock)

    def inner() -> None:
        with deadline(1.5, clock=clock), pytest.raises(BulkheadFull):
            bulkhead.call(lambda: None)

    bulkhead.call(inner)
    assert clock.sleeps == [1.5]


def test_tasks_share_it_and_a_cancelled_one_loses_no_place() -> None:
    """Tasks wait in order; one cancelled in the queue leaves it, one that was just granted passes it on."""
    bulkhead = Bulkhead(1, queue=3)
    order: list[int] = []

    async def scenario() -> None:
        go = asyncio.Event()

        @bulkhead
        async def work(n: int) -> None:
            order.append(n)
            await go.wait()

        tasks = [asyncio.create_task(work(n)) for n in range(4)]
        while bulkhead.waiting < 3:
            await asyncio.sleep(0)
        tasks[1].cancel()
        while bulkhead.waiting == 3:
            await asyncio.sleep(0)
        assert bulkhead.waiting == 2
        go.set()
        # The place is granted to task 2 when task 0 leaves; cancel it before it can take it.
        while not tasks[0].done():
            await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(scenario())
    assert order in ([0, 3], [0, 2, 3])
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_an_async_wait_ends_after_max_wait() -> None:
    """A task in the queue is rejected as a thread is."""
    bulkhead = Bulkhead(1, queue=1, max_wait=0.01)

    async def scenario() -> None:
        async def inner() -> None:
            with pytest.raises(BulkheadFull):
                await bulkhead.call(asyncio.sleep, 0)

        await bulkhead.call(inner)

    asyncio.run(scenario())
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_a_closed_loop_in_the_queue_is_passed_over() -> None:
    """A task whose event loop is gone does not keep the place that is handed to it."""
    bulkhead = Bulkhead(1, queue=2)

    def dead() -> None:
        raise RuntimeError("Event loop is closed")

    def inner() -> None:
        bulkhead._place_or_queue(_Waiter(dead, [False]))

    bulkhead.call(inner)
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


@settings(max_examples=30, deadline=None)
@given(limit=st.integers(1, 3), queue=st.integers(0, 3), callers=st.integers(1, 8))
def test_every_caller_is_served_or_rejected(limit: int, queue: int, callers: int) -> None:
    """Under threads nothing is lost: served and rejected add up, never more than the limit is inside."""
    bulkhead = Bulkhead(limit, queue=queue)
    lock, inside, most = threading.Lock(), 0, 0
    outcome: list[str] = []

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        with lock:
            inside -= 1

    def caller() -> None:
        for _ in range(20):
            try:
                bulkhead.call(work)
                outcome.append("served")
            except BulkheadFull:
                outcome.append("rejected")

    threads = [start(caller) for _ in range(callers)]
    for thread in threads:
        thread.join(20)
    assert len(outcome) == 20 * callers
    assert most <= limit
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_child_all_places_are_free() -> None:
    """Calls of the parent take no place in the child; one on the child's own stack frees none too many."""
    bulkhead = Bulkhead(2)
    status: list[int] = []

    def inner() -> None:
        child = os.fork()
        if child:
            status.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            return
        try:
            bulkhead._leave([True])
            os._exit(0 if bulkhead.in_use == 0 else 3)
        finally:
            os._exit(4)

    bulkhead.call(inner)
    assert status == [0]
    assert bulkhead.in_use == 0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 1, "queue": -1}, "queue"),
        ({"limit": 1, "max_wait": -1}, "max_wait"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], name: str) -> None:
    """Wrong settings are errors that name the setting."""
    with pytest.raises(UsageError, match=f"{name} is"):
        Bulkhead(**settings)


def test_keyword_arguments_reach_the_function() -> None:
    """By ``call`` and through the decorator."""
    bulkhead = Bulkhead(1)
    assert bulkhead.call(lambda a, *, b: (a, b), 1, b=2) == (1, 2)
    assert bulkhead(lambda a, *, b: (a, b))(1, b=2) == (1, 2)


def test_without_patience_a_call_is_rejected_at_once() -> None:
    """``max_wait=0`` is a setting like another: the queue is there, and nothing waits in it."""
    bulkhead = Bulkhead(1, queue=1, max_wait=0)
    with bulkhead, pytest.raises(BulkheadFull):
        bulkhead.call(len, "")
    assert bulkhead.waiting == 0


def test_a_wait_that_is_interrupted_leaves_the_queue() -> None:
    """Ctrl-C in the middle of a wait: the place in the queue is free again, and the caller sees it."""

    class Interrupted(VirtualClock):
        def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
            raise KeyboardInterrupt

    bulkhead = Bulkhead(1, queue=1, clock=Interrupted())
    with bulkhead, pytest.raises(KeyboardInterrupt):
        bulkhead.call(len, "")
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_a_signal_forgets_a_wait_that_is_over() -> None:
    """A signal that lives as long as the program does not grow with its waits."""
    wake = Stop()
    bulkhead = Bulkhead(1, queue=1, max_wait=0.001, wake=wake)
    with bulkhead, pytest.raises(BulkheadFull):
        bulkhead.call(len, "")

    async def main() -> None:
        async def nothing() -> None:
            pass

        async with bulkhead:
            with pytest.raises(BulkheadFull):
                await bulkhead(nothing)()

    asyncio.run(main())
    assert wake._wakers == []


def test_a_place_that_comes_free_before_the_wait_begins_is_counted() -> None:
    """Between the look for a place and the place in the queue another call may leave: its place is taken."""
    bulkhead = Bulkhead(1, queue=1)
    assert bulkhead._place_or_queue(_Waiter(lambda: None, [False]))
    assert bulkhead.in_use == 1
    bulkhead._leave([True])
    assert bulkhead.in_use == 0


def test_one_call_that_leaves_frees_one_place() -> None:
    """Of two that are inside, the other is still counted."""
    bulkhead = Bulkhead(3)
    with bulkhead:
        with bulkhead:
            assert bulkhead.in_use == 2
        assert bulkhead.in_use == 1


def test_without_a_queue_a_task_is_told_that_all_is_taken() -> None:
    """It has not waited, and the error says so."""

    async def main() -> None:
        async def nothing() -> None:
            pass

        bulkhead = Bulkhead(1)
        async with bulkhead:
            with pytest.raises(BulkheadFull, match="all 1 places are taken, and so are the 0 in the queue"):
                await bulkhead(nothing)()

    asyncio.run(main())


def test_a_waiter_whose_loop_is_closed_is_passed_over_and_the_next_one_served() -> None:
    """The place goes to the next in the queue, or is free if there is none."""

    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    woken: list[str] = []
    bulkhead = Bulkhead(2, queue=2)
    with bulkhead:
        with bulkhead:
            bulkhead._place_or_queue(_Waiter(closed, [False]))
            bulkhead._place_or_queue(_Waiter(lambda: woken.append("next"), [False]))
        assert (woken, bulkhead.in_use, bulkhead.waiting) == (["next"], 2, 0)
        bulkhead._leave([True])
        with bulkhead:
            bulkhead._place_or_queue(_Waiter(closed, [False]))
        assert (bulkhead.in_use, bulkhead.waiting) == (1, 0)


def test_a_block_that_is_struck_as_its_place_comes_gives_it_back() -> None:
    """Ctrl-C in the wait of a ``with``, in the moment in which the place is handed over."""

    class Struck(VirtualClock):
        def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
            bulkhead.__exit__()
            raise KeyboardInterrupt

    bulkhead = Bulkhead(1, queue=1, clock=Struck())
    bulkhead.__enter__()
    with pytest.raises(KeyboardInterrupt), bulkhead:
        pass
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_an_async_block_that_is_cancelled_as_its_place_comes_gives_it_back() -> None:
    """And one that is turned away gives back nothing, since it has nothing."""

    async def block() -> None:
        async with bulkhead:
            pytest.fail("there was no place")

    async def main() -> None:
        async with bulkhead:
            task = asyncio.create_task(block())
            await asyncio.sleep(0)
            with pytest.raises(BulkheadFull):
                await block()
            assert (bulkhead.in_use, bulkhead.waiting) == (1, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    bulkhead = Bulkhead(1, queue=1)
    asyncio.run(main())
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


def test_a_place_that_was_handed_over_is_told_though_a_signal_comes_in_between() -> None:
    """Ctrl-C in the midst of waking the next one does not leave it asleep with a place that it holds."""
    bulkhead = Bulkhead(1, queue=1)
    entered = threading.Event()

    def second() -> None:
        with bulkhead:
            entered.set()

    thread = threading.Thread(target=second, daemon=True)
    bulkhead.__enter__()
    thread.start()
    until_waiting(bulkhead, 1)
    [waiter] = bulkhead._waiters
    wake, struck = waiter.wake, iter([True])

    def interrupted() -> object:
        if next(struck, False):
            raise KeyboardInterrupt
        return wake()

    waiter.wake = interrupted
    with pytest.raises(KeyboardInterrupt):
        bulkhead.__exit__()
    assert entered.wait(10)
    thread.join(10)
    assert bulkhead.in_use == 0
