"""The asynchronous shell: awaits, cuts attempts in time, and lets cancellation win at once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Generator, Iterator
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from chaoskit.runtime.deadlines import CURRENT, Scope
from chaoskit.runtime.failures.taxonomy import AttemptTimedOut, DeadlineExceeded, ResilienceError
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.start import Own, admission, hooked, inherit, judge, repair_failed

if TYPE_CHECKING:
    from chaoskit.runtime.retrying.policy import RetryPolicy

__all__ = ["async_pause", "async_retried"]

# How often a wait looks at a threading.Event, which nobody can await.
_GLANCE = 0.02

_NOBODY = Exception()

# What no awaitable yields.
_DONE: Any = object()


def async_retried(policy: RetryPolicy, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """A coroutine function that awaits ``fn`` as ``policy`` says; see the synchronous shell."""
    catch = policy.matcher.catch if len(policy.matcher.catch) > 1 else Exception
    work = _judged(policy, fn)
    current, enter = CURRENT.get, CURRENT.set
    monotonic, seconds, clock, budget = policy.clock.monotonic, policy.deadline, policy.clock, policy.budget
    limited = seconds is not None or policy.attempt_timeout is not None

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        now = monotonic()
        if budget is not None:  # RetryBudget.request, without its call
            if now >= budget.edge:
                budget.roll(now)
            budget.tick()
        outer = current()
        if outer is not None and outer[0] is not None:
            return await nested(outer, args, kwargs)
        scope = None
        if seconds is not None:
            enter(scope := [now + seconds, clock])
        try:
            begun = work(*args, **kwargs) if kwargs else work(*args)
            if limited and type(begun) is CoroutineType:  # _limited, without its call
                steps = _into(box := [None], begun)
                if (first := next(steps, _DONE)) is _DONE:
                    if scope is not None:
                        scope[0] = None
                    return box[0]
                await _rest(policy, steps, first, scope)
                value = box[0]
            else:
                value = await _limited(policy, begun, scope)
        except catch as caught:
            error: BaseException = caught
        except BaseException:
            _close(scope)
            raise
        else:
            _close(scope)
            return value
        try:
            return await _go_on(policy, work, args, kwargs, error, scope)
        finally:
            del error
            _close(scope)

    async def nested(outer: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = inherit(policy, outer)
        token = enter(scope)
        try:
            try:
                return await _limited(policy, work(*args, **kwargs), scope)
            except catch as caught:
                error: BaseException = caught
            return await _go_on(policy, work, args, kwargs, error, scope)
        finally:
            error = _NOBODY
            _leave(token)

    @functools.wraps(fn)
    async def call(*args: Any, **kwargs: Any) -> Any:
        outer = current()
        if outer is not None and outer[0] is not None:
            return await nested(outer, args, kwargs)
        try:
            return await (fn(*args, **kwargs) if kwargs else fn(*args))
        except catch as caught:
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
    work: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException,
    scope: Scope | None,
) -> Any:
    """What follows the first failure."""
    course = Course(policy, scope, work)
    catch = policy.matcher.catch
    before: BaseException | None = None
    try:
        while True:
            _let_cancellation_win(error)
            if own := type(error) is Own:
                error = error.verdict
                if isinstance(error, DeadlineExceeded):
                    error.__cause__ = before
            if not (course.failed(error, own) and await async_pause(policy, course, error)):
                raise error
            before = error
            try:
                value = await _limited(policy, work(*args, **kwargs), scope)
            except catch as caught:
                error = caught
            else:
                course.succeeded()
                return value
    finally:
        course.close()
        before = None
        del error


def _judged(policy: RetryPolicy, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """``fn`` with the throttle before and the judgement of its result after it, where there are such."""
    if policy.throttle is None and policy.on_result is None:
        return fn

    @functools.wraps(fn)
    async def work(*args: Any, **kwargs: Any) -> Any:
        held = admission(policy)
        if held is not None:
            raise held
        value = await fn(*args, **kwargs)
        judge(policy, value)
        return value

    return work


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


async def _limited(policy: RetryPolicy, work: Awaitable[Any], scope: Scope | None) -> Any:
    """One attempt, cut when its time is over.

    The first step is taken by hand: work that never has to wait, like most that is answered from a
    buffer or a cache, then needs no timer, which costs ten times as much as everything else here.
    """
    if scope is None and policy.attempt_timeout is None:
        return await work
    steps: Any = work.__await__()
    try:
        first = next(steps)
    except StopIteration as done:
        return done.value
    return await _rest(policy, steps, first, scope)


async def _rest(policy: RetryPolicy, steps: Iterator[Any], first: Any, scope: Scope | None) -> Any:
    limits = [] if policy.attempt_timeout is None else [policy.attempt_timeout]
    if scope is not None:
        limits.append(scope[0] - scope[1].monotonic())
    timer = asyncio.timeout(min(limits))
    try:
        async with timer:
            return await _Resumed(steps, first)
    except TimeoutError:
        if not timer.expired():
            raise
    raise Own(_cut(policy, scope))


@coroutine
def _into(box: list[Any], begun: Any) -> Generator[Any, Any, None]:
    """Steps of ``begun``, a coroutine, that leave its result in ``box``.

    ``next`` with a default ends them without an exception; the StopIteration that carries a result, and the
    traceback that goes with it, cost twice as much as this generator.
    """
    box[0] = yield from begun


def _cut(policy: RetryPolicy, scope: Scope | None) -> ResilienceError:
    if scope is not None and scope[1].monotonic() >= scope[0]:
        return DeadlineExceeded("the attempt was cut at the deadline")
    return AttemptTimedOut(f"the attempt was cut after {policy.attempt_timeout} s")


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


def _close(scope: Scope | None) -> None:
    if scope is not None:
        scope[0] = None


def _leave(token: Any) -> None:
    try:
        CURRENT.reset(token)
    except ValueError:
        # A coroutine that nobody finished is closed in another context, where nothing was set.
        pass
