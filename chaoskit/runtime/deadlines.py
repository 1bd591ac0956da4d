"""A total deadline that nested calls inherit through a context variable.

It travels with the context: asyncio tasks inherit it, threads have it if the context is carried to them. An
inner deadline can only be earlier than the outer one. It is measured on the monotonic clock that it was set
with, so a step of the wall clock has no effect.

It cuts off nothing by itself. Code that may wait asks :func:`remaining` first and passes the answer on, for
instance as a socket's timeout.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any, overload

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import DeadlineExceeded
from chaoskit.runtime.numbers import is_number

__all__ = ["check", "deadline", "remaining"]

# [moment on the clock, the clock]. A bare list, because a retried call that succeeds sets this on its
# fast path, where building anything better costs as much as all the rest.
#
# The moment becomes None when the scope is over: "no deadline". A scope that was set where none was in
# force may be closed in that way and left there, because resetting the variable costs three times as
# much as setting it to begin with. Tasks that outlive the scope are then free of it.
Scope = list[Any]
#
# Never None: the fast path then asks one question, whether anything was set before or not.
NEVER: Scope = [None, None]
CURRENT: contextvars.ContextVar[Scope] = contextvars.ContextVar("chaoskit_deadline", default=NEVER)

_SYSTEM = SystemClock()


def nested(outer: Scope, seconds: float | None, clock: Clock) -> Scope | None:
    """A new scope that ends ``seconds`` from now (None: never), or with ``outer`` if that is earlier."""
    mine = None if seconds is None else clock.monotonic() + seconds
    # Another thread may close the outer scope at any moment, so read it once.
    theirs = outer[0]
    if theirs is None:
        return None if mine is None else [mine, clock]
    its_clock: Clock = outer[1]
    if mine is None or _left(theirs, its_clock) <= _left(mine, clock):
        return [theirs, its_clock]
    return [mine, clock]


@block
def deadline(seconds: float, *, clock: Clock = _SYSTEM) -> Iterator[None]:
    """Give everything in the block ``seconds`` from now, or until the outer deadline if that is earlier.

    Raises:
        UsageError: ``seconds`` is negative or not a number.
    """
    if not (is_number(seconds) and seconds >= 0):
        raise wrong("deadline", seconds, "zero or more seconds")
    if type(clock) is not SystemClock:  # asked at each call of a function that has a deadline
        kinds.clock(clock)
    outer, token = CURRENT.get(), None
    scope = nested(outer, seconds, clock) or NEVER
    try:
        token = CURRENT.set(scope)
        yield
    finally:
        # None: a signal handler raised after the deadline was set and before the token was stored.
        if token is None:
            CURRENT.set(outer)
        else:
            CURRENT.reset(token)


@overload
def remaining() -> float | None: ...
@overload
def remaining(default: float) -> float: ...
def remaining(default: float | None = None) -> float | None:
    """Seconds until the deadline in force, at least zero, and at most ``default``.

    Without a deadline it is ``default``, which suits a socket's timeout.
    """
    scope = CURRENT.get()
    at = scope[0]
    if at is None:
        return default
    left = max(0.0, _left(at, scope[1]))
    return left if default is None else min(left, default)


def check() -> None:
    """Check the deadline in force.

    Raises:
        DeadlineExceeded: it has passed.
    """
    if remaining() == 0.0:
        raise DeadlineExceeded("the deadline has passed")


def _left(at: float, clock: Clock) -> float:
    return at - clock.monotonic()
