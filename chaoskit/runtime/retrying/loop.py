"""A policy as a loop: ``for attempt in policy: with attempt: ...``."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from chaoskit.core.errors import UsageError
from chaoskit.runtime.deadlines import CURRENT, Scope
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.history import RetryContext
from chaoskit.runtime.retrying.shell import pause
from chaoskit.runtime.retrying.start import admission, begin

if TYPE_CHECKING:
    from chaoskit.runtime.retrying.policy import RetryPolicy

__all__ = ["Attempt", "async_attempts", "attempts"]


class Attempt:
    """One attempt; swallows the error of its block if another attempt follows."""

    __slots__ = ("_catch", "_course", "_entered", "_error", "_token", "_until")

    def __init__(self, policy: RetryPolicy, course: Course, until: Scope | None) -> None:
        self._catch = policy.matcher.catch
        self._course = course
        self._until = until
        self._token: contextvars.Token[Any] | None = None
        self._error: BaseException | None = None
        self._entered = False

    @property
    def number(self) -> int:
        """From 1."""
        return self._course.attempts + 1

    @property
    def context(self) -> RetryContext:
        """The failures before this attempt."""
        return self._course.context

    def __enter__(self) -> Attempt:
        if self._entered:
            raise UsageError(
                "this attempt was entered before. Each turn of the loop has an attempt of its own."
            )
        self._entered = True
        if self._until is not None:
            self._token = CURRENT.set(self._until)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._token is not None:
            CURRENT.reset(self._token)
        if error is None:
            if self._course.attempts:
                self._course.succeeded()
            return False
        if isinstance(error, self._catch) and not _own_cancellation(error) and self._course.failed(error):
            self._error = error
            return True
        return False

    def _ended(self) -> BaseException | None:
        """The error of a failed attempt, or None if the block went through; forgets it."""
        if not self._entered:
            raise UsageError("the attempt was not entered. Put the body of the loop into 'with attempt:'.")
        error, self._error = self._error, None
        return error


def attempts(policy: RetryPolicy, *, scoped: bool = True) -> Iterator[Attempt]:
    """The attempts of one call; ``scoped`` ones pass the deadline on to what is called in their block."""
    until = begin(policy)
    course = Course(policy, until, None, keep=True)
    error: BaseException | None = None
    try:
        while True:
            error = admission(policy)
            if error is None:
                attempt = Attempt(policy, course, until if scoped else None)
                yield attempt
                error = attempt._ended()
                if error is None:
                    return
            elif not course.failed(error):
                raise error
            if not pause(policy, course, error):
                raise error
            error = None
    finally:
        course.close()
        error = None


async def async_attempts(policy: RetryPolicy, *, scoped: bool = True) -> AsyncIterator[Attempt]:
    """The same, with waits that do not block the event loop."""
    from chaoskit.runtime.retrying.async_shell import async_pause

    until = begin(policy)
    course = Course(policy, until, None, keep=True)
    error: BaseException | None = None
    try:
        while True:
            error = admission(policy)
            if error is None:
                attempt = Attempt(policy, course, until if scoped else None)
                yield attempt
                error = attempt._ended()
                if error is None:
                    return
            elif not course.failed(error):
                raise error
            if not await async_pause(policy, course, error):
                raise error
            error = None
    finally:
        course.close()
        error = None


def _own_cancellation(error: BaseException) -> bool:
    if isinstance(error, Exception):
        return False
    import asyncio

    if not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here, so nobody cancels
        return False
    return task is not None and task.cancelling() > 0
