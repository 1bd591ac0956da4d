"""Hand-offs have limits, the end is known to both sides, and nothing is lost on the way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime.clock import VirtualClock
from chaoskit.runtime.running.queues import HandoffQueue, HandoffTimeout, QueueClosed, QueueOptions


def small(size: int = 2) -> HandoffQueue[int]:
    return HandoffQueue("samples", QueueOptions(size=size, timeout=30.0))


def test_first_in_first_out() -> None:
    """Items come out in the order in which they went in."""
    queue = small()
    queue.put(1)
    queue.put(2)
    assert [queue.get(), queue.get()] == [1, 2]
    assert len(queue) == 0


def test_a_full_queue_says_so_in_time() -> None:
    """A put into a full queue gives up after its limit, names the queue, and leaves the queue as it was."""
    queue = small(1)
    queue.put(1)
    with pytest.raises(HandoffTimeout, match=r"'samples' was full for 0.01 s \(1 of 1 items\)"):
        queue.put(2, timeout=0.01)
    assert queue.get() == 1


def test_an_empty_queue_says_so_in_time() -> None:
    """A get gives up after its limit; zero does not wait at all. Both are TimeoutErrors, too."""
    with pytest.raises(TimeoutError, match="was empty for 0 s"):
        small().get(timeout=0)


def test_a_waiting_get_is_served() -> None:
    """A consumer that waits gets the item that comes meanwhile."""
    queue = small()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(queue.get)
        queue.put(7)
        assert future.result(30) == 7


def test_a_waiting_put_is_served() -> None:
    """A producer that waits for room goes on when an item is taken."""
    queue = small(1)
    queue.put(1)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(queue.put, 2)
        assert queue.get() == 1
        future.result(30)
    assert queue.get() == 2


def test_closing_refuses_producers_and_drains_consumers() -> None:
    """After close() nothing more goes in; what is inside comes out, then the end is told."""
    queue = small()
    queue.put(1)
    queue.close()
    queue.close()
    assert queue.closed
    with pytest.raises(QueueClosed, match="not taken"):
        queue.put(2)
    assert list(queue) == [1]
    with pytest.raises(QueueClosed, match="closed and empty"):
        queue.get()


def test_closing_wakes_everybody_who_waits() -> None:
    """Producers and consumers that wait when the queue is closed are told at once."""
    full, empty = small(1), small()
    full.put(1)
    with ThreadPoolExecutor(4) as pool:
        waiting = [
            pool.submit(full.put, 2),
            pool.submit(full.put, 3),
            pool.submit(empty.get),
            pool.submit(list, empty),
        ]
        full.close()
        empty.close()
        for future in waiting[:3]:
            with pytest.raises(QueueClosed):
                future.result(30)
        assert waiting[3].result(30) == []


def test_drain_returns_what_was_left() -> None:
    """drain() closes the queue and hands over its items, to be saved."""
    queue = small(3)
    for number in range(3):
        queue.put(number)
    assert queue.drain() == [0, 1, 2]
    assert list(queue) == []


def test_nothing_is_lost_or_doubled_between_threads() -> None:
    """Three producers and three consumers on a tiny queue: each item arrives exactly once."""
    queue = small(2)

    def produce(start: int) -> None:
        for number in range(start, start + 200):
            queue.put(number)

    with ThreadPoolExecutor(6) as pool:
        consumers = [pool.submit(list, queue) for _ in range(3)]
        for producer in [pool.submit(produce, start) for start in (0, 200, 400)]:
            producer.result(60)
        queue.close()
        taken = [item for consumer in consumers for item in consumer.result(60)]
    assert sorted(taken) == list(range(600))


def test_stats_tell_size_and_age() -> None:
    """The age of the oldest item shows a consumer that does not keep up."""
    clock = VirtualClock(start=100.0)
    queue: HandoffQueue[int] = HandoffQueue("samples", QueueOptions(size=5), clock=clock)
    assert queue.stats()["oldest"] is None
    queue.put(1)
    clock.advance(9)
    queue.put(2)
    assert queue.stats() == {"name": "samples", "items": 2, "size": 5, "closed": False, "oldest": 9.0}


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), threading.TIMEOUT_MAX * 2])
def test_limits_that_are_none_are_refused(timeout: float) -> None:
    """There is no waiting forever by accident, neither in a call nor in the options."""
    with pytest.raises(UsageError, match="timeout"):
        small().get(timeout)
    if timeout != threading.TIMEOUT_MAX * 2:
        with pytest.raises(UsageError, match="timeout"):
            QueueOptions(timeout=timeout)


def test_a_queue_without_bound_is_refused() -> None:
    """A size below one, which other queues take for unbounded, is an error that says why."""
    with pytest.raises(UsageError, match="hides a slow consumer"):
        QueueOptions(size=0)
