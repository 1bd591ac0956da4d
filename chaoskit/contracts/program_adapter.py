"""The adapter through which the program rows drive a library: its places for functions, waits, and work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from chaoskit.contracts.virtual import RecordingClock
from chaoskit.runtime import (
    Bulkhead,
    Candidate,
    Category,
    CircuitBreaker,
    Constant,
    FallbackChain,
    HandoffQueue,
    JobBoard,
    JobOptions,
    JobRunner,
    JobState,
    PartialFailureCollector,
    QueueClosed,
    QueueOptions,
    RateLimiter,
    Recovery,
    RecoveryStep,
    Shutdown,
    ShuttingDown,
    Stop,
    SupervisionOptions,
    Supervisor,
    TaskSupervisor,
    VirtualClock,
    retry,
)
from chaoskit.runtime.stop import watched

__all__ = ["ChaoskitProgram", "ProgramAdapter", "StoppedWork", "Taker", "Wait"]

Taker: TypeAlias = Callable[[Callable[..., Any]], Any]
"""Gives a function to a place in the library, which then calls it. If the taker is async, it is awaited."""

Wait: TypeAlias = Callable[[threading.Event, Callable[[], None], RecordingClock], Any]
"""Calls its second argument, then waits until the first is set, or for longer than any test may last."""


@dataclass(frozen=True, slots=True)
class StoppedWork:
    """A library's account of stopped work: names that count as done, and names that can be found again."""

    done: frozenset[str]
    found: frozenset[str]


class ProgramAdapter(Protocol):
    """One implementation under test.

    ``features`` are those of ``takers``, ``waits`` and ``works`` that are not empty. ``patience`` is how many
    seconds a row waits for a thread. Only tasks have to react within 50 ms, in virtual time: a busy machine
    may leave a thread waiting for longer than that.
    """

    name: str
    features: frozenset[str]
    patience: float
    takers: Mapping[str, Taker]
    waits: Mapping[str, Wait]
    works: Mapping[str, Callable[[Sequence[str]], StoppedWork]]


def _nothing(*args: Any) -> None:
    return None


class ChaoskitProgram:
    """The adapter for our own runtime. Subclass it to test a variant."""

    name = "chaoskit"
    features = frozenset({"takers", "waits", "works"})
    patience = 30.0

    def __init__(self) -> None:
        self.takers: Mapping[str, Taker] = {
            "predicate": _predicate,
            "result predicate": _result_predicate,
            "hook": _hook,
            "listener": _listener,
            "breaker's predicate": _breaker_predicate,
            "candidate": _candidate,
            "async candidate": _async_candidate,
            "alternative": _alternative,
            "job": _job,
            "worker": _worker,
            "clean-up": _clean_up,
            "async clean-up": _async_clean_up,
            "item": _item,
        }
        self.waits: Mapping[str, Wait] = {
            "retry": _retry_wait,
            "retry of a task": _retry_await,
            "limiter": _limiter_wait,
            "limiter in a task": _limiter_await,
            "bulkhead": _bulkhead_wait,
            "bulkhead in a task": _bulkhead_await,
            "queue": _queue_wait,
            "supervisor": _supervisor_wait,
            "task supervisor": _supervisor_await,
            "job": _job_wait,
            "shutdown": _shutdown_wait,
            "shutdown in a task": _shutdown_await,
        }
        self.works: Mapping[str, Callable[[Sequence[str]], StoppedWork]] = {
            "jobs that wait": _waiting_jobs,
            "jobs that obey": _obeying_jobs,
            "jobs that hang": _hanging_jobs,
            "items of a cancelled batch": _cancelled_batch,
        }


# -- what takes a function ---------------------------------------------------------------------------


def _fails(*args: Any) -> None:
    raise ConnectionError


def _tried(call: Callable[[], Any]) -> None:
    """Call without raising the error of the work, which is not what the row asks about."""
    try:
        call()
    except ConnectionError:
        pass


def _predicate(fn: Callable[..., Any]) -> None:
    _tried(lambda: retry(on=fn, attempts=2, wait=Constant(0.0)).call(_fails))


def _result_predicate(fn: Callable[..., Any]) -> None:
    retry(on=OSError, on_result=fn, attempts=2, wait=Constant(0.0)).call(_nothing)


def _hook(fn: Callable[..., Any]) -> None:
    _tried(lambda: retry(on=OSError, attempts=2, wait=Constant(0.0), hooks=(fn,)).call(_fails))


def _listener(fn: Callable[..., Any]) -> None:
    _tried(lambda: CircuitBreaker(failures=1, listeners=[fn]).call(_fails))


def _breaker_predicate(fn: Callable[..., Any]) -> None:
    _tried(lambda: CircuitBreaker(on=fn).call(_fails))


def _candidate(fn: Callable[..., Any]) -> None:
    FallbackChain(Candidate("theirs", fn)).choose()


async def _async_candidate(fn: Callable[..., Any]) -> None:
    await FallbackChain(Candidate("theirs", fn)).achoose()


def _alternative(fn: Callable[..., Any]) -> None:
    Recovery(by={Category.TRANSIENT: RecoveryStep.ALTERNATIVE}, alternative=fn).run(_fails)


def _job(fn: Callable[..., Any]) -> None:
    with JobRunner(JobOptions(attempts=1)) as runner:
        runner.submit("job", fn)
    error = runner.board.error("job")
    if error is not None:
        raise error


def _worker(fn: Callable[..., Any]) -> None:
    with Supervisor(SupervisionOptions(restarts=0)) as supervisor:
        worker = supervisor.spawn("worker", fn)
        supervisor.join(30)
    if worker.error is not None:
        raise worker.error


def _clean_up(fn: Callable[..., Any]) -> None:
    with Shutdown(signals=(), exit=_nothing) as shutdown:
        shutdown.defer(fn)
    for step in shutdown.steps:
        if step.error is not None:
            raise step.error


async def _async_clean_up(fn: Callable[..., Any]) -> None:
    async with Shutdown(signals=(), exit=_nothing) as shutdown:
        shutdown.defer(fn)
    for step in shutdown.steps:
        if step.error is not None:
            raise step.error


def _item(fn: Callable[..., Any]) -> None:
    PartialFailureCollector[int, Any]().run(fn, [1])


# -- what waits --------------------------------------------------------------------------------------

LONG = 1e5
"""Seconds that each wait would take without the signal: more than a day."""


def _retry_wait(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    def work() -> None:
        waiting()
        raise ConnectionError

    _tried(lambda: retry(on=OSError, attempts=3, wait=Constant(LONG), wake=stop).call(work))


async def _retry_await(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    async def work() -> None:
        waiting()
        raise ConnectionError

    try:
        await retry(on=OSError, attempts=3, wait=Constant(LONG), wake=stop, clock=clock).acall(work)
    except ConnectionError:
        pass


def _limiter_wait(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    limiter = RateLimiter(1 / LONG, max_wait=2 * LONG, wake=stop)
    limiter.acquire()
    waiting()
    try:
        limiter.acquire()
    except ShuttingDown:
        pass


async def _limiter_await(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    limiter = RateLimiter(1 / LONG, max_wait=2 * LONG, wake=stop, clock=clock)
    limiter.acquire()
    waiting()
    try:
        await limiter.aacquire()
    except ShuttingDown:
        pass


def _bulkhead_wait(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    bulkhead = Bulkhead(1, queue=1, wake=stop)
    with bulkhead:
        waiting()
        try:
            bulkhead.call(_nothing)
        except ShuttingDown:
            pass


async def _bulkhead_await(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    bulkhead = Bulkhead(1, queue=1, wake=stop)

    async def work() -> None:
        pass

    async with bulkhead:
        waiting()
        try:
            await bulkhead(work)()
        except ShuttingDown:
            pass


def _queue_wait(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    queue = HandoffQueue[int]("queue", QueueOptions(timeout=LONG), stop=stop)
    waiting()
    try:
        queue.get()
    except QueueClosed:
        pass


def _supervisor_wait(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    with Supervisor(stop=stop) as supervisor:
        supervisor.spawn("worker", lambda worker: worker.stop.wait(LONG))
        waiting()
        supervisor.join(LONG)


async def _supervisor_await(
    stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock
) -> None:
    async with TaskSupervisor(stop=stop, clock=clock) as supervisor:
        waiting()
        await supervisor.stop.wait_async(LONG)


def _job_wait(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    options = JobOptions(timeout=2 * LONG, stuck_after=2 * LONG)
    with JobRunner(options, stop=stop) as runner:
        runner.submit("job", lambda ticket: ticket.cancelled.wait(LONG))
        waiting()


def _shutdown_wait(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    with Shutdown(signals=(), exit=_nothing) as shutdown:
        forget = watched(stop, shutdown.wake)
        waiting()
        shutdown.wait(LONG)
        forget()


async def _shutdown_await(stop: threading.Event, waiting: Callable[[], None], clock: RecordingClock) -> None:
    async with Shutdown(signals=(), exit=_nothing) as shutdown:
        # Not watched(), as above: its thread polls any signal but our own events, and does so in real time.
        forget = stop.tell(shutdown.wake.set) if isinstance(stop, Stop) else _nothing
        waiting()
        await shutdown.wait_async(LONG)
        forget()


# -- what stops work ---------------------------------------------------------------------------------


def _waiting_jobs(names: Sequence[str]) -> StoppedWork:
    board = JobBoard()
    for name in names:
        board.submit(name)
    board.withdraw()
    return _of_board(board, names)


def _obeying_jobs(names: Sequence[str]) -> StoppedWork:
    board = JobBoard(JobOptions(concurrency=max(1, len(names))))
    for name in names:
        board.submit(name)
    tickets = [ticket for _ in names if (ticket := board.claim()) is not None]
    board.withdraw()
    for ticket in tickets:
        # They return because they were asked to end, and have not done their work.
        board.finish(ticket)
    return _of_board(board, names)


def _hanging_jobs(names: Sequence[str]) -> StoppedWork:
    clock = VirtualClock()
    board = JobBoard(JobOptions(concurrency=max(1, len(names)), requeues=0), clock=clock)
    for name in names:
        board.submit(name)
    tickets = [ticket for _ in names if (ticket := board.claim()) is not None]
    clock.advance(board.options.stuck_after)
    board.sweep()
    for ticket in tickets:
        # Too late: the attempt was written off.
        board.finish(ticket)
    return _of_board(board, names)


def _of_board(board: Any, names: Sequence[str]) -> StoppedWork:
    done = frozenset(name for name in names if board.state(name) is JobState.DONE)
    failed = {name for name in names if board.state(name) is JobState.FAILED}
    return StoppedWork(done, frozenset(failed | set(board.left)))


def _cancelled_batch(names: Sequence[str]) -> StoppedWork:
    collector = PartialFailureCollector[str, Any]()

    async def main() -> None:
        begun = asyncio.Event()

        async def work(name: str) -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(collector.arun(work, names, concurrency=2))
        if names:
            await begun.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    return StoppedWork(frozenset(one.item for one in collector.successes), frozenset(collector.skipped))
