"""A retry policy: what to retry, how often, how long to wait. Immutable, so that anything may share it."""

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

# Looked up once: a call that succeeds costs little more than this and the call itself.
_deadline = CURRENT.get
_HANDLE = "__chaoskit_retry__"
_BARE = "What to retry has no default; say it: @retry(on=ConnectionError)."


class RetryPolicy(RetryRules, NoBlock):
    """A policy is a decorator, a loop, or something to call through; the three behave alike.

    ::

        policy = RetryPolicy(on=ConnectionError)

        @policy
        def fetch(url): ...

        for attempt in policy:
            with attempt:
                fetch_once(url)

        policy.call(fetch_once, url)        # await policy.acall(...) for coroutine functions

    When it gives up it raises the last attempt's own error, unchanged. All times are seconds.

    on
        What is worth another attempt: exception classes, a :class:`~chaoskit.runtime.Category`, a
        :class:`~chaoskit.runtime.Classifier` (whatever it calls retryable), a function of the error, or
        several of these. No default. ``TRANSIENT_ERRORS`` names what passes by itself or when
        something is freed.
    but_not
        Of these, what is not: the same forms. ``on=OSError, but_not=FileNotFoundError``.
    attempts
        How often to call in all; None for no limit. By default three times, as AWS's and Google's clients
        do: more only multiplies the load of a service that is already failing. With a ``deadline`` there is
        no other limit by default: the calls go on until it.
    attempts_by
        Other limits for a category or a class of the taxonomy: ``{RateLimited: 10, Unreachable: 2}``.
    wait
        The :class:`Backoff` between attempts.
    waits
        Backoffs for a category or a class of the taxonomy, instead of ``wait``.
    deadline
        Total time for all attempts and waits. Calls within inherit it. No attempt starts after it, and
        no wait begins that would not end before it. An attempt of an async function is cut at it.
    attempt_timeout
        Cuts an attempt of an async function, which is then retried. Python cannot cut a synchronous
        function, so there it is refused: pass ``chaoskit.runtime.remaining()`` to what blocks.
    on_result
        A function of the result that is true if it calls for another attempt; after the last one
        :class:`ResultRejected` is raised.
    retry_after_cap
        Obey a ``Retry-After`` of the other side up to this; 0 ignores it.
    retry_after_above_cap
        What a longer wait than the cap means: ``"wait"`` for as long as the cap, and call too early; or
        ``"give-up"`` at once.
    retry_after_spread
        A share of the asked wait to add by chance, so that clients that were sent away together do not come
        back together: 0.1 adds up to a tenth.
    repair
        A step before each further attempt, given the error (log in again, reconnect). May be a coroutine
        function for async calls. If it fails, the call ends with the attempt's error.
    quiet
        How many first failures are marked as not worth a warning.
    generators
        A call of a generator function does no work yet, so retrying it protects nothing: it is refused.
        ``"restart"`` runs the generator again from its start, which yields the first items again.
        ``"pass"`` lets a plain function return a generator.
    budget, throttle
        Shared limits: :class:`RetryBudget`, :class:`AdaptiveThrottle`.
    classifier
        Judges errors for ``waits`` and for categories in ``on``; the built-in rules by default.
    listeners, hooks
        Listeners get every event. A hook gets each ``RetryScheduled`` and may return a context manager to be
        held during the wait. What either raises is reported and changes nothing.
    clock, random, wake
        Time, chance, and an event whose setting ends every wait, and the call with it, at once.
    name
        For events and registries.
    """

    # Not a dataclass again: it adds no field, and processing those of its rules a second time would take a
    # tenth of this module's import.
    __slots__ = ()

    _no_block = (
        "A retry has no 'with': Python runs a block once and cannot repeat it. "
        "Write 'for attempt in policy: with attempt: ...', or 'async for', or put the block into a function."
    )

    def __call__(self, fn: _F, /) -> _F:
        """``fn``, retried: a function of the same kind, name and signature."""
        decorated: _F = decorate(self, fn)
        # Of a static or class method, the function in it: the descriptor is gone by the time of the call.
        holder = getattr(decorated, "__func__", decorated)
        setattr(holder, _HANDLE, self)
        return decorated

    def call(self, fn: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call ``fn``, retried. For a coroutine function use :meth:`acall`."""
        # What the decorated form does, without making it, which costs as much as forty calls.
        if self.direct and _deadline()[0] is None:
            try:
                value = fn(*args, **kwargs) if kwargs else fn(*args)  # type: ignore[call-arg]
            except self.matcher.clause as caught:
                error = caught
            else:
                if type(value) not in RESULTS:
                    # No lambda: a variable that one shares costs each call a cell.
                    refuse_workless(self, fn, value, partial(synchronous, self, fn))
                return value
            try:
                # What cannot be retried at all has failed as well, and is refused by name.
                synchronous(self, fn)
                again: _R = go_on(self, fn, args, kwargs, error, None)
                return again
            finally:
                del error
        result: _R = synchronous(self, fn)(*args, **kwargs)
        return result

    async def acall(self, fn: Callable[_P, Awaitable[_R]], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Await ``fn``, retried."""
        result: _R = await asynchronous(self, fn)(*args, **kwargs)
        return result

    def __iter__(self) -> Iterator[Attempt]:
        """The attempts of one block of code; each has to be entered with ``with``."""
        return attempts(self)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        """The same for ``async for``; its waits do not block the event loop."""
        return async_attempts(self)

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: getattr(self, name) for name in RetryOptions.__annotations__}
        return (_rebuilt, (options,))


def retry(policy: RetryPolicy | None = None, /, **options: Unpack[RetryOptions]) -> RetryPolicy:
    """A policy from ``options``; with a ``policy``, that one with some options changed.

    ``@retry(on=ConnectionError)`` needs nothing else. See :class:`RetryPolicy` for the options. Raises
    ``UsageError`` for options that cannot be, and if ``on`` is missing.
    """
    if policy is None:
        if "on" not in options:
            raise UsageError(f"retry() was not told what to retry. {_BARE}")
        return RetryPolicy(**options)
    if not isinstance(policy, RetryPolicy):
        raise wrong("the argument of retry", policy, "a RetryPolicy", _BARE)
    return replace(policy, **options)


def policy_of(fn: Callable[..., Any]) -> RetryPolicy | None:
    """The policy that ``fn`` was decorated with, also below other decorators; None if there is none.

    ``retry(policy_of(fetch), attempts=10)(fetch.__wrapped__)`` is the same function with another limit.
    """
    found = getattr(fn, _HANDLE, None)
    return found if isinstance(found, RetryPolicy) else None


def _rebuilt(options: RetryOptions) -> RetryPolicy:
    return RetryPolicy(**options)
