"""Blocks: one ``with`` statement for a piece of code, or for every call of a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, NoReturn, ParamSpec, TypeVar

from chaoskit.core.errors import UsageError
from chaoskit.runtime.calling.callables import decorated, finished, is_async
from chaoskit.runtime.calling.loops import here

__all__ = ["Block", "OpenBlocks", "NoBlock", "block"]

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Block(Generic[T]):
    """What a function decorated with :func:`block` returns: a context manager that is also a decorator.

    Those of ``contextlib.contextmanager``, used to decorate a coroutine function, leave the block as soon as
    the coroutine has been made, before it has run: they would protect nothing.
    """

    __slots__ = ("_make", "_managers")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        # A stack, so that a block may be entered again before it is left.
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
        """Return ``fn`` with each call in such a block; an async ``fn`` is awaited inside the block."""
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
    """Like ``contextlib.contextmanager``, but as a decorator it works for coroutine functions as well."""
    manager = contextmanager(fn)

    @functools.wraps(fn)
    def make(*args: P.args, **kwargs: P.kwargs) -> Block[T]:
        return Block(lambda: manager(*args, **kwargs))

    return make


class OpenBlocks(Generic[T]):
    """Keeps the state of the blocks that are in progress for a strategy.

    Separate for each task and thread, because they share the strategy, and a stack, because a block may be
    inside another block of the same strategy.
    """

    __slots__ = ("_stacks", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._stacks: dict[object, list[T]] = {}

    def push(self, one: T) -> None:
        """Note that a block begins in this task or thread, with the state ``one``."""
        self._stacks.setdefault(here(), []).append(one)

    def pop(self) -> T:
        """End the block that began last in this task or thread, and return its state.

        Raises:
            UsageError: there is none; the block was entered by another task or thread.
        """
        stack = self._stacks.get(place := here())
        if not stack:
            raise UsageError(
                f"The block of {self._what} is left where it was not entered; expected the same task or "
                "thread. Enter and leave it in one function."
            )
        one = stack.pop()
        if not stack:
            del self._stacks[place]
        return one


class NoBlock:
    """The base of strategies that cannot protect a block: ``with`` is refused, with the reason."""

    __slots__ = ()

    _no_block: ClassVar[str]

    def __enter__(self) -> NoReturn:
        raise UsageError(self._no_block)

    def __exit__(self, *exc: object) -> None:
        """Never reached."""

    async def __aenter__(self) -> NoReturn:
        raise UsageError(self._no_block)

    async def __aexit__(self, *exc: object) -> None:
        """Never reached."""
