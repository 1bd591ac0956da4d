"""Supervised asyncio tasks: as with threads, dead ones are restarted, within limits, stuck ones reported."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, is_async, synchronous, synchronous_all
from chaoskit.runtime.calling.loops import needs_asyncio
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit
from chaoskit.runtime.running.restarts import Deaths, SupervisionOptions
from chaoskit.runtime.running.supervise import SuspectedDeadlock
from chaoskit.runtime.stop import Stop, sleep_async, watched

if TYPE_CHECKING:
    import asyncio

__all__ = ["TaskDied", "TaskGivenUp", "TaskRestarted", "TaskStuck", "TaskSupervisor", "TaskWorker"]

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDied(Event):
    """A supervised task has ended; ``error`` is None if its function returned, or it was cancelled."""

    name: ClassVar[str] = "task.died"
    task: str
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRestarted(Event):
    """A dead task's function runs again, for the ``restarts``-th time."""

    name: ClassVar[str] = "task.restarted"
    task: str
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGivenUp(Event):
    """A task has died of ``error`` and will not be restarted."""

    name: ClassVar[str] = "task.given_up"
    task: str
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStuck(Event):
    """A task has not shown that it is alive for ``silent`` seconds; ``stack`` shows where it waits."""

    name: ClassVar[str] = "task.stuck"
    task: str
    silent: float
    stack: str


class TaskWorker:
    """A supervised coroutine function. It should return soon after ``stop`` is set, and call :meth:`beat`.

    ``await worker.stop.wait_async(seconds)`` is a pause that ``stop`` ends.
    """

    def __init__(self, name: str, stop: Stop, clock: Clock) -> None:
        self.name = name
        self.stop = stop
        self.restarts = 0
        self.error: BaseException | None = None
        self.given_up = False
        self._clock = clock
        self._beaten = clock.monotonic()
        self._reported = False
        self._task: asyncio.Task[object] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """True while the task runs."""
        return self._task is not None and not self._task.done()

    def beat(self) -> None:
        """Show that the task is alive; after ``stuck_after`` silent seconds it is reported as stuck."""
        self._beaten = self._clock.monotonic()
        self._reported = False


class TaskSupervisor:
    """Starts tasks, restarts dead ones, and ends them all when the ``async with`` block is left.

    The options, ``stop`` and ``on_give_up`` are those of :class:`Supervisor`. Leaving the block sets ``stop``
    and waits ``join_timeout`` seconds, then cancels the remaining tasks; if an error leaves the block, all
    are cancelled at once. If a task does not end even then, :class:`SuspectedDeadlock` is raised.

    A task that another part of the program cancels counts as returned.
    """

    def __init__(
        self,
        options: SupervisionOptions | None = None,
        *,
        listeners: Sequence[Listener] = (),
        on_give_up: Callable[[TaskWorker], object] | None = None,
        clock: Clock | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        given = kinds.instance("options", options, SupervisionOptions, optional=True)
        self.options = given or SupervisionOptions()
        self.stop = Stop()
        self.workers: dict[str, TaskWorker] = {}
        self._outer = kinds.event("stop", stop)
        self._forget: Callable[[], None] | None = None
        self._listeners = synchronous_all("listener", listeners)
        synchronous("on_give_up", on_give_up)
        self._on_give_up = on_give_up
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._entered = self._left = False

    def spawn(
        self, name: str, target: Callable[..., Awaitable[object]], *args: Any, **kwargs: Any
    ) -> TaskWorker:
        """Run ``await target(worker, *args, **kwargs)`` in a task, in the caller's context.

        Raises:
            UsageError: this is outside the block, the name is in use, or ``target`` is not ``async def``.
        """
        import asyncio

        if not self._entered or self._left:
            raise UsageError(
                "The supervisor does not watch now; expected to be in its async with block. Enter it first."
            )
        if not is_async(target):
            raise wrong("target", target, "an async function", "Supervisor runs others, in threads.")
        if name in self.workers:
            raise wrong("task name", name, "a name that is not in use", "Names are how tasks are told apart.")
        worker = self.workers[name] = TaskWorker(name, self.stop, self._clock)

        async def life() -> object:
            return await target(worker, *args, **kwargs)

        keeping = self._keep(worker, life)
        worker._keeper = asyncio.create_task(keeping, name=f"chaoskit-keeper-{name}")
        return worker

    async def __aenter__(self) -> TaskSupervisor:
        needs_asyncio("a task supervisor")
        if self._entered:
            raise UsageError(
                "This TaskSupervisor is in use, or was; expected one block. Make a new one for another."
            )
        self._entered = True
        if self._outer is not None:
            self._forget = watched(self._outer, self.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self.stop.set()
        try:
            running = await self._ended_within(self.options.join_timeout if kind is None else 0.0)
            if running:
                self._cancel(running)
                running = await self._ended_within(self.options.join_timeout)
        except BaseException:
            # The wait itself was cancelled: even so, no task may outlive the block.
            self._cancel(self._running())
            raise
        finally:
            if self._forget is not None:
                self._forget()
        if running:
            self._cannot_end(running, error)

    def _running(self) -> list[TaskWorker]:
        return [w for w in self.workers.values() if w._keeper is not None and not w._keeper.done()]

    async def _ended_within(self, seconds: float) -> list[TaskWorker]:
        import asyncio

        keepers = [w._keeper for w in self.workers.values() if w._keeper is not None]
        if keepers:
            await asyncio.wait(keepers, timeout=seconds)
        return self._running()

    def _cancel(self, workers: Sequence[TaskWorker]) -> None:
        for worker in workers:
            if worker._task is not None:
                worker._task.cancel()
            elif worker._keeper is not None:
                worker._keeper.cancel()

    def _cannot_end(self, running: Sequence[TaskWorker], error: BaseException | None) -> None:
        names = [worker.name for worker in running]
        stacks = "\n".join(_stack(worker) for worker in running)
        text = f"suspected deadlock: {', '.join(names)} did not end when cancelled\n{stacks}"
        if error is not None:
            # The block's own error says more, and is often the cause.
            logger.error("%s", text)
            return
        raise SuspectedDeadlock(text, threads=names, stacks=stacks)

    async def _keep(self, worker: TaskWorker, make: Callable[[], Any]) -> None:
        """Run the worker until it has ended for good."""
        deaths = Deaths(self.options)
        while True:
            error = await self._run(worker, make)
            self._tell(TaskDied, worker, error=error)
            if error is not None:
                logger.error("task %s died", worker.name, exc_info=error)
            if self.stop.is_set():
                return
            if not deaths.wants_restart(error):
                if error is not None:
                    self._give_up(worker, error)
                return
            pause = deaths.pause(self._clock.monotonic())
            if pause is None:
                self._give_up(worker, error)
                return
            if await sleep_async(self._clock, pause, self.stop):
                return
            worker.restarts += 1
            self._tell(TaskRestarted, worker, restarts=worker.restarts)

    async def _run(self, worker: TaskWorker, make: Callable[[], Any]) -> BaseException | None:
        """Run the worker once; return the error it died of, None if it returned or was cancelled."""
        import asyncio

        worker.beat()
        worker.error = None
        task = worker._task = asyncio.create_task(make(), name=worker.name)
        try:
            while not task.done():
                every = None if self.options.stuck_after is None else self.options.check_every
                await asyncio.wait({task}, timeout=every)
                self._look_for_life(worker)
        finally:
            # If this task is cancelled, perhaps by the end of the loop, the worker's task must not outlive
            # it.
            task.cancel()
        worker._task = None
        worker.error = None if task.cancelled() else task.exception()
        return worker.error

    def _look_for_life(self, worker: TaskWorker) -> None:
        limit, silent = self.options.stuck_after, self._clock.monotonic() - worker._beaten
        if limit is None or silent < limit or worker._reported or not worker.alive:
            return
        worker._reported = True
        stack = _stack(worker)
        logger.error("task %s has been silent for %.1f s\n%s", worker.name, silent, stack)
        self._tell(TaskStuck, worker, silent=silent, stack=stack)

    def _give_up(self, worker: TaskWorker, error: BaseException | None) -> None:
        worker.given_up = True
        logger.error("task %s is not started again", worker.name)
        self._tell(TaskGivenUp, worker, error=error)
        if self._on_give_up is not None:
            try:
                called("on_give_up", self._on_give_up, worker)
            except Exception:
                logger.exception("on_give_up failed for task %s", worker.name)

    def _tell(self, kind: Callable[..., Event], worker: TaskWorker, **known: Any) -> None:
        emit(self._listeners, kind(at=self._clock.monotonic(), task=worker.name, **known))


def _stack(worker: TaskWorker) -> str:
    if worker._task is None:
        return f"{worker.name} is not running: it waits for its restart"
    frames: list[tuple[FrameType, int]] = []
    step: object = worker._task.get_coro()
    # Task.print_stack shows only the outermost coroutine of a waiting task, which is our own.
    while (frame := getattr(step, "cr_frame", None) or getattr(step, "gi_frame", None)) is not None:
        frames.append((frame, frame.f_lineno))
        step = getattr(step, "cr_await", None) or getattr(step, "gi_yieldfrom", None)
    return f"task {worker.name}:\n{''.join(traceback.StackSummary.extract(iter(frames)).format())}"
