"""The synchronous shell: calls, and sleeps when the course says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from chaoskit.core.deadline import CURRENT, Scope
from chaoskit.core.errors import UsageError
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.start import admission, hooked, inherit, rejection, repair_failed

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
    current, enter, leave = CURRENT.get, CURRENT.set, CURRENT.reset
    # Looked up once: the guarded path is the bare one plus what these cost, and not much else.
    monotonic, seconds, clock, budget = policy.clock.monotonic, policy.deadline, policy.clock, policy.budget
    throttled, judged = policy.throttle is not None, policy.on_result is not None

    def guarded(*args: Any, **kwargs: Any) -> Any:
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
        try:
            if throttled and (error := admission(policy)) is not None:
                return _go_on(policy, fn, args, kwargs, error, scope)
            try:
                value = fn(*args, **kwargs)
            except catch as caught:
                error = caught
            else:
                if type(value) in lazy:
                    _refuse_lazy(fn, value)
                if not judged or (error := rejection(policy, value)) is None:
                    return value
                return _go_on(policy, fn, args, kwargs, error, scope, own=True)
            return _go_on(policy, fn, args, kwargs, error, scope)
        finally:
            error = None
            if token is not None:
                leave(token)
            elif scope is not None:
                scope[0] = None

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        outer = current()
        if outer is not None and outer[0] is not None:
            return guarded(*args, **kwargs)
        try:
            value = fn(*args, **kwargs)
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
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException | None,
    until: Scope | None,
    own: bool = False,
) -> Any:
    """What follows the first failure."""
    assert error is not None
    course = Course(policy, until, getattr(fn, "__qualname__", ""))
    try:
        while course.failed(error, own) and pause(policy, course, error):
            error, own, value = _attempt(policy, fn, args, kwargs)
            if error is None:
                course.succeeded()
                return value
        raise error
    finally:
        course.close()
        del error


def _attempt(
    policy: RetryPolicy, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[BaseException | None, bool, Any]:
    if policy.throttle is not None and (held := admission(policy)) is not None:
        return held, False, None
    try:
        value = fn(*args, **kwargs)
    except policy.matcher.catch as error:
        return error, False, None
    rejected = rejection(policy, value)
    return rejected, rejected is not None, value


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
