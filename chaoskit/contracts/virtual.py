"""Virtual time for the rows: a clock that records every sleep, and an event loop that runs on it."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from chaoskit.runtime.clock import VirtualClock

__all__ = ["RecordingClock", "run"]

_R = TypeVar("_R")


class RecordingClock(VirtualClock):
    """Virtual time. ``calls`` holds the seconds of every sleep that was asked for, zero included."""

    # Not needed here: the event loop runs on this clock, and has its own timers.
    alarm = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[float] = []

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        self._accept(seconds)
        return super().sleep(seconds, wake)

    async def asleep(self, seconds: float) -> None:
        # By the loop's own sleep, so that cancellations and timers work as they do in production.
        self._accept(seconds)
        await asyncio.sleep(seconds)

    def _accept(self, seconds: float) -> None:
        self.calls.append(seconds)
        # As time.sleep does: virtual time must not accept what real time refuses.
        if not 0 <= seconds < threading.TIMEOUT_MAX:
            raise ValueError(f"sleep length must be non-negative and fit a time value, not {seconds!r}")


class _Jumping(selectors.DefaultSelector):
    """A selector that advances the loop's clock where the loop would wait."""

    clock: VirtualClock

    def select(self, timeout: float | None = None) -> Any:
        # Sockets still count: another thread that hands work to the loop wakes it through one.
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("the event loop has nothing left to wait for: the task hangs")
            if timeout > 0:
                self.clock.advance(timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        selector = _Jumping()
        selector.clock = clock
        self._virtual = clock
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual.monotonic()


def run(clock: VirtualClock, work: Callable[[], Coroutine[Any, Any, _R]]) -> _R:
    """Run ``work`` on a new event loop, in the time of ``clock``; return its result."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(work())
