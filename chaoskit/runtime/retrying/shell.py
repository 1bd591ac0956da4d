"""The synchronous shell: calls, and sleeps when the course says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from chaoskit.core.errors import UsageError
from chaoskit.runtime.deadlines import CURRENT, Scope
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.start import Own, admission, hooked, inherit, judge, repair_failed

if TYPE_CHECKING:
    from chaoskit.runtime.retrying.policy import RetryPolicy

__all__ = ["pause", "retried"]

# A call that returns one of these has done no work yet.
_LAZY = frozenset({CoroutineType, GeneratorType, AsyncGeneratorType})


def retried(policy: RetryPolicy, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls ``fn`` as ``policy`` says.

    On the path of success there is one ``try`` and nothing else that could be left out: a policy costs
    a healthy program next to nothing.
    """
    catch = policy.matcher.catch if len(policy.matcher.catch) > 1 else Exception
    lazy = _LAZY if policy.generators == "refuse" else frozenset({CoroutineType})
    work = _judged(policy, fn, lazy)
    # Looked up once: the guarded path is the bare one plus what these cost, and not much else.
    current, enter, leave = CURRENT.get, CURRENT.set, CURRENT.reset
    monotonic, seconds, clock, budget = policy.clock.monotonic, policy.deadline, policy.clock, policy.budget

    def guarded(*args: Any, **kwargs: Any) -> Any:
        now = monotonic()
        if budget is not None:  # RetryBudget.request, without its call
            if now >= budget.edge:
                budget.roll(now)
            budget.tick()
        outer = current()
        if outer is not None and outer[0] is not None:
            return nested(outer, args, kwargs)
        scope = None
        if seconds is not None:
            enter(scope := [now + seconds, clock])
        try:
            value = work(*args, **kwargs) if kwargs else work(*args)
        except catch as caught:
            error = caught
        except BaseException:
            _close(scope)
            raise
        else:
            if scope is not None:
                scope[0] = None
            if type(value) in lazy:
                _refuse_lazy(fn, value)
            return value
        try:
            return _go_on(policy, work, args, kwargs, error, scope)
        finally:
            del error
            _close(scope)

    def nested(outer: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = inherit(policy, outer)
        token = enter(scope)
        try:
            value = work(*args, **kwargs) if kwargs else work(*args)
        except catch as caught:
            error = caught
        else:
            if type(value) in lazy:
                _refuse_lazy(fn, value)
            return value
        finally:
            leave(token)
        token = enter(scope)
        try:
            return _go_on(policy, work, args, kwargs, error, scope)
        finally:
            del error
            leave(token)

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        outer = current()
        if outer is not None and outer[0] is not None:
            return nested(outer, args, kwargs)
        try:
            value = fn(*args, **kwargs) if kwargs else fn(*args)
        except catch as caught:
            error = caught
        else:
            if type(value) in lazy:
                _refuse_lazy(fn, value)
            return value
        # Outside of the except clause: what the next attempts raise must not have this error as context.
        try:
            return _go_on(policy, fn, args, kwargs, error, None)
        finally:
            # The error's traceback holds this frame: naming the error here would make a cycle.
            del error

    return call if policy.plain else functools.wraps(fn)(guarded)


def pause(policy: RetryPolicy, course: Course, error: BaseException) -> bool:
    """Wait and repair; whether the next attempt may begin."""
    if policy.hooks:
        with hooked(policy, course):
            woken = _sleep(policy, course.wait)
    else:
        woken = _sleep(policy, course.wait)
    if woken:
        course.stopped("shutdown", error)
        return False
    if policy.repair is not None:
        try:
            policy.repair(error)
        except Exception as failure:
            repair_failed(course, error, failure)
            return False
    course.started()
    return True


def _go_on(
    policy: RetryPolicy,
    work: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException,
    scope: Scope | None,
) -> Any:
    """What follows the first failure."""
    course = Course(policy, scope, work)
    catch = policy.matcher.catch
    try:
        while True:
            if own := type(error) is Own:
                error = error.verdict
            if not (course.failed(error, own) and pause(policy, course, error)):
                raise error
            try:
                value = work(*args, **kwargs) if kwargs else work(*args)
            except catch as caught:
                error = caught
            else:
                course.succeeded()
                return value
    finally:
        course.close()
        del error


def _judged(policy: RetryPolicy, fn: Callable[..., Any], lazy: frozenset[type]) -> Callable[..., Any]:
    """``fn`` with the throttle before and the judgement of its result after it, where there are such."""
    if policy.throttle is None and policy.on_result is None:
        return fn

    @functools.wraps(fn)
    def work(*args: Any, **kwargs: Any) -> Any:
        held = admission(policy)
        if held is not None:
            raise held
        value = fn(*args, **kwargs) if kwargs else fn(*args)
        if type(value) not in lazy:
            judge(policy, value)
        return value

    return work


def _close(scope: Scope | None) -> None:
    if scope is not None:
        scope[0] = None


def _sleep(policy: RetryPolicy, seconds: float) -> bool:
    if policy.wake is not None:
        return policy.clock.sleep(seconds, policy.wake)
    if seconds > 0:
        policy.clock.sleep(seconds)
    return False


def _refuse_lazy(fn: Callable[..., Any], value: Any) -> None:
    if isinstance(value, CoroutineType):
        value.close()
        advice = "Await it through an async function, or use policy.acall."
    else:
        advice = "Retry the function that consumes it, or allow it with generators='pass'."
    raise UsageError(
        f"{getattr(fn, '__qualname__', fn)} returned a {type(value).__name__}, which has done no work yet, "
        f"so that a retry would protect nothing. {advice}"
    )
