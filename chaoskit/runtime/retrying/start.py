"""What surrounds an attempt, the same for functions, coroutines, generators and loops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from chaoskit.runtime.deadlines import CURRENT, Scope, nested
from chaoskit.runtime.failures.taxonomy import DeadlineExceeded, ResilienceError, ResultRejected, Throttled
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.events import HookFailed
from chaoskit.runtime.retrying.history import shown

if TYPE_CHECKING:
    from chaoskit.runtime.retrying.policy import Hook, RetryPolicy

__all__ = ["Own", "admission", "begin", "hooked", "inherit", "judge", "repair_failed"]


def begin(policy: RetryPolicy) -> Scope | None:
    """Count the call and return its deadline, the inherited one included; raise if that has passed."""
    if policy.budget is not None:
        policy.budget.request(policy.clock.monotonic())
    return inherit(policy, CURRENT.get())


def inherit(policy: RetryPolicy, outer: Scope | None) -> Scope | None:
    """The call's deadline within ``outer``; raise if ``outer`` has passed: no attempt starts after it."""
    scope = nested(outer, policy.deadline, policy.clock)
    if scope is not None and scope[1].monotonic() >= scope[0]:
        raise DeadlineExceeded("the deadline of an outer call has passed; this one was not begun")
    return scope


def admission(policy: RetryPolicy) -> Throttled | None:
    """The error instead of an attempt, if the throttle holds it back."""
    throttle = policy.throttle
    if throttle is None or throttle.admits(policy.clock.monotonic(), policy.random):
        return None
    return Throttled("held back: the service rejects most of what it is sent")


class Own(Exception):
    """Carries this call's own ``verdict`` on an attempt from the attempt to the shell, and no further.

    Inside one call only: a retried call within raises the verdict itself, which the outer policy judges
    like any other error.
    """

    def __init__(self, verdict: ResilienceError) -> None:
        self.verdict = verdict


def judge(policy: RetryPolicy, value: object) -> None:
    """Raise if ``on_result`` does not accept ``value``."""
    if policy.on_result is not None and policy.on_result(value):
        raise Own(ResultRejected("the result was not accepted", value=value))


@contextmanager
def hooked(policy: RetryPolicy, course: Course) -> Iterator[None]:
    """Hold what the hooks return; release it once each, the last first."""
    with ExitStack() as held:
        for hook in policy.hooks:
            _hold(hook, course, held)
        yield


def repair_failed(course: Course, error: BaseException, failure: Exception) -> None:
    """End the call: without the repair, another attempt would fail like the last one."""
    _report(course, "repair", failure)
    note = f"The repair step before another attempt failed: {type(failure).__qualname__}: {shown(failure)}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    course.stopped("repair", error)


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
    # A hook is told of no error: it observes the wait, it does not take part in the call.
    try:
        manager.__exit__(None, None, None)
    except Exception as failure:
        _report(course, name, failure)


def _report(course: Course, hook: str, failure: Exception) -> None:
    logging.getLogger("chaoskit").error("retry hook %s failed", hook, exc_info=failure)
    course.tell(HookFailed, hook=hook, error_type=type(failure).__qualname__, error=shown(failure))
