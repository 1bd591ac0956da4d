"""Chooses the shell for a function, and refuses functions that no shell could protect."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.callables import LAZY, CallableKind, is_async, kind_of
from chaoskit.runtime.retrying.loop import async_attempts, attempts
from chaoskit.runtime.retrying.rules import RetryRules
from chaoskit.runtime.retrying.shell import retried

__all__ = ["asynchronous", "decorate", "synchronous"]


def decorate(rules: RetryRules, fn: Any) -> Any:
    """Return ``fn`` in the shell for its kind; of a static or class method, the function inside is wrapped.

    Raises:
        UsageError: ``fn`` is a class or not callable, or the options do not suit its kind.
    """
    if isinstance(fn, staticmethod | classmethod):
        # If the descriptor itself were wrapped, it would no longer bind.
        return type(fn)(decorate(rules, fn.__func__))
    kind = kind_of(fn)
    if kind in (CallableKind.NOT_CALLABLE, CallableKind.METHOD):
        raise wrong("the function to retry", fn, "a callable", "Put @retry(...) directly above the def.")
    # A wrapped class would be a function: isinstance() and inheritance would fail.
    if kind is CallableKind.CLASS:
        hint = "Retry the method that does the work, or a function that makes the object."
        raise wrong("the function to retry", fn, "a function", hint)
    if kind in LAZY:
        _check_restarts(rules, fn)
        return (_restarting if kind is CallableKind.GENERATOR else _async_restarting)(rules, fn)
    return _awaited(rules, fn) if kind is CallableKind.ASYNC else _called(rules, fn)


def synchronous(rules: RetryRules, fn: Any) -> Any:
    """Return ``fn``, a synchronous function, with retries.

    Raises:
        UsageError: ``fn`` is of another kind, or an option works only for async functions.
    """
    kind = kind_of(fn)
    if kind is CallableKind.ASYNC:
        raise wrong("the function to call", fn, "a synchronous function", "Use 'await policy.acall(...)'.")
    if kind in LAZY:
        raise _refusal(fn)
    return _called(rules, fn)


def _called(rules: RetryRules, fn: Any) -> Any:
    """Make the shell of a function that is known to be synchronous; check the options for it."""
    if rules.attempt_timeout is not None:
        hint = "Python cannot cut a synchronous call: pass chaoskit.runtime.remaining() to what blocks."
        raise wrong("attempt_timeout", rules.attempt_timeout, "None for a synchronous function", hint)
    if rules.repair is not None and is_async(rules.repair):
        raise wrong("repair", rules.repair, "a synchronous function, as the retried one is")
    return retried(rules, fn)


def asynchronous(rules: RetryRules, fn: Any) -> Any:
    """Return ``fn``, a function that returns an awaitable, with retries.

    Raises:
        UsageError: ``fn`` is of another kind.
    """
    kind = kind_of(fn)
    if kind in LAZY:
        raise _refusal(fn)
    # A lambda, or a plain decorator around a coroutine function, may return an awaitable all the same.
    synchronous = kind is CallableKind.SYNC and inspect.isfunction(fn) and fn.__name__ != "<lambda>"
    if synchronous and not is_async(inspect.unwrap(fn)):
        raise wrong(
            "the function to await", fn, "a coroutine function", "Use policy.call for a synchronous one."
        )
    return _awaited(rules, fn)


def _awaited(rules: RetryRules, fn: Any) -> Any:
    # A program without coroutines should not pay for importing asyncio.
    from chaoskit.runtime.retrying.async_shell import async_retried

    return async_retried(rules, fn)


def _restarting(rules: RetryRules, fn: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    @functools.wraps(fn)
    def generator(*args: Any, **kwargs: Any) -> Any:
        # Not scoped: between two items the consumer runs in this context, but is not part of the call.
        for attempt in attempts(rules, scoped=False):
            with attempt:
                return (yield from fn(*args, **kwargs))

    return generator


def _async_restarting(
    rules: RetryRules, fn: Callable[..., AsyncIterator[Any]]
) -> Callable[..., AsyncIterator[Any]]:
    @functools.wraps(fn)
    async def generator(*args: Any, **kwargs: Any) -> Any:
        async for attempt in async_attempts(rules, scoped=False):
            with attempt:
                # Closed here: the loop closes an abandoned asynchronous generator only at some later time,
                # and its files stay open until then.
                async with aclosing(fn(*args, **kwargs)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item

    return generator


def _check_restarts(rules: RetryRules, fn: Any) -> None:
    """Refuse generator functions unless the policy restarts them and has no option that cannot apply."""
    if rules.generators != "restart":
        raise _refusal(fn)
    for name in ("attempt_timeout", "on_result"):
        if getattr(rules, name) is not None:
            hint = "A restarted generator has no one attempt to cut and no one result to judge."
            raise wrong(name, getattr(rules, name), "None for a generator function", hint)


def _refusal(fn: Any) -> Exception:
    return wrong(
        "the function to retry",
        fn,
        "a function that does its work when called",
        "Calling a generator function does no work yet: retry the function that consumes it, or decorate it "
        "with generators='restart' if its consumer can stand to get the first items again.",
    )
