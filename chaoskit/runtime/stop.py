"""One stop signal for everything that waits or runs: threads, event loops, and other signals."""

from __future__ import annotations

import threading
from collections.abc import Callable

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.forks import Lasting

__all__ = ["GLANCE", "Stop", "end", "sleep_async", "watched"]

# Seconds between two looks at an Event of another class, which cannot call back when it is set.
GLANCE = 0.02


class Stop(Lasting, threading.Event):
    """An ``Event`` that also wakes event loops and can call back; usable wherever an Event is.

    Setting it, from any thread, immediately ends every wait that uses it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._wakers: list[Callable[[], object]] = []

    def set(self) -> None:
        """Stop everything that listens. Calling it again does nothing."""
        super().set()
        for waker in tuple(self._wakers):
            try:
                waker()
            except RuntimeError:
                pass  # that waiter's event loop is closed: nothing waits there any more

    def tell(self, waker: Callable[[], object]) -> Callable[[], None]:
        """Call ``waker`` when the signal is set, or now if it is; return a function that cancels this."""
        self._wakers.append(waker)
        # After the append: if the signal is set in between, the waker is called twice rather than never.
        if self.is_set():
            waker()

        def forget() -> None:
            if waker in self._wakers:
                self._wakers.remove(waker)

        return forget

    async def wait_async(self, seconds: float | None = None) -> bool:
        """Wait for the signal, at most ``seconds``; return True if it is set. Cancellation ends the wait."""
        import asyncio  # costs more than all the rest of this module, and many programs have no loop

        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        forget = self.tell(lambda: loop.call_soon_threadsafe(woken.set))
        try:
            if not self.is_set():
                await asyncio.wait_for(woken.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            forget()
        return self.is_set()


async def sleep_async(clock: Clock, seconds: float, wake: threading.Event | None) -> bool:
    """Wait ``seconds`` in the running event loop, or until ``wake`` is set; return True if it is.

    It polls ``wake``, because a virtual clock's time, and the time of a loop other than asyncio's, must pass
    as it does without ``wake``.
    """
    if wake is None:
        if seconds > 0:
            await clock.asleep(seconds)
        return False
    end = clock.monotonic() + seconds
    while not wake.is_set() and (left := end - clock.monotonic()) > 0:
        await clock.asleep(min(left, GLANCE))
    return wake.is_set()


def watched(event: threading.Event, then: Stop) -> Callable[[], None]:
    """Set ``then`` soon after ``event`` is set, at once for a :class:`Stop`; return a function that cancels.

    ``event`` itself is never set here: it may stop much more than ``then``.
    """
    if isinstance(event, Stop):
        return event.tell(then.set)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            if event.wait(GLANCE):
                then.set()
                return

    threading.Thread(target=look, name="chaoskit-stop", daemon=True).start()
    return over.set


def end(thread: threading.Thread, over: threading.Event) -> None:
    """Set ``over`` and join a thread that watches it; retry once if memory runs out on the way."""
    try:
        over.set()
        thread.join()
    except MemoryError:
        # Otherwise the thread would outlive the closed object, with everything that it has open.
        over.set()
        thread.join()
