"""The kinds of callables: decided in one place for every strategy, hook, predicate and job.

No function is accepted and then not run. A function that returns a coroutine is refused if no event loop will
await it. One that turns out to return unfinished work instead of a result (a lambda around an async function,
a function that returns a generator, a task or a future) is refused when it does.
"""

from __future__ import annotations

import enum
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, TypeVar, cast

from chaoskit.core.errors import wrong
from chaoskit.runtime.log import ERROR, log

__all__ = [
    "LAZY",
    "RESULTS",
    "CallableKind",
    "answered",
    "asked",
    "called",
    "decorated",
    "drop",
    "finished",
    "is_async",
    "is_workless",
    "kind_of",
    "protect",
    "protectable",
    "synchronous",
    "synchronous_all",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Run = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

_CO_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE


class CallableKind(enum.Enum):
    """What calling it does: the work, or making an object that does the work when it is driven."""

    SYNC = "a synchronous function"
    ASYNC = "an async function"
    GENERATOR = "a generator function"
    ASYNC_GENERATOR = "an async generator function"
    CLASS = "a class"
    METHOD = "a static or class method that is not bound yet"
    NOT_CALLABLE = "no function"


LAZY = frozenset({CallableKind.GENERATOR, CallableKind.ASYNC_GENERATOR})
"""Kinds whose calls do no work yet, with or without an event loop."""


RESULTS: set[type] = {type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset}
"""Classes whose instances are known to be results, so that a call pays for one look-up only.

Classes are added as they are seen, if they live as long as their module: see :func:`is_workless`.
"""


def is_async(fn: Callable[..., Any]) -> bool:
    """Return True if calling ``fn`` returns a coroutine, also for methods, partials and callable objects."""
    try:
        # Plain functions and bound methods, which are nearly all: too cheap to be worth caching.
        if fn.__code__.co_flags & _CO_COROUTINE:
            return True
    except AttributeError:
        pass
    return any(map(inspect.iscoroutinefunction, _faces(fn)))


def kind_of(fn: object) -> CallableKind:
    """The kind of ``fn``, judged by what can be known without calling it."""
    # Before callable(): since Python 3.10 staticmethod objects are callable, and their kind would be lost.
    if isinstance(fn, staticmethod | classmethod | property):
        return CallableKind.METHOD
    if not callable(fn):
        return CallableKind.NOT_CALLABLE
    faces = _faces(fn)
    if any(map(inspect.isgeneratorfunction, faces)):
        return CallableKind.GENERATOR
    if any(map(inspect.isasyncgenfunction, faces)):
        return CallableKind.ASYNC_GENERATOR
    if is_async(fn):
        return CallableKind.ASYNC
    return CallableKind.CLASS if inspect.isclass(fn) else CallableKind.SYNC


def protectable(what: str, fn: object) -> None:
    """Refuse a function that the strategy ``what`` cannot protect: a non-callable or a generator function.

    Calling a generator function does no work yet, so a strategy around the call would protect nothing.

    Raises:
        UsageError: ``fn`` is one of these.
    """
    kind = kind_of(fn)
    if kind is CallableKind.NOT_CALLABLE or kind is CallableKind.METHOD:
        hint = (
            "Put the strategy directly above the def, below @property." if kind is CallableKind.METHOD else ""
        )
        raise wrong(f"the function given to {what}", fn, "a callable", hint)
    if kind in LAZY:
        raise wrong(
            f"the function given to {what}",
            fn,
            "a function that does its work when called",
            "Calling a generator function does no work yet: protect the function that consumes it.",
        )


def decorated(what: str, fn: F, wrap: Callable[[Any], Any]) -> F:
    """Return ``fn`` wrapped by ``wrap``, which gets plain functions only.

    A static or class method is wrapped inside, so that it binds as before. A class is refused: a function
    would take its place, and ``isinstance`` and inheritance would break far from here.

    Raises:
        UsageError: ``fn`` is a class, or :func:`protectable` refuses it.
    """
    if isinstance(fn, staticmethod | classmethod):
        return cast(F, type(fn)(decorated(what, fn.__func__, wrap)))
    protectable(what, fn)
    if kind_of(fn) is CallableKind.CLASS:
        raise wrong(
            f"the function given to {what}",
            fn,
            "a function",
            "Decorate the method that does the work, or a function that makes the object.",
        )
    return cast(F, wrap(fn))


def protect(what: str, fn: F, run: Run, arun: Callable[..., Awaitable[Any]]) -> F:
    """Return ``fn`` run by ``run``, or by ``arun`` if it is async; signature and kind are kept."""

    def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def protected(*args: Any, **kwargs: Any) -> Any:
            value = run(fn, args, kwargs)
            return value if type(value) in RESULTS else finished(what, fn, value)

        @functools.wraps(fn)
        async def aprotected(*args: Any, **kwargs: Any) -> Any:
            return await arun(fn, args, kwargs)

        return aprotected if is_async(fn) else protected

    return decorated(what, fn, wrap)


def is_workless(value: object) -> bool:
    """Return True if ``value`` is unfinished work: a coroutine, generator, task or future.

    Compiled coroutines and generators, and subclasses of futures, count as well. Other awaitables do not: a
    client or a table may be awaitable, and usable as it is.
    """
    kind = type(value)
    if kind in RESULTS:
        return False
    # By the methods of the class: an object's __getattr__ may provide anything.
    if issubclass(kind, Coroutine | Generator | AsyncGenerator) or _is_future(kind):
        return True
    home = sys.modules.get(kind.__module__)
    # Classes that were made in a function, or by a mock for one object, must not be kept alive here.
    if getattr(home, kind.__qualname__, None) is kind:
        RESULTS.add(kind)
    return False


def finished(what: str, fn: Callable[..., Any], value: Any) -> Any:
    """Return ``value``, the result of sync ``fn``.

    Raises:
        UsageError: ``value`` is unfinished work. It is closed or cancelled first, since no caller ever gets
            it.
    """
    if type(value) in RESULTS or not is_workless(value):
        return value
    drop(value)
    name = type(value).__name__
    if isinstance(value, Coroutine):
        expected = "an async function, since it returns a coroutine"
        hint = "Write it with async def: what a coroutine does later would not be protected."
    elif isinstance(value, Generator | AsyncGenerator):
        article = "an" if name[0] in "aeiou" else "a"
        expected = f"a function that does its work when called; it returned {article} {name}"
        hint = "Consume it in the function, as list() does, or put 'with' around the part that does the work."
    else:
        expected = f"a function that waits for its result; it returned a {name}"
        hint = "Await it in an async def, or call its result() in the function: the rest is not protected."
    raise wrong(f"the function given to {what}", fn, expected, hint)


def drop(value: Any) -> None:
    """Dispose of ``value``, unfinished work that its caller will never get: close it, or cancel it.

    An open coroutine would warn at some later place that it was never awaited.
    """
    if isinstance(value, Coroutine | Generator):
        value.close()
    elif not isinstance(value, AsyncGenerator):
        value.cancel()


def _is_future(kind: type) -> bool:
    """Return True for futures of asyncio, by the mark of ``asyncio.isfuture``, and of concurrent.futures."""
    return any(
        "_asyncio_future_blocking" in vars(base)
        or (base.__name__ == "Future" and base.__module__ == "concurrent.futures._base")
        for base in kind.__mro__
    )


# -- users' functions that ours call, and whose answer or effect counts ----------------------------


def synchronous(what: str, fn: object, *, optional: bool = True) -> None:
    """Refuse ``fn`` as ``what`` unless calling it does the work; None passes if it is ``optional``.

    Its result is not awaited: a coroutine would be true whatever it returns, and its work never done.

    Raises:
        UsageError: ``fn`` is an async or generator function, or not callable.
    """
    if fn is None and optional:
        return
    kind = kind_of(fn)
    if kind is CallableKind.ASYNC or kind in LAZY:
        raise wrong(what, fn, "a synchronous function", f"It is {kind.value}, and its call does no work yet.")
    if kind is CallableKind.NOT_CALLABLE or kind is CallableKind.METHOD:
        raise wrong(what, fn, "a function" + (", or None" if optional else ""))


def synchronous_all(what: str, fns: Iterable[T]) -> tuple[T, ...]:
    """Return ``fns`` as a tuple, each checked by :func:`synchronous`."""
    if not isinstance(fns, Iterable) or isinstance(fns, str | bytes):
        raise wrong(f"{what}s", fns, "functions in a list", "For one, write [function]; for none, [].")
    found = tuple(fns)
    for fn in found:
        synchronous(what, fn, optional=False)
    return found


def called(what: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call ``fn`` as ``what``, and check what :func:`synchronous` cannot know in advance.

    A lambda around an async function looks like any other until it is called. A task or future passes: it
    runs by itself, as a listener may intend; where it would stand for an answer, see :func:`answered`.

    Raises:
        UsageError: the result is a coroutine or generator, which is closed first.
    """
    value = fn(*args, **kwargs)
    if type(value) in RESULTS or not is_workless(value) or _is_future(type(value)):
        return value
    drop(value)
    raise wrong(
        what, fn, "a synchronous function", f"It returned a {type(value).__name__}, which does no work yet."
    )


def answered(what: str, fn: Callable[..., Any], *args: Any) -> bool:
    """The truth of ``fn(*args)``, a predicate; a coroutine or a future is not an answer."""
    return bool(finished(what, fn, called(what, fn, *args)))


def asked(what: str, fn: Callable[..., Any], about: Any, *, if_it_raises: bool) -> bool:
    """Like :func:`answered`, but a predicate that raises is reported, and the answer is ``if_it_raises``.

    Its error must not replace the outcome of the call, which the caller has to see.
    """
    try:
        return answered(what, fn, about)
    except Exception as failure:
        text = "%s: %r raised about %r, which is taken as %s"
        answer = "yes" if if_it_raises else "no"
        log(ERROR, text, what, fn, about, answer, error=failure)
        if isinstance(about, BaseException):
            note = f"{what}: {fn!r} raised {type(failure).__qualname__} about this error; taken as {answer}"
            if note not in getattr(about, "__notes__", ()):
                about.add_note(note)
        return if_it_raises


def _faces(fn: Any) -> tuple[Any, ...]:
    """``fn``, and the ``__call__`` of its class: of a function Python's own, of an object what is run."""
    # A partial is not a function itself; the function inside decides.
    while isinstance(fn, functools.partial):
        fn = fn.func
    # By the class, as the interpreter looks it up; a class is called by its metaclass.
    return (fn, type(fn).__call__)
