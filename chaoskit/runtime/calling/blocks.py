"""Blocks that also decorate: one ``with`` statement for a piece of code, or for every call of a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar

from chaoskit.runtime.calling.callables import decorated, finished, is_async

__all__ = ["Block", "block"]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Block(Generic[T]):
    """What a function under :func:`block` returns: a context manager, and a decorator.

    The decorators that ``contextlib.contextmanager`` gives away for nothing leave the block of a coroutine
    function when the coroutine has been made, before it has run: they would protect nothing.
    """

    __slots__ = ("_make", "_managers")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        # A stack, so that one block may be entered again before it was left.
        self._managers: list[Any] = []

    def __enter__(self) -> T:
        manager = self._make()
        value: T = manager.__enter__()
        self._managers.append(manager)
        return value

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        swallowed: bool | None = self._managers.pop().__exit__(kind, error, trace)
        return swallowed

    def __call__(self, fn: F) -> F:
        """``fn`` with each of its calls in a block like this one, awaited inside it if ``fn`` is async."""
        return decorated("a block", fn, self._wrap)

    def _wrap(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        make = self._make

        @functools.wraps(fn)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with make():
                return finished("a block", fn, fn(*args, **kwargs))

        @functools.wraps(fn)
        async def ainside(*args: Any, **kwargs: Any) -> Any:
            with make():
                return await fn(*args, **kwargs)

        return ainside if is_async(fn) else inside


def block(fn: Callable[P, Iterator[T]]) -> Callable[P, Block[T]]:
    """Like ``contextlib.contextmanager``; as a decorator it works for coroutine functions as well."""
    manager = contextmanager(fn)

    @functools.wraps(fn)
    def make(*args: P.args, **kwargs: P.kwargs) -> Block[T]:
        return Block(lambda: manager(*args, **kwargs))

    return make
