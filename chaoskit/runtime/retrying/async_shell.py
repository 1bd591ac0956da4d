"""The asynchronous shell: awaits, cuts attempts in time, and lets cancellation win at once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from chaoskit.core.deadline import CURRENT, Scope
from chaoskit.core.taxonomy import AttemptTimedOut, DeadlineExceeded, ResilienceError
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.start import admission, hooked, inherit, rejection, repair_failed

if TYPE_CHECKING:
    from chaoskit.runtime.retrying.policy import RetryPolicy

__all__ = ["async_pause", "async_retried"]

# How often a wait looks at a threading.Event, which nobody can await.
_GLANCE = 0.02

_CUT = object()


def async_retried(policy: RetryPolicy, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """A coroutine function that awaits ``fn`` as ``policy`` says; see the synchronous shell."""
    catch = policy.matcher.catch if len(policy.matcher.catch) > 1 else Exception
    current, enter = CURRENT.get, CURRENT.set
    monotonic, seconds, clock, budget = policy.clock.monotonic, policy.deadline, policy.clock, policy.budget
    timeout, throttled, judged = (
        policy.attempt_timeout,
        policy.throttle is not None,
        policy.on_result is not None,
    )

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        now = monotonic()
        if budget is not None:  # RetryBudget.request, without its call
            if now >= budget.edge:
                budget.roll(now)
            budget.tick()
        outer, scope, token = current(), None, None
        if outer is not None and outer[0] is not None:
            scope = inherit(policy, outer)
            token = enter(scope)
        elif seconds is not None:
            enter(scope := [now + seconds, clock])
        error: BaseException | None = None
        own = False
        try:
            if throttled and (error := admission(policy)) is not None:
                return await _go_on(policy, fn, args, kwargs, error, scope)
            try:
                if scope is None and timeout is None:
                    value = await fn(*args, **kwargs)
                else:
                    # The same as _within, which says why.
                    steps: Any = fn(*args, **kwargs).__await__()
                    value = await _rest(steps, next(steps), scope, timeout)
            except StopIteration as done:
                value = done.value
            except catch as caught:
                _let_cancellation_win(caught)
                error = caught
            if error is None:
                error = _verdict(policy, scope, value) if judged or value is _CUT else None
                if error is None:
                    return value
                own = True
            return await _go_on(policy, fn, args, kwargs, error, scope, own)
        finally:
            error = None
            if token is not None:
                _leave(token)
            elif scope is not None:
                scope[0] = None

    @functools.wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        outer = current()
        if outer is not None and outer[0] is not None:
            return await guarded(*args, **kwargs)
        try:
            return await fn(*args, **kwargs)
        except catch as caught:
            _let_cancellation_win(caught)
            error = caught
        try:
            return await _go_on(policy, fn, args, kwargs, error, None)
        finally:
            del error

    return call if policy.plain else functools.wraps(fn)(guarded)


async def async_pause(policy: RetryPolicy, course: Course, error: BaseException) -> bool:
    """Wait and repair; whether the next attempt may begin."""
    with hooked(policy, course):
        woken = await _sleep(policy, course.wait)
    if woken:
        course.stopped("shutdown", error)
        return False
    if policy.repair is not None:
        try:
            repaired = policy.repair(error)
            if isinstance(repaired, Awaitable):
                await repaired
        except Exception as failure:
            repair_failed(course, error, failure)
            return False
    course.started()
    return True


async def _go_on(
    policy: RetryPolicy,
    fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException | None,
    until: Scope | None,
    own: bool = False,
) -> Any:
    """What follows the first failure."""
    assert error is not None
    course = Course(policy, until, getattr(fn, "__qualname__", ""))
    before: BaseException | None = None
    try:
        while course.failed(error, own) and await async_pause(policy, course, error):
            before = error
            error, own, value = await _attempt(policy, fn, args, kwargs, until)
            if own and isinstance(error, DeadlineExceeded):
                error.__cause__ = before
            if error is None:
                course.succeeded()
                return value
        raise error
    finally:
        course.close()
        error = before = None


async def _attempt(
    policy: RetryPolicy,
    fn: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    until: Scope | None,
) -> tuple[BaseException | None, bool, Any]:
    if policy.throttle is not None and (held := admission(policy)) is not None:
        return held, False, None
    timeout = policy.attempt_timeout
    try:
        work = fn(*args, **kwargs)
        if until is None and timeout is None:
            value = await work
        else:
            value = await _within(work, until, timeout)
    except policy.matcher.catch as error:
        _let_cancellation_win(error)
        return error, False, None
    verdict = _verdict(policy, until, value)
    return verdict, verdict is not None, value


def _verdict(policy: RetryPolicy, until: Scope | None, value: object) -> ResilienceError | None:
    """The error that this call itself sees in an attempt that raised none."""
    if value is not _CUT:
        return rejection(policy, value)
    if until is not None and until[1].monotonic() >= until[0]:
        return DeadlineExceeded("the attempt was cut at the deadline")
    return AttemptTimedOut(f"the attempt was cut after {policy.attempt_timeout} s")


def _let_cancellation_win(error: BaseException) -> None:
    """Raise ``error`` again if it is the cancellation of this very task, even where ``on`` names it."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error


async def _sleep(policy: RetryPolicy, seconds: float) -> bool:
    wake = policy.wake
    if wake is None:
        if seconds > 0:
            await policy.clock.asleep(seconds)
        return False
    end = policy.clock.monotonic() + seconds
    while not wake.is_set() and (left := end - policy.clock.monotonic()) > 0:
        await policy.clock.asleep(min(left, _GLANCE))
    return wake.is_set()


async def _within(work: Awaitable[Any], until: Scope | None, timeout: float | None) -> Any:
    """Await ``work``; the result is ``_CUT`` if time ran out first.

    The first step is taken by hand: work that never has to wait, like most that is answered from a
    buffer or a cache, then needs no timer, which costs ten times as much as everything else here.
    """
    steps: Any = work.__await__()
    try:
        first = next(steps)
    except StopIteration as done:
        return done.value
    return await _rest(steps, first, until, timeout)


async def _rest(steps: Iterator[Any], first: Any, until: Scope | None, timeout: float | None) -> Any:
    limits = [] if timeout is None else [timeout]
    if until is not None:
        limits.append(until[0] - until[1].monotonic())
    timer = asyncio.timeout(min(limits))
    try:
        async with timer:
            return await _Resumed(steps, first)
    except TimeoutError:
        if timer.expired():
            return _CUT
        raise


class _Resumed:
    """The rest of an awaitable whose first step has been taken and yielded ``first``."""

    __slots__ = ("_first", "_steps")

    def __init__(self, steps: Iterator[Any], first: Any) -> None:
        self._steps = steps
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._steps
        try:
            sent = yield self._first
        except BaseException as error:
            try:
                again = steps.throw(error)
            except StopIteration as done:
                return done.value
        else:
            assert sent is None  # what an event loop sends
            return (yield from steps)
        yield again
        return (yield from steps)


def _leave(token: Any) -> None:
    try:
        CURRENT.reset(token)
    except ValueError:
        # A coroutine that nobody finished is closed in another context, where nothing was set.
        pass
