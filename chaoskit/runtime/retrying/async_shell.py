"""The asynchronous shell: awaits the function, cuts off late attempts, and obeys cancellation at once."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Generator, Iterator
from sys import modules
from types import CoroutineType, coroutine
from typing import Any

from chaoskit.runtime.calling.callables import finished
from chaoskit.runtime.calling.loops import needs_asyncio
from chaoskit.runtime.clock import Clock
from chaoskit.runtime.deadlines import CURRENT, NEVER, Scope
from chaoskit.runtime.failures.taxonomy import AttemptTimedOut, DeadlineExceeded, ResilienceError
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.rules import RetryRules
from chaoskit.runtime.retrying.start import (
    INHERITED,
    Own,
    Retried,
    admission,
    hooked,
    inherit,
    judge,
    opener,
    repairing,
)
from chaoskit.runtime.stop import sleep_async
from chaoskit.runtime.timers import timer

__all__ = ["async_pause", "async_retried"]

_NO_ERROR = Exception()

# No awaitable yields this, so it marks the end of the steps.
_DONE: Any = object()

Function = Callable[..., Awaitable[Any]]


def async_retried(rules: RetryRules, fn: Function) -> Callable[..., Any]:
    """A coroutine function that awaits ``fn`` according to ``rules``; see the synchronous shell."""
    made = Retried(rules, fn, _judged(rules, fn), rules.matcher.clause)
    shell = _bare if rules.plain else _guarded
    return functools.wraps(fn)(shell(made, _nested(made)))


def _bare(parts: Retried, nested: Function) -> Callable[..., Any]:
    """The shell of a policy that does nothing around the first attempt."""
    rules, fn, _, catch = parts
    current = CURRENT.get

    async def call(*args: Any, **kwargs: Any) -> Any:
        if current()[0] is not None:
            return await nested(args, kwargs)
        try:
            return await (fn(*args, **kwargs) if kwargs else fn(*args))
        except catch as caught:
            error = caught
        try:
            return await _go_on(rules, fn, args, kwargs, error, None)
        finally:
            del error

    return call


def _guarded(parts: Retried, nested: Function) -> Callable[..., Any]:
    """The shell of a policy that counts calls, limits their time, or judges results."""
    rules, _, attempt, catch = parts
    opened = opener(rules)
    limited = rules.deadline is not None or rules.attempt_timeout is not None
    by_hand = limited and not _is_virtual(rules)

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        # Ask which loop runs only if trio is loaded: the question is a fifth of the cost of all this.
        if limited and "trio" in modules:
            needs_asyncio("a deadline or an attempt_timeout", to_wait=True)
        scope = opened()
        if scope is INHERITED:
            return await nested(args, kwargs)
        try:
            begun = attempt(*args, **kwargs) if kwargs else attempt(*args)
            if by_hand and type(begun) is CoroutineType:  # _limited, without its call
                steps = _into(box := [None], begun)
                if (first := next(steps, _DONE)) is _DONE:
                    if scope is not None:
                        scope[0] = None
                    return box[0]
                await _rest(rules, _Resumed(steps, first), scope)
                value = box[0]
            else:
                value = await _limited(rules, begun, scope)
        except catch as caught:
            error: BaseException = caught
        except BaseException:
            _close(scope)
            raise
        else:
            _close(scope)
            return value
        try:
            return await _go_on(rules, attempt, args, kwargs, error, scope)
        finally:
            del error
            _close(scope)

    return guarded


def _nested(parts: Retried) -> Function:
    """The part that both shells use under the deadline of an outer call: inherit it, and restore it."""
    rules, _, attempt, catch = parts

    async def nested(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "trio" in modules:
            needs_asyncio("a deadline or an attempt_timeout", to_wait=True)
        scope = inherit(rules, CURRENT.get())
        token = CURRENT.set(scope or NEVER)
        try:
            try:
                return await _limited(rules, attempt(*args, **kwargs), scope)
            except catch as caught:
                error: BaseException = caught
            return await _go_on(rules, attempt, args, kwargs, error, scope)
        finally:
            error = _NO_ERROR
            _leave(token)

    return nested


async def async_pause(rules: RetryRules, course: Course, error: BaseException) -> bool:
    """Wait and repair; return True if the next attempt may begin."""
    with hooked(rules, course):
        woken = await sleep_async(rules.clock, course.wait, rules.wake)
    if woken:
        course.stopped("shutdown", error)
    elif rules.repair is None:
        course.started()
    else:
        with repairing(course, error):
            repaired = rules.repair(error)
            if isinstance(repaired, Awaitable):
                await repaired
            else:
                finished("a retry as its repair", rules.repair, repaired)
    return course.reason is None


async def _go_on(
    rules: RetryRules,
    attempt: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException,
    scope: Scope | None,
) -> Any:
    """Continue after the first failure."""
    course = Course(rules, scope, attempt)
    catch = rules.matcher.catch
    try:
        while True:
            _let_cancellation_win(error)
            if own := type(error) is Own:
                error = error.verdict
            if not (course.failed(error, own) and await async_pause(rules, course, error)):
                raise error
            try:
                value = await _limited(rules, attempt(*args, **kwargs), scope)
            except catch as caught:
                error = caught
            else:
                course.succeeded()
                return value
    finally:
        course.close()
        del error


def _judged(rules: RetryRules, fn: Function) -> Function:
    """``fn`` with the throttle before it and the judgement of its result after it, if the policy has them."""
    if rules.throttle is None and rules.on_result is None:
        return fn

    @functools.wraps(fn)
    async def attempt(*args: Any, **kwargs: Any) -> Any:
        held = admission(rules)
        if held is not None:
            raise held
        value = await fn(*args, **kwargs)
        judge(rules, value)
        return value

    return attempt


def _let_cancellation_win(error: BaseException) -> None:
    """Raise ``error`` again if it is the cancellation of this very task, even if ``on`` names it."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise error


async def _limited(rules: RetryRules, work: Awaitable[Any], scope: Scope | None) -> Any:
    """Make one attempt, and cut it off when its time is over.

    The first step is taken by hand. Work that never has to wait, such as most answers from a buffer or a
    cache, then needs no timer, and a timer costs ten times as much as everything else here.
    """
    if scope is None and rules.attempt_timeout is None:
        return await work
    if _is_virtual(rules):
        # A virtual clock may move during the first step, so the timer must be set before it.
        return await _rest(rules, work, scope)
    steps: Any = work.__await__()
    try:
        first = next(steps)
    except StopIteration as done:
        return done.value
    return await _rest(rules, _Resumed(steps, first), scope)


async def _rest(rules: RetryRules, rest: Awaitable[Any], scope: Scope | None) -> Any:
    clock: Clock = rules.clock
    seconds = math.inf if rules.attempt_timeout is None else rules.attempt_timeout
    if scope is not None and (left := scope[0] - scope[1].monotonic()) < seconds:
        seconds, clock = left, scope[1]
    own: BaseException | None = None
    try:
        async with timer(seconds, clock):
            try:
                return await rest
            except BaseException as error:
                own = error
                raise
    except TimeoutError as error:
        # The attempt itself may raise a TimeoutError, even at the very moment at which it is cut off.
        if error is own:
            raise
    finally:
        own = None
    raise Own(_cut(rules, scope))


def _is_virtual(rules: RetryRules) -> bool:
    """Return True for a clock that moves only when it is told to, and calls back then."""
    return getattr(rules.clock, "alarm", None) is not None


@coroutine
def _into(box: list[Any], begun: Any) -> Generator[Any, Any, None]:
    """Take the steps of ``begun``, a coroutine, and leave its result in ``box``.

    ``next`` with a default then ends without an exception. A StopIteration that carries the result, with its
    traceback, would cost twice as much as this generator.
    """
    box[0] = yield from begun


def _cut(rules: RetryRules, scope: Scope | None) -> ResilienceError:
    if scope is not None and scope[1].monotonic() >= scope[0]:
        return DeadlineExceeded("the attempt was cut at the deadline")
    return AttemptTimedOut(f"the attempt was cut after {rules.attempt_timeout} s")


class _Resumed:
    """The rest of an awaitable whose first step was taken and yielded ``first``."""

    __slots__ = ("_first", "_steps")

    def __init__(self, steps: Iterator[Any], first: Any) -> None:
        self._steps = steps
        self._first = first

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self._steps
        step = self._first
        while True:
            try:
                sent = yield step
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as caught:
                error = caught
            else:
                assert sent is None  # what an event loop sends
                # Nothing can be thrown at a finished step, so the interpreter can take over.
                return (yield from steps)
            # Outside the except clause: inside it, the next error of the coroutine would get this error as
            # its context even if the coroutine has handled it. The answer to a thrown error is a step like
            # any other, and may itself be answered with an error.
            try:
                step = steps.throw(error)
            except StopIteration as done:
                return done.value
            finally:
                del error


def _close(scope: Scope | None) -> None:
    if scope is not None:
        scope[0] = None


def _leave(token: Any) -> None:
    try:
        CURRENT.reset(token)
    except ValueError:
        # An unfinished coroutine is being closed in another context, where nothing was set.
        pass
