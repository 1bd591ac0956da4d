"""Graceful shutdown: one request, one deadline, callbacks in order, and a way out that always works.

::

    with Shutdown(grace=30.0) as shutdown:
        shutdown.defer(connection.close)
        while not shutdown.requested:
            with shutdown.operation("upload"):      # finished before the callbacks run
                upload(next_sample())
            shutdown.wait(5.0)                      # ends at once when a shutdown is requested

The first SIGTERM or SIGINT only asks. Leaving the block waits for the operations in progress, then
runs the callbacks. A second signal, or the end of ``grace`` seconds, ends the process at once, with
the stacks of all threads on standard error: a program that hangs while it shuts down still ends.
"""

from __future__ import annotations

import enum
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, ClassVar

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.calling.callables import synchronous_all
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.failures.taxonomy import TransientError
from chaoskit.runtime.observing.events import Event, Listener, emit
from chaoskit.runtime.running.stacks import all_stacks
from chaoskit.runtime.running.wakeup import END, NUDGE, SignalMailbox

__all__ = [
    "CallbackOrder",
    "Shutdown",
    "ShutdownFinished",
    "ShutdownForced",
    "ShutdownOptions",
    "ShutdownRequested",
    "ShuttingDown",
    "ShutdownStep",
]

logger = logging.getLogger("chaoskit")


class CallbackOrder(enum.Enum):
    """In which order the callbacks run: ``reverse`` undoes what was built last first."""

    REVERSE = "reverse"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class ShutdownOptions:
    """``grace`` is counted from the request. Container platforms kill after 30 s: be done before that."""

    # Kubernetes' terminationGracePeriodSeconds is 30, after which the kill leaves no stacks; Docker's is 10.
    grace: float = option(default=25.0, above=0, unit="s")
    order: CallbackOrder = CallbackOrder.REVERSE
    signals: tuple[str, ...] = ("SIGTERM", "SIGINT")

    def __post_init__(self) -> None:
        if not 0 < self.grace < math.inf:
            raise wrong("grace", self.grace, "seconds, more than 0 and finite")
        for name in self.signals:
            # Nobody can catch these two.
            if name in ("SIGKILL", "SIGSTOP") or not isinstance(getattr(signal, name, None), signal.Signals):
                raise wrong("signal", name, "a signal of this platform, such as SIGTERM or SIGINT")


@dataclass(frozen=True, slots=True)
class ShutdownStep:
    """What became of one callback: its name, the seconds it took, and its error if it failed."""

    name: str
    seconds: float
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownRequested(Event):
    """Somebody asked the program to end."""

    name: ClassVar[str] = "shutdown.requested"
    reason: str
    grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownForced(Event):
    """The program did not end in time, or was asked twice; the process ends now."""

    name: ClassVar[str] = "shutdown.forced"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownFinished(Event):
    """All callbacks have run; ``failed`` names those that raised."""

    name: ClassVar[str] = "shutdown.finished"
    steps: int
    failed: tuple[str, ...]


class ShuttingDown(TransientError):
    """A new operation was refused since the program is about to end."""

    default_hint = "Leave the work for the next start, or for another process."


class Shutdown:
    """See the module. Threads may share an instance; it is entered once, in the main thread.

    ``wake`` is the event that a wait is given (a retry's, a clock's) so that a request ends it at
    once. ``signals=()`` installs no handler, which works in any thread; :meth:`request` asks then.
    ``exit`` is what ends the process in the end; it gets the exit code: 128 + signal number, or 1.
    """

    def __init__(
        self,
        options: ShutdownOptions | None = None,
        *,
        grace: float | None = None,
        order: CallbackOrder | str | None = None,
        signals: Sequence[str] | None = None,
        listeners: Sequence[Listener] = (),
        clock: Clock | None = None,
        exit: Callable[[int], object] = os._exit,
    ) -> None:
        base = options or ShutdownOptions()
        self.options = ShutdownOptions(
            base.grace if grace is None else grace,
            base.order if order is None else CallbackOrder(order),
            base.signals if signals is None else tuple(signals),
        )
        self.wake = threading.Event()
        self.steps: tuple[ShutdownStep, ...] = ()
        self.reason: str | None = None
        self.exit_code = 0
        self._clock = clock or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        self._exit = exit
        self._callbacks: list[tuple[str, Callable[[], object]]] = []
        self._wakers: list[Callable[[], object]] = []
        self._running = 0
        self._idle = threading.Condition()
        self._deadline = math.inf
        # Nothing but posting a number is safe where a signal arrives: setting an Event may deadlock, since
        # the interrupted code may hold its lock. A thread of our own does the rest.
        self._mail: SignalMailbox | None = None
        self._watcher: threading.Thread | None = None
        self._numbers = frozenset(int(getattr(signal, name)) for name in self.options.signals)
        self._replaced: dict[int, Any] = {}
        self._signalled = False
        self._pid = 0

    @property
    def requested(self) -> bool:
        """Whether a shutdown has been asked for."""
        return self.wake.is_set()

    @property
    def remaining(self) -> float:
        """Seconds until the process is ended by force; infinite before a request."""
        return max(0.0, self._deadline - self._clock.monotonic())

    def request(self, reason: str = "request", exit_code: int = 0) -> None:
        """Ask for the shutdown, from any thread. Asking again changes nothing; a second signal forces."""
        self._request(reason, exit_code)

    def defer(self, callback: Callable[..., object], *args: Any, name: str = "", **kwargs: Any) -> None:
        """Call ``callback`` with these arguments when the block is left, whatever the reason.

        What it raises is logged and kept in ``steps``; the others run all the same.
        """
        label = name or getattr(callback, "__qualname__", repr(callback))
        self._callbacks.append((label, lambda: callback(*args, **kwargs)))

    def wait(self, seconds: float) -> bool:
        """Wait, or until a shutdown is requested; return whether it is."""
        return self._clock.sleep(seconds, self.wake)

    async def wait_async(self, seconds: float) -> bool:
        """:meth:`wait` in an event loop; cancellation wins at once."""
        import asyncio  # costs more than all the rest of this module, and many programs have no loop

        loop, asked = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(asked.set)

        self._wakers.append(tell)
        try:
            if not self.requested:
                await asyncio.wait_for(asked.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._wakers.remove(tell)
        return self.requested

    @block
    def operation(self, name: str) -> Iterator[None]:
        """A piece of work that is waited for before the callbacks run, until the deadline.

        Raises :class:`ShuttingDown` instead of beginning one after a request.
        """
        with self._idle:
            if self.requested:
                raise ShuttingDown(f"{name} was not begun: the program is shutting down ({self.reason})")
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def __enter__(self) -> Shutdown:
        if self._watcher is not None:
            raise UsageError(
                "This Shutdown is in use already; expected one block. Make a new one for another."
            )
        if self.options.signals and threading.current_thread() is not threading.main_thread():
            raise UsageError(
                f"Shutdown is entered in thread {threading.current_thread().name!r}; signal handlers can be "
                "installed in the main thread only. Enter it there, or pass signals=() and call request()."
            )
        self._pid = os.getpid()
        self._mail = SignalMailbox()
        self._watcher = threading.Thread(
            target=self._watch, args=(self._mail,), name="chaoskit-shutdown", daemon=True
        )
        self._watcher.start()
        try:
            if self.options.signals:
                self._mail.install()
            for name in self.options.signals:
                number = getattr(signal, name)
                self._replaced[number] = signal.signal(number, self._on_signal)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.requested:
            self._request("the program has ended" if kind is None else kind.__name__, 0)
        try:
            self._drain()
            self._run_callbacks()
        finally:
            self._release()

    def _release(self) -> None:
        """Put the old handlers back and let the watcher end."""
        for number, handler in self._replaced.items():
            # None: the old handler was not set from Python, and cannot be put back from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._replaced.clear()
        if self._mail is not None and self._watcher is not None:
            self._mail.uninstall()
            self._mail.post(END)
            # It may be telling a listener; a second is plenty, and it is a daemon.
            self._watcher.join(1.0)
            self._mail.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A forked child has inherited the handler but not the watcher: die as it would have.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        if self._mail is not None:
            self._mail.handled(number)

    def _watch(self, mail: SignalMailbox) -> None:
        """The watcher thread: takes requests, and ends the process when there is no other way."""
        while True:
            left = self.remaining
            numbers = mail.take(None if math.isinf(left) else max(left, 0.001))
            if not numbers and self.remaining <= 0:
                self._force(f"not done within {self.options.grace:g} s")
                return
            for number in numbers:
                if number == END or (number in self._numbers and not self._asked_by(number)):
                    return

    def _asked_by(self, number: int) -> bool:
        """Deal with a signal; False if it was one too many, and the process ends."""
        name = signal.Signals(number).name
        if self._signalled:
            self._force(f"{name} after {self.reason}", 128 + number)
            return False
        # The first signal forces nothing, not even when the program was about to end by itself.
        self._signalled = True
        self._request(name, 128 + number)
        return True

    def _request(self, reason: str, code: int) -> None:
        with self._idle:
            if self.requested:
                return
            self.reason, self.exit_code = reason, code
            self._deadline = self._clock.monotonic() + self.options.grace
            self.wake.set()
            wakers = tuple(self._wakers)
        if self._mail is not None and threading.current_thread() is not self._watcher:
            self._mail.post(NUDGE)  # so that the watcher sees the deadline
        for waker in wakers:
            try:
                waker()
            except RuntimeError:
                pass  # the waiter's event loop has been closed: nobody waits any more
        logger.info("shutdown requested: %s", reason)
        event = ShutdownRequested(at=self._clock.monotonic(), reason=reason, grace=self.options.grace)
        emit(self._listeners, event)

    def _drain(self) -> None:
        with self._idle:
            while self._running and self.remaining > 0:
                self._idle.wait(self.remaining)
            if self._running:
                logger.error("%d operations are still in progress at the deadline", self._running)

    def _run_callbacks(self) -> None:
        position = 0 if self.options.order is CallbackOrder.GIVEN else -1
        steps: list[ShutdownStep] = []
        # One by one, so that a callback that a callback registers runs as well.
        while self._callbacks:
            steps.append(self._run(*self._callbacks.pop(position)))
            self.steps = tuple(steps)
        failed = tuple(s.name for s in steps if s.error is not None)
        event = ShutdownFinished(at=self._clock.monotonic(), steps=len(steps), failed=failed)
        emit(self._listeners, event)

    def _run(self, name: str, callback: Callable[[], object]) -> ShutdownStep:
        started = self._clock.monotonic()
        try:
            callback()
        except Exception as error:
            logger.error("shutdown callback %s failed", name, exc_info=error)
            return ShutdownStep(name, self._clock.monotonic() - started, error)
        return ShutdownStep(name, self._clock.monotonic() - started)

    def _force(self, why: str, code: int | None = None) -> None:
        try:
            emit(self._listeners, ShutdownForced(at=self._clock.monotonic(), reason=why))
            # Not through logging: a thread that hangs with a handler's lock would hold us as well.
            sys.stderr.write(f"chaoskit: shutdown forced: {why}\n{all_stacks()}")
            sys.stderr.flush()
        finally:
            self._exit(code or self.exit_code or 1)
