"""Time limits on what a task awaits, measured by a strategy's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from chaoskit.runtime.clock import Clock

__all__ = ["timer"]


def timer(seconds: float | None, clock: Clock) -> AbstractAsyncContextManager[Any]:
    """Works like ``asyncio.timeout(seconds)``, for any clock, even one that moves only when it is told to.

    Leaving the block raises ``TimeoutError`` if it was cut off; the block's own error is its cause.
    """
    # A virtual clock calls back when its moment has come, whatever the machine's time is.
    alarm = getattr(clock, "alarm", None)
    if alarm is None or seconds is None:
        return asyncio.timeout(seconds)
    return _Told(clock.monotonic() + seconds, alarm)


class _Told:
    """A time-out that strikes when the clock calls back."""

    __slots__ = ("_alarm", "_at", "_forget", "_loop", "_timer")

    def __init__(self, at: float, alarm: Callable[[float, Callable[[], None]], Callable[[], None]]) -> None:
        self._at, self._alarm = at, alarm
        self._timer = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._timer.__aenter__()
        self._forget = self._alarm(self._at, self._ring)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._forget()
        await self._timer.__aexit__(kind, error, trace)

    def _ring(self) -> None:
        # At once if possible: the task that has just moved the clock must not go on before the time-out.
        if asyncio._get_running_loop() is self._loop:
            self._cut()
        else:
            self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        try:
            self._timer.reschedule(self._loop.time())
        except RuntimeError:
            pass  # the block ended while the call from another thread was on its way
