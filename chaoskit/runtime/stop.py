"""One signal to stop, for everything that waits or runs: threads, event loops, and other signals."""

from __future__ import annotations

import threading
from collections.abc import Callable

from chaoskit.runtime.clock import Clock
from chaoskit.runtime.forks import Lasting

__all__ = ["GLANCE", "Stop", "end", "sleep_async", "watched"]

# How often an Event that is not ours is looked at: nothing tells when it is set.
GLANCE = 0.02


class Stop(Lasting, threading.Event):
    """An ``Event`` that also wakes event loops and passes the word on; it goes wherever an Event goes.

    Setting it, in any thread, ends at once every wait that was given it.
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
                pass  # the event loop of that waiter has been closed: nothing waits there any more

    def tell(self, waker: Callable[[], object]) -> Callable[[], None]:
        """Call ``waker`` when the signal is set, or now if it is; return what ends that, once or again."""
        self._wakers.append(waker)
        # After the append: a signal that is set in between tells it twice, and never not at all.
        if self.is_set():
            waker()

        def forget() -> None:
            if waker in self._wakers:
                self._wakers.remove(waker)

        return forget

    async def wait_async(self, seconds: float | None = None) -> bool:
        """Wait for the signal, ``seconds`` at most; return whether it is set. Cancellation wins at once."""
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
    """Wait ``seconds`` in the running event loop, or until ``wake`` is set; return whether it is.

    It is looked at now and then rather than told: a virtual clock's time, and another loop than asyncio's,
    must pass in the same way with it as without.
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
    """Set ``then`` soon after ``event`` is set: at once if that is a :class:`Stop`; return what ends that.

    ``event`` itself is never set here: it may stop much more than ``then`` does.
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
    """Set ``over`` and wait for a thread that looks at it, once more if memory runs short on the way."""
    try:
        over.set()
        thread.join()
    except MemoryError:
        # Without this the thread would outlive what is being closed, with all that it has open.
        over.set()
        thread.join()
