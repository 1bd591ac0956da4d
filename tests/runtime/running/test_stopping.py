"""One signal stops everything that waits or runs, in threads and in loops, and stops no more than that."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from chaoskit.runtime import (
    Bulkhead,
    Constant,
    HandoffQueue,
    QueueClosed,
    QueueOptions,
    RateLimiter,
    Shutdown,
    ShuttingDown,
    Stop,
    SupervisionOptions,
    Supervisor,
    UsageError,
    VirtualClock,
    retry,
)
from chaoskit.runtime.stop import end


def test_an_async_shutdown_lets_the_loop_run_while_operations_end() -> None:
    """Leaving the block waits for the operation of another task, which goes on meanwhile."""
    done: list[str] = []

    async def upload(shutdown: Shutdown) -> None:
        with shutdown.operation("upload"):
            while not shutdown.requested:
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            done.append("uploaded")

    async def main() -> Shutdown:
        async with Shutdown(grace=20, signals=()) as shutdown:
            shutdown.defer(done.append, "closed")
            task = asyncio.create_task(upload(shutdown))
            await asyncio.sleep(0)
            shutdown.request()
        await task
        return shutdown

    asyncio.run(main())
    assert done == ["uploaded", "closed"]


def test_an_async_shutdown_gives_up_on_operations_at_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """One that does not end is left in progress, and the callbacks run all the same."""
    done: list[str] = []

    async def main() -> None:
        async with Shutdown(grace=0.05, signals=(), exit=lambda code: None) as shutdown:
            shutdown.defer(done.append, "closed")
            operation = shutdown.operation("stuck")
            operation.__enter__()

    asyncio.run(main())
    assert done == ["closed"]
    assert "1 operations are still in progress" in caplog.text


def test_async_callbacks_are_awaited_in_order_and_their_errors_kept() -> None:
    """Coroutine functions, lambdas around them and plain functions; one that fails does not stop the rest."""
    done: list[str] = []

    async def close(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    async def fails() -> None:
        raise OSError("cannot close")

    async def main() -> Shutdown:
        async with Shutdown(signals=()) as shutdown:
            shutdown.defer(close, "first")
            shutdown.defer(fails)
            shutdown.defer(lambda: close("second"))
            shutdown.defer(done.append, "third")
        return shutdown

    steps = asyncio.run(main()).steps
    assert done == ["third", "second", "first"]
    assert [type(step.error) for step in steps] == [type(None), type(None), OSError, type(None)]


@pytest.mark.parametrize("early", [True, False])
def test_an_async_callback_without_a_loop_is_refused(early: bool) -> None:
    """It would be made and never awaited, whether it is deferred before or within the block."""

    async def close() -> None: ...

    shutdown = Shutdown(signals=())
    if early:
        shutdown.defer(close)
        with pytest.raises(UsageError, match="expected a synchronous function"):
            shutdown.__enter__()
    else:
        with shutdown, pytest.raises(UsageError, match="expected a synchronous function"):
            shutdown.defer(close)


def test_a_shutdown_in_a_loop_asks_for_async_with() -> None:
    """A plain ``with`` would hold up the loop while it waits for the operations of that loop."""

    async def main() -> None:
        with pytest.raises(UsageError, match="expected 'async with'"):
            Shutdown(signals=()).__enter__()

    asyncio.run(main())


def test_an_async_shutdown_whose_wait_is_cancelled_still_lets_go() -> None:
    """The old handlers are back and the watcher has ended, though the task was cancelled in the middle."""

    async def held(shutdown: Shutdown) -> None:
        operation = shutdown.operation("stuck")
        async with shutdown:
            operation.__enter__()

    async def main() -> None:
        shutdown = Shutdown(grace=60, signals=())
        task = asyncio.create_task(held(shutdown))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert shutdown._watcher is not None
        assert not shutdown._watcher.is_alive()

    asyncio.run(main())


def test_leaving_a_supervisor_leaves_the_shutdown_as_it_is() -> None:
    """Its threads stop; whether the program is to end is not its business."""
    with Shutdown(grace=30, signals=()) as shutdown:
        with Supervisor(stop=shutdown.wake) as supervisor:
            worker = supervisor.spawn("waits", lambda worker: worker.stop.wait(30))
        assert not worker.alive
        assert not shutdown.requested
        shutdown.request("now", 3)
        assert (shutdown.reason, shutdown.exit_code) == ("now", 3)
        assert shutdown.remaining <= 30


@pytest.mark.parametrize("make", [Stop, threading.Event])
def test_a_signal_from_outside_stops_the_threads_at_once(make: Any) -> None:
    """Of ours, or any Event: the threads see it within 50 ms, and the event is not set by the supervisor."""
    outer = make()
    seen: list[float] = []

    def waits(worker: Any) -> None:
        worker.stop.wait(30)
        seen.append(time.monotonic())

    with Supervisor(stop=outer) as supervisor:
        supervisor.spawn("waits", waits)
        begun = time.monotonic()
        outer.set()
        supervisor.workers["waits"].thread.join(10)  # type: ignore[union-attr]
    # A loaded machine may be late; a poll of a second is so every time.
    assert seen[0] - begun < 0.5


def test_to_set_the_wake_of_a_shutdown_is_to_request_it() -> None:
    """Reason and deadline are there, so that the grace is kept and a second request changes nothing."""
    with Shutdown(grace=30, signals=()) as shutdown:
        shutdown.wake.set()
        assert shutdown.requested
        assert shutdown.reason == "its wake event was set"
        assert 0 < shutdown.remaining <= 30
        with pytest.raises(ShuttingDown), shutdown.operation("late"):
            pass


def test_a_stop_wakes_tasks_from_any_thread() -> None:
    """A wait in an event loop ends when a thread sets the signal; the waker is forgotten afterwards."""
    stop = Stop()

    async def main() -> tuple[bool, bool]:
        early = await stop.wait_async(0.001)
        threading.Timer(0.01, stop.set).start()
        return early, await stop.wait_async(30)

    assert asyncio.run(main()) == (False, True)
    assert stop._wakers == []
    told: list[str] = []
    stop.tell(lambda: told.append("at once"))()
    assert told == ["at once"]


def test_a_supervisor_is_used_once() -> None:
    """Entered again its stop would be set already, and its threads end at once."""
    supervisor = Supervisor()
    with supervisor:
        pass
    with pytest.raises(UsageError, match="expected one block"):
        supervisor.__enter__()


def test_a_restart_waits_and_the_waits_double() -> None:
    """What is away for a moment does not use up all restarts before it is back."""
    clock = VirtualClock()
    supervisor = Supervisor(SupervisionOptions(restarts=3, delay=1.0, delay_cap=3.0, within=60), clock=clock)
    supervisor._monitor = threading.current_thread()  # nothing looks but this test
    begun: list[float] = []
    ended = threading.Event()

    def dies(worker: Any) -> None:
        begun.append(clock.monotonic())
        ended.set()
        raise OSError

    def look() -> None:
        supervisor.check()

    worker = supervisor.spawn("share", dies)
    for _ in range(20):
        assert ended.wait(10)
        if worker.thread is not None:
            worker.thread.join(10)
        look()
        if worker.given_up:
            break
        if worker.thread is None:
            clock.advance(0.5)
            ended.clear()
            look()
            if worker.thread is None:
                ended.set()
    assert begun == [0.0, 1.0, 3.0, 6.0]
    assert worker.given_up


@pytest.mark.parametrize("make", [Stop, threading.Event])
@pytest.mark.parametrize("kind", ["limiter", "bulkhead", "retry", "queue"])
def test_the_signal_ends_the_waits_of_threads(kind: str, make: Any) -> None:
    """A turn, a place, a further attempt, an item: what waits for one in a thread is told at once."""
    wake = make()
    waiting, release = threading.Event(), threading.Event()
    limiter = RateLimiter(0.001, max_wait=1e6, wake=wake)
    bulkhead = Bulkhead(1, queue=5, wake=wake)
    queue: HandoffQueue[int] = HandoffQueue("q", QueueOptions(timeout=1e6), stop=wake)

    def fails() -> None:
        waiting.set()
        raise OSError

    def wait() -> None:
        if kind == "retry":
            retry(on=OSError, wait=Constant(1e6), wake=wake).call(fails)
        waiting.set()
        if kind == "limiter":
            limiter.acquire()
        elif kind == "bulkhead":
            bulkhead.call(lambda: None)
        else:
            queue.get()

    limiter.acquire()
    holder = threading.Thread(target=lambda: bulkhead.call(lambda: release.wait(30)))
    holder.start()
    errors: list[BaseException] = []
    ended: list[float] = []

    def run() -> None:
        try:
            wait()
        except Exception as error:
            errors.append(error)
        ended.append(time.monotonic())

    while bulkhead.in_use == 0:
        time.sleep(0)
    waiter = threading.Thread(target=run)
    waiter.start()
    assert waiting.wait(10)
    begun = time.monotonic()
    wake.set()
    waiter.join(10)
    release.set()
    holder.join(10)
    expected = {"retry": OSError, "queue": QueueClosed}.get(kind, ShuttingDown)
    assert [type(error) for error in errors] == [expected]
    assert ended[0] - begun < 5
    assert bulkhead.in_use == bulkhead.waiting == 0


@pytest.mark.parametrize("make", [Stop, threading.Event])
@pytest.mark.parametrize("kind", ["limiter", "bulkhead"])
def test_the_signal_ends_the_waits_of_tasks(kind: str, make: Any) -> None:
    """The same for coroutines; the turn goes back, and the place in the queue is free."""
    wake = make()
    limiter = RateLimiter(0.001, max_wait=1e6, wake=wake)
    bulkhead = Bulkhead(1, queue=5, wake=wake)

    async def main() -> None:
        hold = asyncio.Event()
        limiter.acquire()
        holder = asyncio.create_task(bulkhead.call(hold.wait))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        work = limiter.aacquire() if kind == "limiter" else bulkhead(hold.wait)()
        waiter = asyncio.create_task(work)  # type: ignore[arg-type]
        await asyncio.sleep(0)
        wake.set()
        with pytest.raises(ShuttingDown, match="wake signal"):
            await asyncio.wait_for(waiter, 10)
        hold.set()
        await holder

    asyncio.run(main())
    assert bulkhead.in_use == bulkhead.waiting == 0


@pytest.mark.parametrize("short", [False, True])
def test_the_thread_has_ended_when_its_end_returns(short: bool) -> None:
    """Also where memory runs out once on the way: what it has open would be closed under it."""

    class Short(threading.Event):
        failed = not short

        def set(self) -> None:
            super().set()
            if not self.failed:
                self.failed = True
                raise MemoryError

    over = Short()

    def look() -> None:
        over.wait()
        time.sleep(0)

    for _ in range(20):
        over.clear()
        over.failed = not short
        thread = threading.Thread(target=look)
        thread.start()
        end(thread, over)
        assert not thread.is_alive()


def test_a_closed_queue_watches_its_signal_no_longer() -> None:
    """The thread that looked at it ends: a program may make many queues for one signal."""
    before = set(threading.enumerate())
    queue: HandoffQueue[int] = HandoffQueue("q", stop=threading.Event())
    (watching,) = set(threading.enumerate()) - before
    queue.close()
    watching.join(5)
    assert not watching.is_alive()
