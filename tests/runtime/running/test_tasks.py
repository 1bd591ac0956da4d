"""Supervised asyncio tasks: restarted within a limit, shown when stuck, all over when the block is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chaoskit.runtime import (
    Event,
    Restart,
    Shutdown,
    SupervisionOptions,
    SuspectedDeadlock,
    TaskGivenUp,
    TaskRestarted,
    TaskStuck,
    TaskSupervisor,
    TaskWorker,
    UsageError,
    VirtualClock,
)

AT_ONCE = SupervisionOptions(delay=0.0, join_timeout=5.0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until ``condition`` holds; a test that hangs is ended by its own time limit."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


def does_not_listen() -> tuple[Callable[[TaskWorker], Coroutine[Any, Any, None]], list[str]]:
    """Work that waits forever and cleans up when it is cancelled; and the list that tells so."""
    seen: list[str] = []

    async def deaf(worker: TaskWorker) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("clean")

    return deaf, seen


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


def test_a_dead_task_runs_again_until_it_stays() -> None:
    """A task that fails twice is started twice again, and the third life goes on."""
    told: list[Event] = []

    async def poll(worker: TaskWorker, share: str) -> None:
        if worker.restarts < 2:
            raise OSError(f"{share} went away")
        await worker.stop.wait_async()

    async def main() -> TaskWorker:
        async with TaskSupervisor(AT_ONCE, listeners=[told.append]) as supervisor:
            worker = supervisor.spawn("poller", poll, "//share")
            await until(lambda: worker.restarts == 2 and worker.alive)
        return worker

    worker = run(main())
    assert not worker.alive
    assert not worker.given_up
    assert [one.restarts for one in told if isinstance(one, TaskRestarted)] == [1, 2]
    assert str(told[0].error) == "//share went away"  # type: ignore[attr-defined]


def test_restarts_pause_twice_as_long_each_time_and_have_a_limit() -> None:
    """The pauses are 1, 2 and 4 seconds; the fourth death is one too many and is told."""
    clock, given_up, told = VirtualClock(), [], []

    async def fail(worker: TaskWorker) -> None:
        raise OSError

    async def main() -> TaskWorker:
        options = SupervisionOptions(restarts=3, delay=1.0, within=60.0)
        supervisor = TaskSupervisor(options, clock=clock, on_give_up=given_up.append, listeners=[told.append])
        async with supervisor:
            worker = supervisor.spawn("poller", fail)
            await until(lambda: worker.given_up)
        return worker

    worker = run(main())
    assert given_up == [worker]
    assert worker.restarts == 3
    assert clock.monotonic() == pytest.approx(7.0)
    assert isinstance(told[-1], TaskGivenUp)


def test_deaths_of_long_ago_do_not_count() -> None:
    """One death in each window is never too many."""
    clock = VirtualClock()

    async def fail(worker: TaskWorker) -> None:
        if worker.restarts == 9:
            await worker.stop.wait_async()
        clock.advance(61.0)
        raise OSError

    async def main() -> TaskWorker:
        async with TaskSupervisor(SupervisionOptions(restarts=1, delay=0.0), clock=clock) as supervisor:
            worker = supervisor.spawn("poller", fail)
            await until(lambda: worker.restarts == 9 or worker.given_up)
        return worker

    assert not run(main()).given_up


@pytest.mark.parametrize(
    ("rule", "error", "lives"),
    [
        (Restart.ON_ERROR, None, 1),
        (Restart.ON_ERROR, OSError, 4),
        (Restart.ALWAYS, None, 4),
        (Restart.NEVER, OSError, 1),
    ],
)
def test_the_rule_says_when(rule: Restart, error: type[OSError] | None, lives: int) -> None:
    """After an error, always, or never: with a limit of three there are at most four lives."""
    begun = []

    async def work(worker: TaskWorker) -> None:
        begun.append(worker.name)
        if error is not None:
            raise error

    async def main() -> None:
        options = SupervisionOptions(restarts=3, delay=0.0, restart=rule)
        async with TaskSupervisor(options) as supervisor:
            worker = supervisor.spawn("work", work)
            assert worker._keeper is not None
            await worker._keeper

    run(main())
    assert len(begun) == lives


def test_a_shutdown_stops_the_tasks_and_nothing_starts_again() -> None:
    """A request sets the workers' stop; one that fails on its way out stays dead."""
    begun = []

    async def work(worker: TaskWorker) -> None:
        begun.append(worker.name)
        await worker.stop.wait_async()
        raise OSError("too late")

    async def main() -> bool:
        async with (
            Shutdown(signals=(), exit=lambda code: None) as shutdown,
            TaskSupervisor(AT_ONCE, stop=shutdown.wake) as supervisor,
        ):
            worker = supervisor.spawn("work", work)
            await until(lambda: begun)
            shutdown.request("enough")
            await until(lambda: not worker.alive)
            return supervisor.stop.is_set()

    assert run(main())
    assert begun == ["work"]


def test_leaving_the_block_leaves_the_shutdown_as_it_is() -> None:
    """The end of the supervisor is not a request for a shutdown."""

    async def main() -> bool:
        async with Shutdown(signals=(), exit=lambda code: None) as shutdown:
            async with TaskSupervisor(stop=shutdown.wake) as supervisor:
                supervisor.spawn("work", lambda_of_stop)
            return shutdown.requested

    async def lambda_of_stop(worker: TaskWorker) -> None:
        await worker.stop.wait_async()

    assert not run(main())


def test_what_does_not_listen_is_cancelled() -> None:
    """After ``join_timeout`` a task is cancelled, and its clean-up has run when the block is left."""
    deaf, seen = does_not_listen()

    async def main() -> None:
        async with TaskSupervisor(SupervisionOptions(join_timeout=0.01)) as supervisor:
            supervisor.spawn("deaf", deaf)
            await asyncio.sleep(0)

    run(main())
    assert seen == ["clean"]


def test_what_swallows_its_cancellation_is_named() -> None:
    """A task that does not end of a cancellation either is a suspected deadlock, and its stack is shown."""
    let_go = asyncio.Event()

    async def stubborn(worker: TaskWorker) -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                pass

    async def main() -> SuspectedDeadlock:
        supervisor = TaskSupervisor(SupervisionOptions(join_timeout=0.01))
        await supervisor.__aenter__()
        worker = supervisor.spawn("stubborn", stubborn)
        await until(lambda: worker.alive)
        with pytest.raises(SuspectedDeadlock) as caught:
            await supervisor.__aexit__(None, None, None)
        let_go.set()
        assert worker._keeper is not None
        await worker._keeper
        return caught.value

    error = run(main())
    assert error.threads == ("stubborn",)
    assert "in stubborn" in error.stacks


def test_an_error_of_the_block_ends_the_tasks_at_once_and_is_what_is_raised() -> None:
    """No time is spent on waiting for tasks when the block has failed."""
    deaf, seen = does_not_listen()

    async def main() -> None:
        async with TaskSupervisor(SupervisionOptions(join_timeout=3600.0)) as supervisor:
            supervisor.spawn("deaf", deaf)
            await asyncio.sleep(0)
            raise KeyError("the block's")

    with pytest.raises(KeyError, match="the block's"):
        run(main())
    assert seen == ["clean"]


def test_a_cancelled_task_has_ended() -> None:
    """A task that another part cancels is not started again, and nothing counts as an error."""

    async def work(worker: TaskWorker) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> TaskWorker:
        async with TaskSupervisor(AT_ONCE) as supervisor:
            worker = supervisor.spawn("work", work)
            await until(lambda: worker.alive)
            assert worker._task is not None
            worker._task.cancel()
            await until(lambda: worker._keeper is not None and worker._keeper.done())
        return worker

    worker = run(main())
    assert (worker.restarts, worker.error, worker.given_up) == (0, None, False)


def test_a_cancelled_block_leaves_no_task_behind() -> None:
    """If the wait at the end of the block is cancelled, so are the tasks."""
    deaf, seen = does_not_listen()

    async def block(leaving: asyncio.Event) -> None:
        async with TaskSupervisor(SupervisionOptions(join_timeout=3600.0)) as supervisor:
            supervisor.spawn("deaf", deaf)
            await asyncio.sleep(0)
            leaving.set()

    async def main() -> None:
        leaving = asyncio.Event()
        task = asyncio.create_task(block(leaving))
        await leaving.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: seen)

    run(main())
    assert seen == ["clean"]


def test_a_silent_task_is_reported_once_with_its_stack() -> None:
    """One that gives no sign of life for ``stuck_after`` is told once; a beat makes it alive again."""
    clock, told = VirtualClock(), []

    async def hang(worker: TaskWorker) -> None:
        await worker.stop.wait_async()

    async def main() -> None:
        options = SupervisionOptions(stuck_after=10.0, check_every=0.001)
        async with TaskSupervisor(options, clock=clock, listeners=[told.append]) as supervisor:
            supervisor.spawn("hanging", hang)
            await until(lambda: supervisor.workers["hanging"].alive)
            clock.advance(9.0)
            await asyncio.sleep(0.02)
            assert not told
            clock.advance(1.0)
            await until(lambda: told)
            await asyncio.sleep(0.02)

    run(main())
    stuck = [one for one in told if isinstance(one, TaskStuck)]
    assert [(one.task, one.silent) for one in stuck] == [("hanging", 10.0)]
    assert "in hang" in stuck[0].stack


def test_what_a_listener_or_the_handler_raises_ends_no_supervision() -> None:
    """The task is restarted and given up as without them."""

    def broken(about: object) -> None:
        raise RuntimeError

    async def fail(worker: TaskWorker) -> None:
        raise OSError

    async def main() -> TaskWorker:
        options = SupervisionOptions(restarts=1, delay=0.0)
        async with TaskSupervisor(options, listeners=[broken], on_give_up=broken) as supervisor:
            worker = supervisor.spawn("poller", fail)
            await until(lambda: worker.given_up)
        return worker

    assert run(main()).restarts == 1


def test_wrong_use_says_what_to_do() -> None:
    """Outside the block, a second block, a name in use, and what nothing would await are refused."""

    async def work(worker: TaskWorker) -> None:
        await worker.stop.wait_async()

    async def main() -> None:
        supervisor = TaskSupervisor()
        with pytest.raises(UsageError, match="Enter it first"):
            supervisor.spawn("work", work)
        async with supervisor:
            supervisor.spawn("work", work)
            with pytest.raises(UsageError, match="a name that is not in use"):
                supervisor.spawn("work", work)
            with pytest.raises(UsageError, match="an async function"):
                supervisor.spawn("other", lambda worker: None)  # type: ignore[arg-type,return-value]
        with pytest.raises(UsageError, match="Make a new one"):
            await supervisor.__aenter__()
        with pytest.raises(UsageError, match="Enter it first"):
            supervisor.spawn("late", work)

    run(main())


def test_on_another_loop_it_is_refused_by_name() -> None:
    """trio has nurseries; a supervisor of asyncio's tasks says so before anything has begun."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        async with TaskSupervisor():
            pass

    with pytest.raises(UsageError, match="trio"):
        trio.run(main)
