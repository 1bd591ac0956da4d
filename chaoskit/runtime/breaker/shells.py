"""The thin sync and async shells: all they do is to ask before and tell after, around one call.

The first branch of each is the healthy call of a breaker that measures nothing: one attribute read
before, one after, no lock and no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from chaoskit.runtime.breaker.machine import Permit
from chaoskit.runtime.calling.callables import is_async

if TYPE_CHECKING:
    from chaoskit.runtime.breaker.breaker import CircuitBreaker


def around_sync(breaker: CircuitBreaker, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return sync ``fn`` protected by ``breaker``."""
    machine = breaker.machine

    @functools.wraps(fn)
    def protected(*args: Any, **kwargs: Any) -> Any:
        permit = machine.fast
        if permit is None:
            return measured(breaker, fn, args, kwargs)
        try:
            # Merging an empty dict costs a tenth of the whole call.
            value = fn(*args, **kwargs) if kwargs else fn(*args)
        except BaseException as error:
            breaker.raised(permit, error, 0.0)
            raise
        if machine.streak or type(value) is CoroutineType:
            return back(breaker, permit, value, 0.0)
        return value

    return protected


def around_async(breaker: CircuitBreaker, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return async ``fn`` protected by ``breaker``."""
    machine = breaker.machine

    @functools.wraps(fn)
    async def protected(*args: Any, **kwargs: Any) -> Any:
        permit = machine.fast
        if permit is None:
            return await measured_async(breaker, fn, args, kwargs)
        try:
            value = await fn(*args, **kwargs)
        except BaseException as error:
            breaker.raised(permit, error, 0.0)
            raise
        if machine.streak:
            breaker.returned(permit, value, 0.0)
        return value

    return protected


def call_measured(breaker: CircuitBreaker, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """One call the long way; an async ``fn`` is asked for when it is awaited, not now."""
    return (measured_async if is_async(fn) else measured)(breaker, fn, args, kwargs)


def measured(breaker: CircuitBreaker, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """One sync call with its permit asked for and its time taken."""
    now, machine = breaker.now, breaker.machine
    started = now()
    # A closed breaker is entered without the lock: if the permit has just become void, so has the outcome.
    permit = machine.permit
    if permit is None or machine.cold:
        permit = breaker.admit(started)
    try:
        value = fn(*args, **kwargs) if kwargs else fn(*args)
    except BaseException as error:
        breaker.raised(permit, error, started)
        raise
    if breaker.judges_results or type(value) is CoroutineType:
        return back(breaker, permit, value, started)
    # Breaker.ended, written out: with a window, this is the path of every healthy call.
    ended = now()
    lock = breaker._lock
    try:
        # A with statement around a lock costs as much as all the rest of the counting.
        lock.acquire()
        machine.succeed(permit, ended, ended - started)
        lock.release()
    except BaseException:
        let_go(lock)
        raise
    if machine.edges:
        breaker.tell_edges()
    return value


def let_go(lock: Any) -> None:
    """Release ``lock`` if this thread has it: a Ctrl-C may strike on either side of acquire and release."""
    try:
        lock.release()
    except RuntimeError:
        pass


def back(breaker: CircuitBreaker, permit: Permit, value: Any, started: float) -> Any:
    """Count what a sync call returned. A coroutine has not run yet: its awaiting is counted instead."""
    if type(value) is CoroutineType:
        return finish(breaker, permit, value, started)
    breaker.returned(permit, value, started)
    return value


async def measured_async(breaker: CircuitBreaker, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """One async call with a permit of its own and its time taken."""
    permit, started = breaker.enter()
    return await finish(breaker, permit, fn(*args, **kwargs), started)


async def finish(breaker: CircuitBreaker, permit: Permit, work: Any, started: float) -> Any:
    """Await ``work``, begun under ``permit``, and count what comes of it."""
    try:
        value = await work
    except BaseException as error:
        breaker.raised(permit, error, started)
        raise
    breaker.returned(permit, value, started)
    return value
