"""A retry policy: what to retry, how often, and how long to wait. Immutable, so it can be shared freely."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar, Unpack

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.calling.blocks import NoBlock
from chaoskit.runtime.calling.callables import RESULTS
from chaoskit.runtime.deadlines import CURRENT
from chaoskit.runtime.retrying.decorate import asynchronous, decorate, synchronous
from chaoskit.runtime.retrying.loop import Attempt, async_attempts, attempts
from chaoskit.runtime.retrying.rules import RetryOptions, RetryRules
from chaoskit.runtime.retrying.shell import go_on, refuse_workless

__all__ = ["RetryPolicy", "policy_of", "retry"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_F = TypeVar("_F", bound=Callable[..., Any])

# Looked up once: a successful call costs little more than this and the call itself.
_deadline = CURRENT.get
_HANDLE = "__chaoskit_retry__"
_BARE = "What to retry has no default: name it, as in @retry(on=ConnectionError)."


class RetryPolicy(RetryRules, NoBlock):
    """A policy is a decorator, a loop, or a function to call through; the three behave alike.

    ::

        policy = RetryPolicy(on=ConnectionError)

        @policy
        def fetch(url): ...

        for attempt in policy:
            with attempt:
                fetch_once(url)

        policy.call(fetch_once, url)        # await policy.acall(...) for coroutine functions

    When it gives up, it raises the last attempt's own error, unchanged. All times are in seconds.

    on
        The errors that are worth another attempt: exception classes, a :class:`~chaoskit.runtime.Category`, a
        :class:`~chaoskit.runtime.Classifier` (whatever it calls retryable), a function of the error, or
        several of these. No default. ``TRANSIENT_ERRORS`` names the errors that pass by themselves, or once
        resources are freed.
    but_not
        Exceptions from ``on``, in the same forms: ``on=OSError, but_not=FileNotFoundError``.
    attempts
        The number of calls in total; None for no limit. The default is three, as in AWS's and Google's
        clients: more would only multiply the load of a service that is already failing. If there is a
        ``deadline``, the default is no limit: attempts go on until the deadline.
    attempts_by
        Other limits for a category or a class of the taxonomy: ``{RateLimited: 10, Unreachable: 2}``.
    wait
        The :class:`Backoff` between attempts.
    waits
        Backoffs for a category or a class of the taxonomy, instead of ``wait``.
    deadline
        Total time for all attempts and waits; calls inside inherit it. No attempt starts after it, and a wait
        that would not end before it is not begun. At the deadline, an attempt of an async function is cut
        off.
    attempt_timeout
        Cuts off an attempt of an async function, which is then retried. Python cannot cut off a synchronous
        function, so the option is refused there: pass ``chaoskit.runtime.remaining()`` to blocking calls.
    on_result
        A function of the result that returns True if it calls for another attempt; after the last attempt
        :class:`ResultRejected` is raised.
    retry_after_cap
        The longest ``Retry-After`` of the other side to obey; 0 ignores it.
    retry_after_above_cap
        What to do if a longer wait is asked for: ``"wait"`` for as long as the cap and call too early, or
        ``"give-up"`` at once.
    retry_after_spread
        A share of the requested wait to add at random, so that clients that were sent away together do not
        come back together: 0.1 adds up to a tenth.
    repair
        A step before each further attempt, called with the error (log in again, reconnect). It may be a
        coroutine function for async calls. If it fails, the call ends with the attempt's error.
    quiet
        The number of first failures that are marked as not worth a warning.
    generators
        Calling a generator function does no work yet, so a retry would protect nothing: it is refused.
        ``"restart"`` runs the generator again from its start, which yields the first items again. ``"pass"``
        lets a plain function return a generator.
    budget, throttle
        Shared limits: :class:`RetryBudget`, :class:`AdaptiveThrottle`.
    classifier
        Judges errors for ``waits`` and for categories in ``on``; the built-in rules by default.
    listeners, hooks
        Listeners get every event. A hook gets each ``RetryScheduled`` and may return a context manager to
        hold during the wait. Their exceptions are reported and have no other effect.
    clock, random, wake
        Time, chance, and an event that, when it is set, ends every wait and its call at once.
    name
        A name for events and registries.
    """

    # Not decorated as a dataclass: it adds no fields, and processing those of its base again would take a
    # tenth of this module's import.
    __slots__ = ()

    _no_block = (
        "A retry has no 'with': Python runs a block once and cannot repeat it. "
        "Write 'for attempt in policy: with attempt: ...', or 'async for', or put the block into a function."
    )

    def __call__(self, fn: _F, /) -> _F:
        """``fn`` with retries: a function of the same kind, name and signature."""
        decorated: _F = decorate(self, fn)
        # Note the policy on the function in a static or class method: calls do not see the descriptor.
        holder = getattr(decorated, "__func__", decorated)
        setattr(holder, _HANDLE, self)
        return decorated

    def call(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call ``fn`` with retries. For a coroutine function use :meth:`acall`."""
        # Does what the decorated form does. Making that form would cost as much as forty calls.
        if self.direct and _deadline()[0] is None:
            try:
                value = fn(*args, **kwargs) if kwargs else fn(*args)  # type: ignore[call-arg]
            except self.matcher.clause as caught:
                error = caught
            else:
                if type(value) not in RESULTS:
                    # Not a lambda: sharing a variable with one would make it a cell, which every call would
                    # pay for.
                    refuse_workless(self, fn, value, partial(synchronous, self, fn))
                return value
            try:
                # It may have failed because it cannot be retried at all, such as an object that is not
                # callable: then refuse it with a message that says so.
                synchronous(self, fn)
                again: _R = go_on(self, fn, args, kwargs, error, None)
                return again
            finally:
                del error
        result: _R = synchronous(self, fn)(*args, **kwargs)
        return result

    async def acall(self, fn: Callable[_P, Awaitable[_R]], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Await ``fn`` with retries."""
        result: _R = await asynchronous(self, fn)(*args, **kwargs)
        return result

    def __iter__(self) -> Iterator[Attempt]:
        """Yield the attempts of one block of code; enter each of them with ``with``."""
        return attempts(self)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        """Yield the attempts for ``async for``; its waits do not block the event loop."""
        return async_attempts(self)

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: getattr(self, name) for name in RetryOptions.__annotations__}
        return (_rebuilt, (options,))


def retry(policy: RetryPolicy | None = None, /, **options: Unpack[RetryOptions]) -> RetryPolicy:
    """Make a policy from ``options``, or a copy of ``policy`` with these options changed.

    ``@retry(on=ConnectionError)`` needs no more. See :class:`RetryPolicy` for the options. Raises
    ``UsageError`` for impossible options, and if ``on`` is missing.
    """
    if policy is None:
        if "on" not in options:
            raise UsageError(f"retry() was not told what to retry. {_BARE}")
        return RetryPolicy(**options)
    if not isinstance(policy, RetryPolicy):
        raise wrong("the argument of retry", policy, "a RetryPolicy", _BARE)
    return replace(policy, **options)


def policy_of(fn: Callable[..., Any]) -> RetryPolicy | None:
    """The policy that ``fn`` was decorated with, even below other decorators; None if there is none.

    ``retry(policy_of(fetch), attempts=10)(fetch.__wrapped__)`` is the same function with another limit.
    """
    found = getattr(fn, _HANDLE, None)
    return found if isinstance(found, RetryPolicy) else None


def _rebuilt(options: RetryOptions) -> RetryPolicy:
    return RetryPolicy(**options)
