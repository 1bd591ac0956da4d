"""Pipeline: several strategies around one call, always in the same order, which can be printed.

From the outside in, with the reason for each place::

    fallback      sees the failure of everything else
    deadline      covers all attempts and all waits
    retry         repeats what is inside, so that each attempt asks again
    rate limiter  counts attempts, since these are what the other side sees
    bulkhead      a place is taken for one attempt, not during the waits between them
    breaker       judges what comes from the other side; rejections by our own limits do not count
    timeout       cuts one attempt; the breaker sees it as a failure
    the call
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from types import FunctionType
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.blocks import OpenBlocks
from chaoskit.runtime.calling.callables import decorated, finished, is_async, protectable, synchronous
from chaoskit.runtime.calling.timeout import Deadline

__all__ = ["ORDER", "Pipeline", "Strategy"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

ORDER = ("fallback", "deadline", "retry", "rate_limiter", "bulkhead", "breaker", "timeout")
"""From the outside in."""

# Few pipelines protect more functions; one that is given new ones in a loop must not fill the memory.
_PREPARED = 64


class Strategy(Protocol):
    """Anything that protects a function: a decorator for sync and async functions."""

    def __call__(self, fn: F, /) -> F:
        """Return ``fn`` protected."""


class Pipeline:
    """Combines strategies in the order of :data:`ORDER`, in whatever order they are given.

    Each place takes one strategy, ours or any other decorator; ``deadline`` also takes seconds. All are
    optional. ``print(pipeline)`` shows the order. Use it as a decorator for sync and async functions, as
    ``call(fn, ...)``, or with ``with`` and ``async with`` around a block; a strategy that cannot protect a
    block, such as a retry, refuses it and says why. Raises ``UsageError`` for a strategy that is not
    callable.
    """

    def __init__(
        self,
        *,
        fallback: Strategy | None = None,
        deadline: float | Strategy | None = None,
        retry: Strategy | None = None,
        rate_limiter: Strategy | None = None,
        bulkhead: Strategy | None = None,
        breaker: Strategy | None = None,
        timeout: Strategy | None = None,
    ) -> None:
        # Only this place takes a number: what one would mean elsewhere is not clear.
        if isinstance(deadline, int | float):
            deadline = Deadline(deadline)
        given = (fallback, deadline, retry, rate_limiter, bulkhead, breaker, timeout)
        places = zip(ORDER, given, strict=True)
        self.strategies = tuple((place, strategy) for place, strategy in places if strategy is not None)
        for place, strategy in self.strategies:
            if not callable(strategy) or isinstance(strategy, type):
                hint = "This is the class; make one of it." if isinstance(strategy, type) else ""
                raise wrong(place, strategy, "a strategy, which is a decorator for functions", hint)
            synchronous(place, strategy)
        self._entered: OpenBlocks[Any] = OpenBlocks("a pipeline")
        self._prepared: dict[FunctionType, Callable[..., Any]] = {}

    def __str__(self) -> str:
        lines = [f"{place.replace('_', ' '):<12}  {_shown(strategy)}" for place, strategy in self.strategies]
        return "\n".join([*lines, "the call"])

    def __repr__(self) -> str:
        return f"<Pipeline {' > '.join([*(place for place, _ in self.strategies), 'call'])}>"

    def __enter__(self) -> None:
        with ExitStack() as stack:
            for _, strategy in self.strategies:
                stack.enter_context(cast(Any, strategy))
            # Only now, when all are entered: if one of them refuses, the stack leaves the others at once.
            self._entered.push(stack.pop_all())

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        left: bool | None = self._entered.pop().__exit__(kind, error, trace)
        return left

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            for _, strategy in self.strategies:
                await stack.enter_async_context(cast(Any, strategy))
            self._entered.push(stack.pop_all())

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        left: bool | None = await self._entered.pop().__aexit__(kind, error, trace)
        return left

    def __call__(self, fn: F) -> F:
        """Return ``fn`` protected by all strategies."""
        return decorated("a pipeline", fn, self._protected)

    def _protected(self, fn: Any) -> Any:
        # The innermost first: each decorator wraps the result of those inside it.
        for _, strategy in reversed(self.strategies):
            fn = strategy(fn)
        return fn

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn`` protected; if it is async, await the result as usual."""
        ready = self._prepared.get(fn) if type(fn) is FunctionType else None
        if ready is not None:
            prepared: R = ready(*args, **kwargs)
            return prepared
        protectable("a pipeline", fn)
        around = self._protected(fn)
        value: R = around(*args, **kwargs)
        if is_async(fn):
            return self._kept(fn, around, value)
        return self._kept(fn, around, cast(R, finished("a pipeline", fn, value)))

    def _kept(self, fn: Callable[..., Any], around: Callable[..., Any], value: R) -> R:
        """Return ``value``, and keep ``around``: protecting a function costs as much as ten calls.

        Functions made inside functions are not kept, nor are objects: what they hold would live as long as
        the pipeline.
        """
        if type(fn) is FunctionType and "<locals>" not in fn.__qualname__:
            if len(self._prepared) >= _PREPARED:
                self._prepared.clear()
            self._prepared[fn] = around
        return value


def _shown(strategy: object) -> str:
    shown = repr(strategy)
    return shown[1:-1] if shown.startswith("<") and " at 0x" not in shown else shown
