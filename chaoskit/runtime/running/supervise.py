"""Supervised threads: dead ones are restarted or reported, stuck ones are reported with their stacks."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.callables import called, synchronous, synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.context import carry
from chaoskit.runtime.failures.taxonomy import PermanentError
from chaoskit.runtime.forks import Lasting
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit
from chaoskit.runtime.running.restarts import Deaths, SupervisionOptions
from chaoskit.runtime.running.stacks import all_stacks
from chaoskit.runtime.stop import Stop, watched

__all__ = [
    "Supervisor",
    "SuspectedDeadlock",
    "ThreadDied",
    "ThreadGivenUp",
    "ThreadRestarted",
    "ThreadStuck",
    "Worker",
    "join_all",
]

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadDied(Event):
    """A supervised thread has ended; ``error`` is None if its function returned."""

    name: ClassVar[str] = "thread.died"
    thread: str
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadRestarted(Event):
    """A dead thread's function runs again, for the ``restarts``-th time."""

    name: ClassVar[str] = "thread.restarted"
    thread: str
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadGivenUp(Event):
    """A thread has died and will not be restarted."""

    name: ClassVar[str] = "thread.given_up"
    thread: str
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStuck(Event):
    """A thread has not shown that it is alive for ``silent`` seconds; ``stacks`` shows all threads."""

    name: ClassVar[str] = "thread.stuck"
    thread: str
    silent: float
    stacks: str


class SuspectedDeadlock(PermanentError):
    """Threads did not end in time; ``threads`` has their names, ``stacks`` shows where all threads are."""

    default_hint = "Look in the stacks for two threads that wait for one another."

    def __init__(
        self, message: str = "", *, threads: Iterable[str] = (), stacks: str = "", **known: Any
    ) -> None:
        super().__init__(message, **known)
        self.threads = tuple(threads)
        self.stacks = stacks


def join_all(threads: Iterable[threading.Thread], timeout: float, *, clock: Clock | None = None) -> None:
    """Wait until all ``threads`` have ended, for ``timeout`` seconds in total.

    Raises :class:`SuspectedDeadlock`, with the stacks of all threads in its message, if one has not.
    """
    clock = kinds.clock(clock, optional=True) or SystemClock()
    if not is_number(timeout):
        raise wrong("timeout", timeout, "seconds")
    end = clock.monotonic() + timeout
    given = kinds.listed("threads", threads, threading.Thread)
    # No thread can join itself.
    left = [t for t in given if t is not threading.current_thread()]
    for thread in left:
        thread.join(max(0.0, end - clock.monotonic()))
    stuck = [t.name for t in left if t.is_alive()]
    if stuck:
        stacks = all_stacks()
        text = f"suspected deadlock: {', '.join(stuck)} did not end within {timeout:g} s\n{stacks}"
        raise SuspectedDeadlock(text, threads=stuck, stacks=stacks)


class Worker:
    """A supervised function. It should return soon after ``stop`` is set, and call :meth:`beat` regularly."""

    def __init__(
        self, name: str, target: Callable[[Worker], object], stop: Stop, clock: Clock, deaths: Deaths
    ) -> None:
        self.name = name
        self.stop = stop
        self.restarts = 0
        self.error: BaseException | None = None
        self.given_up = False
        self._target = carry(target)
        self._clock = clock
        self._deaths = deaths
        self._beaten = clock.monotonic()
        self._reported = False
        self.thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """True while the thread runs."""
        return self.thread is not None and self.thread.is_alive()

    def beat(self) -> None:
        """Show that the thread is alive; after ``stuck_after`` silent seconds it is reported as stuck."""
        self._beaten = self._clock.monotonic()
        self._reported = False


class Supervisor(Lasting):
    """Starts threads, watches them from a separate thread, and joins them all when the block is left.

    ``stop`` is a signal from outside, such as ``shutdown.wake``, that stops all threads; leaving the block
    stops them as well, without setting that signal. ``on_give_up`` is called with the worker when a thread
    will not be restarted after an error; typically it requests the shutdown. ``SystemExit`` in a thread
    counts as a return.
    """

    def __init__(
        self,
        options: SupervisionOptions | None = None,
        *,
        listeners: Sequence[Listener] = (),
        on_give_up: Callable[[Worker], object] | None = None,
        clock: Clock | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        given = kinds.instance("options", options, SupervisionOptions, optional=True)
        self.options = given or SupervisionOptions()
        self.stop = Stop()
        self._outer = kinds.event("stop", stop)
        self._forget: Callable[[], None] | None = None
        self._due: list[tuple[float, Worker]] = []
        self.workers: dict[str, Worker] = {}
        self._listeners = synchronous_all("listener", listeners)
        synchronous("on_give_up", on_give_up)
        self._on_give_up = on_give_up
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        # Threads report their end through a queue, so that the monitor wakes at once and need not poll.
        self._ended: queue.SimpleQueue[tuple[Worker, threading.Thread] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._monitor: threading.Thread | None = None

    def spawn(self, name: str, target: Callable[[Worker], object], *args: Any, **kwargs: Any) -> Worker:
        """Run ``target(worker, *args, **kwargs)`` in a thread, in the caller's context.

        Raises ``UsageError`` outside the block, and for a name in use.
        """
        if self._monitor is None:
            raise UsageError(
                "The supervisor does not watch yet; expected to be in its with block. Enter it first."
            )
        synchronous("target", target, optional=False)
        bound = _bound(target, args, kwargs)
        with self._lock:
            if name in self.workers:
                raise wrong(
                    "thread name", name, "a name that is not in use", "Names are how threads are told apart."
                )
            worker = self.workers[name] = Worker(name, bound, self.stop, self._clock, Deaths(self.options))
            self._start(worker)
        return worker

    def check(self) -> None:
        """Look for threads that died without reporting it, for stuck ones, and for due restarts.

        Also runs by itself.
        """
        self._restart_due()
        for worker in tuple(self.workers.values()):
            thread = worker.thread
            if thread is not None and not thread.is_alive():
                self._buried(worker, thread)
            elif thread is not None:
                self._look_for_life(worker)

    def join(self, timeout: float | None = None) -> None:
        """Set ``stop`` and wait for all threads; raises :class:`SuspectedDeadlock` with all stacks."""
        self.stop.set()
        threads = [w.thread for w in self.workers.values() if w.thread is not None]
        join_all(threads, self.options.join_timeout if timeout is None else timeout)

    def __enter__(self) -> Supervisor:
        if self._monitor is not None:
            raise UsageError(
                "This Supervisor is in use, or was; expected one block. Make a new one for another."
            )
        if self._outer is not None:
            self._forget = watched(self._outer, self.stop)
        self._monitor = threading.Thread(target=self._watch, name="chaoskit-supervisor", daemon=True)
        self._monitor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        try:
            self.join()
        except SuspectedDeadlock as deadlock:
            if error is None:
                raise
            # The block's own error says more, and is often the cause.
            logger.error("%s", deadlock)
        finally:
            if self._forget is not None:
                self._forget()
            # Last, so that deaths during the join are still reported.
            self._ended.put(None)
            if self._monitor is not None:
                self._monitor.join(self.options.join_timeout)

    def _start(self, worker: Worker) -> None:
        worker.beat()
        # Daemons, so that the process can end even if a thread is stuck.
        worker.thread = threading.Thread(target=self._run, args=(worker,), name=worker.name, daemon=True)
        worker.thread.start()

    def _run(self, worker: Worker) -> None:
        worker.error = None
        try:
            called("target", worker._target, worker)
        except SystemExit:
            pass
        except BaseException as error:
            worker.error = error
        finally:
            self._ended.put((worker, threading.current_thread()))

    def _watch(self) -> None:
        while True:
            try:
                ended = self._ended.get(timeout=self._until_next_look())
            except queue.Empty:
                self._guarded(self.check)
                continue
            if ended is None:
                return
            self._guarded(self._buried, *ended)

    def _until_next_look(self) -> float:
        pauses = [due - self._clock.monotonic() for due, _ in tuple(self._due)]
        return max(0.0, min([self.options.check_every, *pauses]))

    def _guarded(self, step: Callable[..., None], *args: Any) -> None:
        """Run ``step``; a listener's exception must not end the watcher, since nothing watches it."""
        try:
            step(*args)
        except BaseException:
            logger.exception("the supervisor itself failed, and goes on")

    def _buried(self, worker: Worker, thread: threading.Thread) -> None:
        """Handle the end of ``thread``, once, however it was noticed."""
        with self._lock:
            # check() and the queue may both have noticed it, with a restart in between.
            if worker.thread is not thread:
                return
            worker.thread = None
        error = worker.error
        emit(self._listeners, ThreadDied(at=self._clock.monotonic(), thread=worker.name, error=error))
        if error is not None:
            logger.error("thread %s died", worker.name, exc_info=error)
        if self.stop.is_set() or not worker._deaths.wants_restart(error):
            if error is not None and not self.stop.is_set():
                self._give_up(worker, error)
            return
        now = self._clock.monotonic()
        pause = worker._deaths.pause(now)
        if pause is None:
            self._give_up(worker, error)
        else:
            self._due.append((now + pause, worker))
            self._restart_due()

    def _restart_due(self) -> None:
        """Restart workers whose pause is over; none after ``stop`` was set."""
        now = self._clock.monotonic()
        for due in tuple(self._due):
            if self.stop.is_set():
                self._due.remove(due)
            elif due[0] <= now:
                self._due.remove(due)
                self._restart(due[1])

    def _restart(self, worker: Worker) -> None:
        worker.restarts += 1
        try:
            with self._lock:
                self._start(worker)
        except (RuntimeError, MemoryError) as error:
            worker.thread = None
            self._give_up(worker, error)  # the machine has no thread left to give
            return
        event = ThreadRestarted(at=self._clock.monotonic(), thread=worker.name, restarts=worker.restarts)
        emit(self._listeners, event)

    def _give_up(self, worker: Worker, error: BaseException | None) -> None:
        worker.given_up = True
        logger.error("thread %s is not started again", worker.name)
        emit(self._listeners, ThreadGivenUp(at=self._clock.monotonic(), thread=worker.name, error=error))
        if self._on_give_up is not None:
            try:
                called("on_give_up", self._on_give_up, worker)
            except Exception:
                logger.exception("on_give_up failed for thread %s", worker.name)

    def _look_for_life(self, worker: Worker) -> None:
        limit = self.options.stuck_after
        silent = self._clock.monotonic() - worker._beaten
        if limit is None or silent < limit or worker._reported:
            return
        worker._reported = True
        stacks = all_stacks()
        logger.error("thread %s has been silent for %.1f s\n%s", worker.name, silent, stacks)
        now = self._clock.monotonic()
        emit(self._listeners, ThreadStuck(at=now, thread=worker.name, silent=silent, stacks=stacks))


def _bound(
    target: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Worker], object]:
    return lambda worker: target(worker, *args, **kwargs)
