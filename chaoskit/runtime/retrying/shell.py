"""The synchronous shell: calls the function, and sleeps when the course says so."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.runtime.calling.callables import RESULTS, called, drop, is_workless
from chaoskit.runtime.deadlines import CURRENT, NEVER, Scope
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.rules import RetryRules
from chaoskit.runtime.retrying.start import (
    Own,
    Retried,
    admission,
    hooked,
    inherit,
    judge,
    repairing,
)

__all__ = ["go_on", "pause", "refuse_workless", "retried"]

Function = Callable[..., Any]


def retried(rules: RetryRules, fn: Function) -> Function:
    """Return a function that calls ``fn`` according to ``rules``.

    A successful call passes through one ``try`` and only the necessary steps, so that a policy costs a
    healthy program next to nothing.
    """
    made = Retried(rules, fn, _judged(rules, fn), rules.matcher.clause)
    shell = _bare if rules.plain else _guarded
    return functools.wraps(fn)(shell(made, _nested(made)))


def _bare(parts: Retried, nested: Function) -> Function:
    """The shell of a policy that has nothing to do around the first attempt."""
    rules, fn, _, catch = parts
    # A local name saves each successful call a look-up.
    current = CURRENT.get

    def call(*args: Any, **kwargs: Any) -> Any:
        if current()[0] is not None:
            return nested(args, kwargs)
        try:
            value = fn(*args, **kwargs) if kwargs else fn(*args)
        except catch as caught:
            error = caught
        else:
            if type(value) not in RESULTS:
                refuse_workless(rules, fn, value)
            return value
        # Outside the except clause: errors of the next attempts must not have this one as their context.
        try:
            return go_on(rules, fn, args, kwargs, error, None)
        finally:
            # The error's traceback holds this frame: a variable with the error would make a cycle.
            del error

    return call


def _guarded(parts: Retried, nested: Function) -> Function:
    """The shell of a policy that counts calls, sets a deadline, or judges results."""
    rules, fn, attempt, catch = parts
    # Looked up once: this path should cost little more than the bare one. It repeats the code of ``opener``,
    # because calling that would cost half as much as the plain loop.
    current, enter, monotonic = CURRENT.get, CURRENT.set, rules.clock.monotonic
    seconds, clock, budget = rules.deadline, rules.clock, rules.budget

    def guarded(*args: Any, **kwargs: Any) -> Any:
        now = monotonic()
        if budget is not None:  # RetryBudget.request, without its call
            if now >= budget.edge:
                budget.roll(now)
            budget.tick()
        if current()[0] is not None:
            return nested(args, kwargs)
        scope: Scope | None = None
        # The try surrounds everything, and the scope is closed without a call: a signal handler may raise
        # between any two calls, and must not leave the deadline in force for whatever this thread does next.
        try:
            if seconds is not None:
                enter(scope := [now + seconds, clock])
            try:
                value = attempt(*args, **kwargs) if kwargs else attempt(*args)
            except catch as caught:
                error = caught
            else:
                if type(value) not in RESULTS:
                    refuse_workless(rules, fn, value)
                return value
            try:
                return go_on(rules, attempt, args, kwargs, error, scope)
            finally:
                del error
        finally:
            if scope is not None:
                scope[0] = None

    return guarded


def _nested(parts: Retried) -> Function:
    """The part that both shells use under the deadline of an outer call: inherit it, and restore it."""
    rules, fn, attempt, catch = parts

    def nested(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outer, token = CURRENT.get(), None
        scope = inherit(rules, outer)
        try:
            token = CURRENT.set(scope or NEVER)
            try:
                value = attempt(*args, **kwargs) if kwargs else attempt(*args)
            except catch as caught:
                error = caught
            else:
                if type(value) not in RESULTS:
                    refuse_workless(rules, fn, value)
                return value
            try:
                return go_on(rules, attempt, args, kwargs, error, scope)
            finally:
                del error
        finally:
            if token is None:
                CURRENT.set(outer)
            else:
                CURRENT.reset(token)

    return nested


def pause(rules: RetryRules, course: Course, error: BaseException) -> bool:
    """Wait and repair; return True if the next attempt may begin."""
    if rules.hooks:
        with hooked(rules, course):
            woken = _sleep(rules, course.wait)
    else:
        woken = _sleep(rules, course.wait)
    if woken:
        course.stopped("shutdown", error)
    elif rules.repair is None:
        course.started()
    else:
        with repairing(course, error):
            called("repair", rules.repair, error)
    return course.reason is None


def go_on(
    rules: RetryRules,
    attempt: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException,
    scope: Scope | None,
) -> Any:
    """Continue after the first failure: wait and try again, until there is a value or no attempt left."""
    # Made only now: a successful call never needs one.
    course = Course(rules, scope, attempt)
    catch = rules.matcher.catch
    try:
        while True:
            # A verdict of our own comes wrapped, so that it counts even if ``on`` does not name its class.
            if own := type(error) is Own:
                error = error.verdict
            if not (course.failed(error, own) and pause(rules, course, error)):
                raise error
            try:
                value = attempt(*args, **kwargs) if kwargs else attempt(*args)
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
    def attempt(*args: Any, **kwargs: Any) -> Any:
        # Inside the attempt, so that repeated ones are throttled like the first.
        held = admission(rules)
        if held is not None:
            raise held
        value = fn(*args, **kwargs) if kwargs else fn(*args)
        # Work that is still to be done has no result to judge; the shell refuses it.
        if not is_workless(value):
            judge(rules, value)
        return value

    return attempt


def _sleep(rules: RetryRules, seconds: float) -> bool:
    if rules.wake is not None:
        return rules.clock.sleep(seconds, rules.wake)
    if seconds > 0:
        rules.clock.sleep(seconds)
    return False


def refuse_workless(
    rules: RetryRules, fn: Function, value: Any, examine: Callable[[], object] | None = None
) -> None:
    """Refuse ``value``, the result of ``fn``, if it is work still to be done, unless the rules let it pass.

    ``examine`` is called first, and may refuse the function with a message that fits better.

    Raises:
        UsageError: the message says what to do instead.
    """
    generated = isinstance(value, Generator | AsyncGenerator)
    if not is_workless(value) or (generated and rules.generators != "refuse"):
        return
    drop(value)
    if generated:
        advice = "Retry the function that consumes it, or allow it with generators='pass'."
    elif isinstance(value, Coroutine):
        advice = "Await it through an async function, or use policy.acall."
    else:
        advice = "Await it in an async def, or call its result() in the function."
    if examine is not None:
        examine()
    raise UsageError(
        f"{getattr(fn, '__qualname__', fn)} returned a {type(value).__name__}, whose work is not done yet, "
        f"so that a retry would protect nothing. {advice}"
    )
