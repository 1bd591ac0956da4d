"""Graceful shutdown: one request, one deadline, callbacks in order, and a way out that always works.

::

    with Shutdown(grace=30.0) as shutdown:
        shutdown.defer(connection.close)
        while not shutdown.requested:
            with shutdown.operation("upload"):      # finished before the callbacks run
                upload(next_sample())
            shutdown.wait(5.0)                      # ends at once when a shutdown is requested

The first SIGTERM or SIGINT is only a request. Leaving the block waits for the operations in progress, then
runs the callbacks. A second signal, or the end of ``grace`` seconds, ends the process at once, with the
stacks of all threads on standard error: a program that hangs during its shutdown still ends.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.calling.callables import called, synchronous, synchronous_all
from chaoskit.runtime.calling.loops import needs_asyncio, runs_asyncio
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.forks import Lasting
from chaoskit.runtime.observing.observers import Listener, emit
from chaoskit.runtime.running.shutdown_records import (
    CallbackOrder,
    ShutdownFinished,
    ShutdownForced,
    ShutdownOptions,
    ShutdownRequested,
    ShutdownStep,
    ShuttingDown,
)
from chaoskit.runtime.running.stacks import all_stacks
from chaoskit.runtime.running.wakeup import END, NUDGE, SignalMailbox
from chaoskit.runtime.stop import Stop

__all__ = ["Shutdown"]

logger = logging.getLogger("chaoskit")


def _order(given: CallbackOrder | str) -> CallbackOrder:
    try:
        return CallbackOrder(given)
    except ValueError:
        known = ", ".join(repr(one.value) for one in CallbackOrder)
        raise wrong("order", given, f"a CallbackOrder, or one of {known}") from None


class _Wake(Stop):
    """The signal of a shutdown. Setting it requests the shutdown, with deadline and reason."""

    def __init__(self, request: Callable[[str], object]) -> None:
        super().__init__()
        self._request = request

    def set(self) -> None:
        self._request("its wake event was set")

    def strike(self) -> None:
        """Set the event; only the request itself calls this."""
        super().set()


class Shutdown(Lasting):
    """Handles one shutdown, as the module describes. Threads may share it; the main thread enters it, once.

    Coroutines enter it with ``async with``: the event loop then goes on while operations end, and callbacks
    may be coroutine functions. ``with`` in a running loop is refused, since it would block the very
    operations that it waits for.

    ``wake`` is a signal for waits (of a retry, a clock, a supervisor's ``stop``), so that a request ends them
    at once; setting it requests the shutdown. ``signals=()`` installs no handlers, which works in any thread;
    the program then has to call :meth:`request` itself. ``exit`` is what ends the process by force; it gets
    the exit code: 128 + signal number, or 1.
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
        base = kinds.instance("options", options, ShutdownOptions, optional=True) or ShutdownOptions()
        self.options = ShutdownOptions(
            base.grace if grace is None else grace,
            base.order if order is None else _order(order),
            base.signals if signals is None else kinds.listed("signals", signals, str),
        )
        self.wake = _Wake(self.request)
        self.steps: tuple[ShutdownStep, ...] = ()
        self.reason: str | None = None
        self.exit_code = 0
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        self._listeners = synchronous_all("listener", listeners)
        synchronous("exit", exit, optional=False)
        self._exit = exit
        self._callbacks: list[tuple[str, Callable[[], Any]]] = []
        self._in_loop = False
        self._emptied: list[Callable[[], object]] = []
        self._running = 0
        self._idle = threading.Condition()
        self._deadline = math.inf
        # A signal handler may safely do no more than post a number: setting an Event may deadlock, since the
        # interrupted code may hold its lock. A separate thread does the rest.
        self._mail: SignalMailbox | None = None
        self._watcher: threading.Thread | None = None
        self._numbers = frozenset(int(getattr(signal, name)) for name in self.options.signals)
        self._replaced: dict[int, Any] = {}
        self._signalled = False
        self._pid = 0

    @property
    def requested(self) -> bool:
        """True once a shutdown has been requested."""
        return self.reason is not None

    @property
    def remaining(self) -> float:
        """Seconds until the process is ended by force; infinite before a request."""
        return max(0.0, self._deadline - self._clock.monotonic())

    def request(self, reason: str = "request", exit_code: int = 0) -> None:
        """Request the shutdown, from any thread. Further calls change nothing; a second signal forces it."""
        self._request(reason, exit_code)

    def defer(self, callback: Callable[..., object], *args: Any, name: str = "", **kwargs: Any) -> None:
        """Have ``callback`` called with these arguments when the block is left, for whatever reason.

        Its exceptions are logged and kept in ``steps``; the other callbacks still run. Under ``async
        with`` it may be a coroutine function; otherwise that raises ``UsageError``, since nothing would await
        it.
        """
        label = name or getattr(callback, "__qualname__", repr(callback))
        bound = functools.partial(callback, *args, **kwargs)
        if self._watcher is not None and not self._in_loop:
            synchronous("shutdown callback", bound, optional=False)
        self._callbacks.append((label, bound))

    def wait(self, seconds: float) -> bool:
        """Wait until a shutdown is requested, at most ``seconds``; return True if one was."""
        return self._clock.sleep(seconds, self.wake)

    async def wait_async(self, seconds: float) -> bool:
        """The same as :meth:`wait`, in an event loop; cancellation takes effect at once."""
        return await self.wake.wait_async(seconds)

    @block
    def operation(self, name: str) -> Iterator[None]:
        """Mark a block of work: the callbacks run after its end, or after the deadline.

        Raises :class:`ShuttingDown` after a request, instead of beginning the block.
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
                # A copy: a waiter removes its entry when it has been woken.
                emptied = tuple(self._emptied)
            for waker in emptied:
                waker()

    def __enter__(self) -> Shutdown:
        if runs_asyncio():
            raise UsageError(
                "Shutdown is entered with 'with' in a running event loop; expected 'async with'. Leaving it "
                "would hold up the loop, and with it the operations that it waits for."
            )
        for _, callback in self._callbacks:
            synchronous("shutdown callback", callback, optional=False)
        return self._enter()

    async def __aenter__(self) -> Shutdown:
        needs_asyncio("a shutdown")
        self._in_loop = True
        return self._enter()

    def _enter(self) -> Shutdown:
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
        # Before any handler is installed, so that a signal always finds a mailbox.
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
        # Memory may run short at any of these lines; even then no handler and no mailbox may be left behind.
        try:
            self._leave(kind)
            self._drain()
            for name, callback in self._due():
                with self._step(name):
                    called("shutdown callback", callback)
            self._tell_end()
        finally:
            self._release()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._leave(kind)
            await self._drain_async()
            for name, callback in self._due():
                with self._step(name):
                    made = callback()
                    if inspect.isawaitable(made):
                        await made
            self._tell_end()
        finally:
            self._release()

    def _leave(self, kind: type[BaseException] | None) -> None:
        """Request the shutdown because the block is left, unless it was requested before."""
        self._request("the program has ended" if kind is None else kind.__name__, 0)

    def _release(self) -> None:
        """Restore the old handlers and let the watcher end."""
        for number, handler in self._replaced.items():
            # None: the old handler was not set from Python, and cannot be restored from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._replaced.clear()
        if self._mail is not None and self._watcher is not None:
            try:
                self._mail.uninstall()
                self._mail.post(END)
                # The watcher may be in a listener. It is a daemon, so a second is long enough to wait for it.
                self._watcher.join(1.0)
            finally:
                self._mail.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A forked child inherits the handler but not the watcher: let it die as it would have.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        if self._mail is not None:
            self._mail.handled(number)

    def _watch(self, mail: SignalMailbox) -> None:
        """The watcher thread: takes requests, and ends the process when nothing else does."""
        while True:
            left = self.remaining
            # Not zero: a socket whose time-out is 0 raises at once, and would be taken for a closed mailbox.
            numbers = mail.take(None if math.isinf(left) else max(left, 0.001))
            if not numbers and self.remaining <= 0:
                self._force(f"not done within {self.options.grace:g} s")
                return
            for number in numbers:
                if number == END or (number in self._numbers and not self._asked_by(number)):
                    return

    def _asked_by(self, number: int) -> bool:
        """Handle a signal; return False if it was a second one, and the process ends."""
        name = signal.Signals(number).name
        if self._signalled:
            self._force(f"{name} after {self.reason}", 128 + number)
            return False
        # The first signal never forces, even if the program was about to end by itself.
        self._signalled = True
        self._request(name, 128 + number)
        return True

    def _request(self, reason: str, code: int) -> None:
        with self._idle:
            if self.requested:
                return
            # The first request counts: a later one must not postpone the end.
            self._deadline = self._clock.monotonic() + self.options.grace
            self.reason, self.exit_code = reason, code
        if self._mail is not None and threading.current_thread() is not self._watcher:
            self._mail.post(NUDGE)  # so that the watcher sees the deadline
        self.wake.strike()
        logger.info("shutdown requested: %s", reason)
        event = ShutdownRequested(at=self._clock.monotonic(), reason=reason, grace=self.options.grace)
        emit(self._listeners, event)

    def _drain(self) -> None:
        with self._idle:
            while self._running and self.remaining > 0:
                self._idle.wait(self.remaining)
            if self._running:
                logger.error("%d operations are still in progress at the deadline", self._running)

    async def _drain_async(self) -> None:
        import asyncio

        loop, emptied = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(emptied.set)

        # Not the condition: waiting for it would block the loop that runs the operations.
        self._emptied.append(wake)
        try:
            while self._running and self.remaining > 0:
                try:
                    await asyncio.wait_for(emptied.wait(), self.remaining)
                except TimeoutError:
                    break
                emptied.clear()
        finally:
            self._emptied.remove(wake)
        if self._running:
            logger.error("%d operations are still in progress at the deadline", self._running)

    def _due(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield the callbacks in order, one by one, so that one that a callback registers runs as well."""
        while self._callbacks:
            yield self._callbacks.pop(0 if self.options.order is CallbackOrder.GIVEN else -1)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """Run the callback ``name`` in the block: note how long it took and what it raised, and go on."""
        started, failure = self._clock.monotonic(), None
        try:
            yield
        except Exception as error:
            logger.error("shutdown callback %s failed", name, exc_info=error)
            failure = error
        self.steps = (*self.steps, ShutdownStep(name, self._clock.monotonic() - started, failure))

    def _tell_end(self) -> None:
        failed = tuple(step.name for step in self.steps if step.error is not None)
        event = ShutdownFinished(at=self._clock.monotonic(), steps=len(self.steps), failed=failed)
        emit(self._listeners, event)

    def _force(self, why: str, code: int | None = None) -> None:
        try:
            emit(self._listeners, ShutdownForced(at=self._clock.monotonic(), reason=why))
            # Not through logging: a hung thread may hold a handler's lock, and would block this one.
            sys.stderr.write(f"chaoskit: shutdown forced: {why}\n{all_stacks()}")
            sys.stderr.flush()
        finally:
            self._exit(code or self.exit_code or 1)
