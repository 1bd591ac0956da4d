"""Virtual time for the rows: a clock that records every call of the sleeper, and an event loop on it."""

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
    """Virtual time; ``calls`` has every argument that the sleeper was called with, zero included."""

    # The event loop runs on this clock, and its timers tell when a moment has come.
    alarm = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[float] = []

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> bool:
        self._accept(seconds)
        return super().sleep(seconds, wake)

    async def asleep(self, seconds: float) -> None:
        # The loop's own sleep, so that cancellation and timers meet it as they do in production.
        self._accept(seconds)
        await asyncio.sleep(seconds)

    def _accept(self, seconds: float) -> None:
        self.calls.append(seconds)
        # What time.sleep refuses: virtual time must not be more patient than real time.
        if not 0 <= seconds < threading.TIMEOUT_MAX:
            raise ValueError(f"sleep length must be non-negative and fit a time value, not {seconds!r}")


class _Jumping(selectors.DefaultSelector):
    """A selector that lets the loop's clock jump where the loop would wait."""

    clock: VirtualClock

    def select(self, timeout: float | None = None) -> Any:
        # Sockets still count: the loop wakes itself through one when another thread hands it work.
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
    """Run ``work`` on a new event loop in the time of ``clock``."""
    with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        return runner.run(work())
