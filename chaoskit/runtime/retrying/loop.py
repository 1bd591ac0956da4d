"""A policy as a loop: ``for attempt in rules: with attempt: ...``."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.calling.callables import is_async
from chaoskit.runtime.deadlines import CURRENT, Scope
from chaoskit.runtime.retrying.course import Course
from chaoskit.runtime.retrying.history import RetryContext
from chaoskit.runtime.retrying.rules import RetryRules
from chaoskit.runtime.retrying.shell import pause
from chaoskit.runtime.retrying.start import admission, begin

__all__ = ["Attempt", "async_attempts", "attempts"]


class Attempt:
    """One attempt: a context manager that suppresses the error of its block if another attempt follows."""

    __slots__ = ("_catch", "_course", "_entered", "_error", "_token", "_until")

    def __init__(self, rules: RetryRules, course: Course, until: Scope | None) -> None:
        self._catch = rules.matcher.catch
        self._course = course
        self._until = until
        self._token: contextvars.Token[Any] | None = None
        self._error: BaseException | None = None
        self._entered = False

    @property
    def number(self) -> int:
        """The number of the attempt, from 1."""
        return self._course.attempts + 1

    @property
    def context(self) -> RetryContext:
        """The failures before this attempt."""
        return self._course.context

    def __enter__(self) -> Attempt:
        if self._entered:
            raise UsageError("this attempt was entered before. Enter each attempt of the loop once.")
        self._entered = True
        if self._until is not None:
            outer = CURRENT.get()
            try:
                self._token = CURRENT.set(self._until)
            except BaseException:
                # A signal handler may raise between the two calls: the block is then not entered, and never
                # left.
                CURRENT.set(outer)
                raise
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
        """The error of a failed attempt, or None if the block succeeded; forgets it."""
        if not self._entered:
            raise UsageError("the attempt was not entered. Put the body of the loop into 'with attempt:'.")
        # Forget the error, so that an attempt that the user keeps does not keep it alive.
        error, self._error = self._error, None
        return error


class _Turns:
    """The turns of one loop: which attempt is due, and if it was the last. The drivers do the waiting."""

    __slots__ = ("_rules", "_scope", "course", "error")

    def __init__(self, rules: RetryRules, scoped: bool) -> None:
        _check_loop(rules)
        until = begin(rules)
        self._rules = rules
        # A restarted generator is not scoped: between two items, code runs that is not part of the call.
        self._scope = until if scoped else None
        self.course = Course(rules, until, None, keep=True)
        self.error: BaseException | None = None

    def due(self) -> Attempt | None:
        """The next attempt; None if the throttle holds it back, so that a wait is due instead."""
        self.error = admission(self._rules)
        if self.error is None:
            return Attempt(self._rules, self.course, self._scope)
        if not self.course.failed(self.error):
            raise self.error
        return None

    def over(self, attempt: Attempt) -> bool:
        """Return True if the block of ``attempt`` succeeded; otherwise ``error`` is its failure."""
        self.error = attempt._ended()
        return self.error is None

    def close(self) -> None:
        """Give back unused charges, and forget the last error."""
        self.course.close()
        self.error = None


def attempts(rules: RetryRules, *, scoped: bool = True) -> Iterator[Attempt]:
    """Yield the attempts of one call; if ``scoped``, they put the deadline in force in their blocks.

    Raises:
        UsageError: the options cannot work in a loop.
        Exception: the error of the last attempt, when no more are left.
    """
    if rules.repair is not None and is_async(rules.repair):
        raise wrong("repair", rules.repair, "a synchronous function, as the loop is one", "Use 'async for'.")
    turns = _Turns(rules, scoped)
    try:
        while True:
            if (attempt := turns.due()) is not None:
                yield attempt
                if turns.over(attempt):
                    return
            if turns.error is not None and not pause(rules, turns.course, turns.error):
                raise turns.error
    finally:
        turns.close()


async def async_attempts(rules: RetryRules, *, scoped: bool = True) -> AsyncIterator[Attempt]:
    """Yield attempts as :func:`attempts` does, with the same errors; waits do not block the event loop."""
    from chaoskit.runtime.retrying.async_shell import async_pause

    turns = _Turns(rules, scoped)
    try:
        while True:
            if (attempt := turns.due()) is not None:
                yield attempt
                if turns.over(attempt):
                    return
            if turns.error is not None and not await async_pause(rules, turns.course, turns.error):
                raise turns.error
    finally:
        turns.close()


def _check_loop(rules: RetryRules) -> None:
    """Refuse options that cannot work in a loop, instead of ignoring them."""
    for name in ("attempt_timeout", "on_result"):
        if getattr(rules, name) is not None:
            hint = "The block of a loop has no result and cannot be cut: put it into a function."
            raise wrong(name, getattr(rules, name), "None for a policy that is used as a loop", hint)


def _own_cancellation(error: BaseException) -> bool:
    if isinstance(error, Exception):
        return False
    import asyncio

    if not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here, so nothing cancels
        return False
    return task is not None and task.cancelling() > 0
