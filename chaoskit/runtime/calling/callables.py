"""What kind of callable a strategy was given: decided once, so that none is wrapped as what it is not."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, TypeVar, cast

from chaoskit.core.errors import wrong

__all__ = ["finished", "is_async", "is_coroutine", "protect", "protectable"]

F = TypeVar("F", bound=Callable[..., Any])

_CO_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling ``fn`` gives a coroutine; sees through methods, partials and objects with a call."""
    try:
        # Plain functions and bound methods, which is nearly all there is: no cost worth caching.
        if fn.__code__.co_flags & _CO_COROUTINE:
            return True
    except AttributeError:
        pass
    return any(map(inspect.iscoroutinefunction, _faces(fn)))


def is_coroutine(value: object) -> bool:
    """Whether ``value`` is a coroutine that nobody awaited yet (not any awaitable: a task runs by itself)."""
    return type(value) is CoroutineType


def protectable(what: str, fn: object) -> None:
    """Refuse what ``what`` (a strategy's name) cannot protect: non-callables and generator functions.

    The call of a generator function does no work yet, so a strategy around it would protect nothing.
    """
    if not callable(fn):
        hint = (
            "Put the strategy below @classmethod or @property, nearest to the function."
            if _is_descriptor(fn)
            else ""
        )
        raise wrong(f"the function given to {what}", fn, "a callable", hint)
    if any(inspect.isgeneratorfunction(face) or inspect.isasyncgenfunction(face) for face in _faces(fn)):
        raise wrong(
            f"the function given to {what}",
            fn,
            "a function that does its work when called",
            "Calling a generator function does no work yet: protect the function that consumes it.",
        )


def _faces(fn: Any) -> tuple[Any, ...]:
    """``fn`` and, for an object with a call of its own, that call."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if inspect.isroutine(fn) or inspect.isclass(fn):
        return (fn,)
    return (fn, type(fn).__call__)


def _is_descriptor(fn: object) -> bool:
    return isinstance(fn, classmethod | property)


def protect(
    what: str,
    fn: F,
    run: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any],
    arun: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Awaitable[Any]],
) -> F:
    """Return ``fn`` run by ``run``, or by ``arun`` if it is async; signature and kind are kept."""
    protectable(what, fn)

    @functools.wraps(fn)
    def protected(*args: Any, **kwargs: Any) -> Any:
        return finished(what, fn, run(fn, args, kwargs))

    @functools.wraps(fn)
    async def aprotected(*args: Any, **kwargs: Any) -> Any:
        return await arun(fn, args, kwargs)

    return cast(F, aprotected if is_async(fn) else protected)


def finished(what: str, fn: Callable[..., Any], value: Any) -> Any:
    """Return ``value``, the result of sync ``fn``; refuse a coroutine, whose work has not even begun."""
    if is_coroutine(value):
        value.close()
        raise wrong(
            f"the function given to {what}",
            fn,
            "an async function, since it returns a coroutine",
            "Write it with async def: what a coroutine does later would not be protected.",
        )
    return value
