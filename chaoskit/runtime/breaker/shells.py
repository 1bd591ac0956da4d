"""The thin sync and async shells around one call: ask the breaker before, tell it after.

The first branch of each is the healthy call of a breaker that measures nothing: one attribute read before,
one after, no lock and no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Generator
from typing import Any, cast

from chaoskit.runtime.breaker.driver import Driver
from chaoskit.runtime.breaker.machine import Permit
from chaoskit.runtime.calling.callables import RESULTS, finished, is_async, is_workless
from chaoskit.runtime.locks import let_go


def around_sync(breaker: Driver, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return sync ``fn`` protected by ``breaker``."""
    return _around_unmeasured(breaker, fn) if breaker.machine.unmeasured else _around_measured(breaker, fn)


def _around_unmeasured(breaker: Driver, fn: Callable[..., Any]) -> Callable[..., Any]:
    machine = breaker.machine

    @functools.wraps(fn)
    def protected(*args: Any, **kwargs: Any) -> Any:
        permit = machine.fast
        if permit is None:
            if machine.shut:
                breaker.turn_away()
            return measured(breaker, fn, args, kwargs)
        try:
            # Merging an empty dict costs a tenth of the whole call.
            value = fn(*args, **kwargs) if kwargs else fn(*args)
        except BaseException as error:
            breaker.raised(permit, error, 0.0)
            raise
        # Rare cases: a success that ends a streak of failures, and a coroutine, which has not run yet.
        if machine.streak or type(value) not in RESULTS:
            return back(breaker, permit, fn, value, 0.0)
        return value

    return protected


def _around_measured(breaker: Driver, fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a breaker that measures every call.

    It repeats the code of :func:`measured` and ``Driver.succeeded``: calling them would be a tenth of all
    that it adds to a call.
    """
    machine, now, judges_results = breaker.machine, breaker.now, breaker.judges_results

    @functools.wraps(fn)
    def protected(*args: Any, **kwargs: Any) -> Any:
        permit = machine.permit
        if permit is None or machine.cold:
            if machine.shut:
                breaker.turn_away()
            permit = breaker.admit(started := now())
        else:
            started = now()
        try:
            value = fn(*args, **kwargs) if kwargs else fn(*args)
        except BaseException as error:
            breaker.raised(permit, error, started)
            raise
        if judges_results or type(value) not in RESULTS:
            return back(breaker, permit, fn, value, started)
        # Read each time: a forked child has a new lock.
        ended, lock = now(), breaker._lock
        try:
            lock.acquire()
            machine.succeed(permit, ended, ended - started)
            lock.release()
        except BaseException:
            let_go(lock)
            raise
        if machine.edges:
            breaker.tell_edges()
        return value

    return protected


def around_async(breaker: Driver, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return async ``fn`` protected by ``breaker``."""
    machine = breaker.machine

    @functools.wraps(fn)
    async def protected(*args: Any, **kwargs: Any) -> Any:
        permit = machine.fast
        if permit is None:
            if machine.shut:
                breaker.turn_away()
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


def call_measured(breaker: Driver, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Make one call on the slow path. For an async ``fn`` the permit is requested when it is awaited."""
    return (measured_async if is_async(fn) else measured)(breaker, fn, args, kwargs)


def measured(breaker: Driver, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Make one sync call with a permit, and measure its time."""
    machine = breaker.machine
    started = breaker.now()
    # A closed breaker is entered without the lock: if the permit has just become void, so has the outcome.
    permit = machine.permit
    if permit is None or machine.cold:
        permit = breaker.admit(started)
    try:
        value = fn(*args, **kwargs) if kwargs else fn(*args)
    except BaseException as error:
        breaker.raised(permit, error, started)
        raise
    if breaker.judges_results or type(value) not in RESULTS:
        return back(breaker, permit, fn, value, started)
    breaker.succeeded(permit, started)
    return value


def back(breaker: Driver, permit: Permit, fn: Callable[..., Any], value: Any, started: float) -> Any:
    """Count what sync ``fn`` returned. A coroutine has not run yet: awaiting it counts as a call.

    Raises:
        UsageError: it returned other unfinished work. The permit is given back, uncounted.
    """
    if type(value) not in RESULTS and is_workless(value):
        breaker.release(permit)
        if isinstance(value, Coroutine):
            return FollowedWork(breaker, value)
        finished("a circuit breaker", fn, value)
    breaker.returned(permit, value, started)
    return value


async def measured_async(breaker: Driver, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Make one async call with a permit, and measure its time."""
    permit, started = breaker.enter()
    return await finish(breaker, permit, fn(*args, **kwargs), started)


async def finish(breaker: Driver, permit: Permit, work: Any, started: float) -> Any:
    """Await ``work``, begun under ``permit``, and count its outcome."""
    try:
        value = await work
    except BaseException as error:
        breaker.raised(permit, error, started)
        raise
    breaker.returned(permit, value, started)
    return value


class FollowedWork(Coroutine[Any, Any, Any]):
    """Stands for ``work``, a coroutine that a plain function returned: awaiting it counts as a call.

    An ``async def`` would not do. If its coroutine is closed before its first step, as it is by a strategy
    around the breaker that refuses it, none of its code runs, and ``work`` would be left behind, never
    awaited.
    """

    def __init__(self, breaker: Driver, work: Coroutine[Any, Any, Any]) -> None:
        self._breaker, self._work = breaker, work
        # Made when first driven: if this is never awaited, Python's warning then names the user's coroutine.
        self._steps: Coroutine[Any, Any, Any] | None = None
        # The repr of a task shows these names.
        self.__name__ = getattr(work, "__name__", type(work).__name__)
        self.__qualname__ = getattr(work, "__qualname__", self.__name__)

    def __repr__(self) -> str:
        return f"<{self._work!r}, followed by a circuit breaker>"

    def __await__(self) -> Generator[Any, Any, Any]:
        # Not a generator, but it has all the methods of one that ``await`` calls.
        return cast("Generator[Any, Any, Any]", self)

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """As with any coroutine, an error thrown before the first step ends it: ``work`` takes no step."""
        if self._steps is None:
            self._work.close()
        return self._begun().throw(*error)

    def close(self) -> None:
        if self._steps is None:
            self._work.close()
        self._begun().close()

    def _begun(self) -> Coroutine[Any, Any, Any]:
        if self._steps is None:
            self._steps = _followed(self._breaker, self._work)
        return self._steps


async def _followed(breaker: Driver, work: Coroutine[Any, Any, Any]) -> Any:
    try:
        permit, started = breaker.enter()
    except BaseException:
        work.close()
        raise
    return await finish(breaker, permit, work, started)
