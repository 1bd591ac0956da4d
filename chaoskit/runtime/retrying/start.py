"""What surrounds an attempt, the same for functions, coroutines, generators and loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from chaoskit.runtime.calling.callables import asked
from chaoskit.runtime.deadlines import CURRENT, Scope, nested
from chaoskit.runtime.failures.taxonomy import DeadlineExceeded, ResilienceError, ResultRejected, Throttled
from chaoskit.runtime.log import ERROR, log
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.history import shown
from chaoskit.runtime.retrying.rules import Hook, RetryRules

__all__ = [
    "INHERITED",
    "Own",
    "Retried",
    "admission",
    "begin",
    "hooked",
    "inherit",
    "judge",
    "opener",
    "repairing",
]


class Retried(NamedTuple):
    """The parts of a shell: ``fn`` as the user gave it, and ``attempt``, one attempt at it.

    ``catch`` is for the except clause.
    """

    rules: RetryRules
    fn: Callable[..., Any]
    attempt: Callable[..., Any]
    catch: Any


INHERITED: Scope = []
"""Returned instead of a scope if that of an outer call is in force: the slow path then handles the call."""


def opener(rules: RetryRules) -> Callable[[], Scope | None]:
    """Make a function for the asynchronous fast path, which counts a call and puts its deadline in force.

    That function returns the scope, which the shell closes after the call; None if there is no deadline;
    :data:`INHERITED`, without setting anything, if an outer one is in force.
    """
    # Looked up once: the guarded path should cost little more than the bare one.
    current, enter, monotonic = CURRENT.get, CURRENT.set, rules.clock.monotonic
    seconds, clock, budget = rules.deadline, rules.clock, rules.budget

    def opened() -> Scope | None:
        now = monotonic()
        if budget is not None:  # RetryBudget.request, without its call
            if now >= budget.edge:
                budget.roll(now)
            budget.tick()
        if current()[0] is not None:
            return INHERITED
        if seconds is None:
            return None
        enter(scope := [now + seconds, clock])
        return scope

    return opened


def begin(rules: RetryRules) -> Scope | None:
    """Count the call and return its deadline, or an outer call's earlier one; raise if that has passed."""
    if rules.budget is not None:
        rules.budget.request(rules.clock.monotonic())
    return inherit(rules, CURRENT.get())


def inherit(rules: RetryRules, outer: Scope) -> Scope | None:
    """Return the call's deadline within ``outer``; raise if that has passed: no attempt may start then."""
    scope = nested(outer, rules.deadline, rules.clock)
    if scope is not None and scope[1].monotonic() >= scope[0]:
        raise DeadlineExceeded("the deadline of an outer call has passed; this one was not begun")
    return scope


def admission(rules: RetryRules) -> Throttled | None:
    """Ask the throttle; return the error to raise if it holds the attempt back."""
    throttle = rules.throttle
    if throttle is None or throttle.admits(rules.clock.monotonic(), rules.random):
        return None
    return Throttled("held back: the service rejects most of what it is sent")


class Own(Exception):
    """Carries this call's own ``verdict`` on an attempt from the attempt to the shell, and no further.

    It stays within one call: a nested retried call raises the verdict itself, which the outer policy judges
    like any other error.
    """

    def __init__(self, verdict: ResilienceError) -> None:
        self.verdict = verdict


def judge(rules: RetryRules, value: object) -> None:
    """Raise if ``on_result`` does not accept ``value``."""
    ask = rules.on_result
    if ask is not None and asked("on_result", ask, value, if_it_raises=False):
        raise Own(ResultRejected("the result was not accepted", value=value))


@contextmanager
def hooked(rules: RetryRules, course: Course) -> Iterator[None]:
    """Hold the context managers that the hooks return; exit each of them once, the last first."""
    with ExitStack() as held:
        for hook in rules.hooks:
            _hold(hook, course, held)
        yield


@contextmanager
def repairing(course: Course, error: BaseException) -> Iterator[None]:
    """Run the repair step in this block. If it fails, the call ends: another attempt would fail as well."""
    try:
        yield
    except Exception as failure:
        _report(course, "repair", failure)
        note = (
            f"The repair step before another attempt failed: {type(failure).__qualname__}: {shown(failure)}"
        )
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        course.stopped("repair", error)
    else:
        course.started()


def _hold(hook: Hook, course: Course, held: ExitStack) -> None:
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    try:
        manager = hook(course.scheduled)
        if manager is not None:
            manager.__enter__()
    except Exception as failure:
        _report(course, name, failure)
    else:
        if manager is not None:
            held.callback(_release, manager, course, name)


def _release(manager: Any, course: Course, name: str) -> None:
    # A hook is not told of errors: it observes the wait and takes no part in the call.
    try:
        manager.__exit__(None, None, None)
    except Exception as failure:
        _report(course, name, failure)


def _report(course: Course, hook: str, failure: Exception) -> None:
    log(ERROR, "retry hook %s failed", hook, error=failure)
    course.tell("HookFailed", hook=hook, error_type=type(failure).__qualname__, error=shown(failure))
