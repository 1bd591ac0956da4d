"""A total deadline that nested calls inherit through a context variable.

It travels with the context: asyncio tasks have it, threads have it where the context is carried. An
inner deadline can only be earlier than the outer one. It is measured on the monotonic clock that it
was set with, so a step of the wall clock changes nothing.

It cuts nothing by itself. Whoever may wait asks :func:`remaining` first and passes the answer on, to a
socket's timeout for instance.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager

from chaoskit.core.clock import Clock, SystemClock
from chaoskit.core.errors import wrong
from chaoskit.core.taxonomy import DeadlineExceeded

__all__ = ["check", "deadline", "remaining"]

# (moment on the clock, the clock). A bare tuple, because a retried call that succeeds sets and resets
# this on its fast path, and building anything better costs as much as the whole rest of it.
Moment = tuple[float, Clock]
CURRENT: contextvars.ContextVar[Moment | None] = contextvars.ContextVar("chaoskit_deadline", default=None)

_SYSTEM = SystemClock()


def earlier(inner: Moment, outer: Moment) -> Moment:
    """The one of the two that comes first; they may be on different clocks."""
    if inner[1] is outer[1]:
        return inner if inner[0] <= outer[0] else outer
    left = outer[0] - outer[1].monotonic()
    return inner if inner[0] - inner[1].monotonic() <= left else outer


@contextmanager
def deadline(seconds: float, *, clock: Clock = _SYSTEM) -> Iterator[None]:
    """Within the block, everything has to be done ``seconds`` from now (or by the outer deadline)."""
    if not seconds >= 0:
        raise wrong("deadline", seconds, "zero or more seconds")
    moment: Moment = (clock.monotonic() + seconds, clock)
    outer = CURRENT.get()
    token = CURRENT.set(moment if outer is None else earlier(moment, outer))
    try:
        yield
    finally:
        CURRENT.reset(token)


def remaining() -> float | None:
    """Seconds until the deadline in force, not below zero; None if there is none."""
    moment = CURRENT.get()
    return None if moment is None else max(0.0, moment[0] - moment[1].monotonic())


def check() -> None:
    """Raise :class:`DeadlineExceeded` if the deadline in force has passed."""
    if remaining() == 0.0:
        raise DeadlineExceeded("the deadline has passed")
