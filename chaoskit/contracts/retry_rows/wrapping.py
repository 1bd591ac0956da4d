"""What a decorator makes of a function: each kind is recognized and stays what it was; errors pickle."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import itertools
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

from hypothesis import strategies as st

from chaoskit.contracts.report import Row, demand
from chaoskit.contracts.retry_adapter import RetryAdapter, RetryPlan
from chaoskit.contracts.retry_rows.doubles import SMALL, outcome
from chaoskit.contracts.virtual import run

__all__ = ["WRAPPING"]


def generators(adapter: RetryAdapter, example: tuple[int, bool]) -> None:
    """R15: a generator function is refused, or restarted; its failure never simply comes through."""
    items, hidden = example
    fails = iter([True])

    def produce() -> Iterator[int]:
        yield from range(items)
        if next(fails, False):
            raise ConnectionError("in the middle")
        yield items

    # Behind a partial, isgeneratorfunction does not see it.
    fn = partial(produce) if hidden else produce
    with adapter.world():
        # Both moments are early enough for a refusal. What matters is that it is not silent.
        try:
            wrapped = adapter.wrap(fn, RetryPlan())
            produced = wrapped()
        except Exception:
            return
        kind, got = outcome(list, produced)
        demand(kind == "value", f"the retry was never in force: {got!r} came through at its first occurrence")


def told_apart(adapter: RetryAdapter, example: tuple[int, int]) -> None:
    """R16: a coroutine function given to the sync interface is refused, or becomes a retried one."""
    which, failures = example
    calls = itertools.count(1)

    async def work() -> str:
        if next(calls) <= failures:
            raise ConnectionError
        return "done"

    class AsyncCallee:
        async def __call__(self) -> str:
            return await work()

        async def method(self) -> str:
            return await work()

    def plain() -> Any:
        return work()

    # iscoroutinefunction recognizes only the first; the last can be recognized only by its result.
    fn = (work, partial(work), AsyncCallee(), AsyncCallee().method, plain)[which]
    with adapter.world() as clock:
        try:
            wrapped = adapter.wrap(fn, RetryPlan(attempts=5, initial=0.0))
            result = wrapped()
        except Exception:
            return
        demand(inspect.isawaitable(result), f"{result!r} instead of an awaitable or a refusal")

        async def body() -> Any:
            return await result

        kind, got = outcome(run, clock, body)
        demand((kind, got) == ("value", "done"), f"the retry was never in force: {got!r} came through")


WORK = ("generator", "async generator", "coroutine", "task", "future")
"""What a plain function may return that is still to be done, or is done elsewhere."""


def _unfinished(kind: str, fails: Callable[[], str]) -> Callable[[], Any]:
    """A plain function that returns work of a ``kind`` of :data:`WORK`, in which ``fails`` is called."""

    def items() -> Iterator[str]:
        yield fails()

    async def aitems() -> AsyncIterator[str]:
        yield fails()

    async def work() -> str:
        return fails()

    def future() -> concurrent.futures.Future[str]:
        done: concurrent.futures.Future[str] = concurrent.futures.Future()
        try:
            done.set_result(fails())
        except ConnectionError as error:
            done.set_exception(error)
        return done

    made: tuple[Callable[[], Any], ...] = (items, aitems, work, lambda: asyncio.ensure_future(work()), future)
    start = made[WORK.index(kind)]
    # Nothing about the function itself gives away what it will return.
    return lambda: start()


async def _consumed(result: Any) -> Any:
    """What a caller gets out of ``result``."""
    if inspect.isgenerator(result):
        return next(result)
    if inspect.isasyncgen(result):
        return await anext(result)
    if isinstance(result, concurrent.futures.Future):
        return result.result()
    return await result if inspect.isawaitable(result) else result


def done_or_refused(adapter: RetryAdapter, example: tuple[str, int]) -> None:
    """R26: work that a plain function returns is refused, or its failures are retried: never handed on."""
    kind, failures = example
    calls = itertools.count(1)

    def fails() -> str:
        if next(calls) <= failures:
            raise ConnectionError
        return "done"

    async def body() -> tuple[str, Any]:
        others = asyncio.all_tasks()
        try:
            result = adapter.wrap(_unfinished(kind, fails), RetryPlan(attempts=5, initial=0.0))()
        except Exception:
            return "value", "refused"
        else:
            try:
                return "value", await _consumed(result)
            except Exception as error:
                return "error", error
        finally:
            # A refused task may fail unseen: that is the library's choice. Awaited here, or asyncio would log
            # its error in a later test.
            await asyncio.gather(*asyncio.all_tasks() - others, return_exceptions=True)

    with adapter.world() as clock:
        how, got = run(clock, body)
    demand(how == "value", f"the retry was never in force: {got!r} of the {kind} came through")


def pickled(adapter: RetryAdapter, protocol: int) -> None:
    """R18: every error of the library can be sent through a pipe, and arrives unchanged."""
    for error in adapter.errors():
        # Exceptions are rebuilt as cls(*args), which fails if the constructor has another signature.
        kind, got = outcome(lambda e=error: pickle.loads(pickle.dumps(e, protocol)))
        demand(kind == "value", f"{error!r} does not survive pickling: {got!r}")
        same = type(got) is type(error) and str(got) == str(error)
        demand(same, f"{error!r} arrives as {got!r}")


def module_level(
    one: int, /, two: str = "2", *rest: int, three: bool = False, **more: Any
) -> tuple[Any, ...]:
    """A function with every kind of parameter, at module level because only such functions pickle."""
    return (one, two, rest, three, more)


def keeps(adapter: RetryAdapter, example: tuple[int, dict[str, int]]) -> None:
    """R24: name, documentation, signature, binding and kind stay; the function pickles by its name."""
    one, more = example
    with adapter.world():
        wrapped = adapter.wrap(module_level, RetryPlan())
        # The attributes that functools.wraps copies; tools and tracebacks use them.
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            same = getattr(wrapped, name, None) == getattr(module_level, name)
            demand(same, f"{name} is {getattr(wrapped, name, None)!r}")
        demand(inspect.signature(wrapped) == inspect.signature(module_level), "the signature changed")
        result = wrapped(one, "b", 3, three=True, **more)
        demand(result == (one, "b", (3,), True, more), f"the arguments arrive as {result!r}")
        demand(not inspect.iscoroutinefunction(wrapped), "it claims to be a coroutine function")

        class Bound:
            def method(self) -> object:
                return self

            method = adapter.wrap(method, RetryPlan())

        bound = Bound()
        _, got = outcome(bound.method)
        demand(got is bound, f"as a method it is not bound to its object: {got!r}")
        _pickles(wrapped)


def _pickles(wrapped: Any) -> None:
    """Pickle ``wrapped`` under the function's own name, as after decoration."""
    undecorated = module_level
    globals()["module_level"] = wrapped
    try:
        kind, got = outcome(lambda: pickle.loads(pickle.dumps(wrapped)))
    finally:
        globals()["module_level"] = undecorated
    demand(kind == "value" and got is wrapped, f"it does not pickle by its name: {got!r}")


WRAPPING = (
    Row("R15", "generators are not silently unprotected", generators, st.tuples(SMALL, st.booleans())),
    Row("R16", "coroutine functions are told apart", told_apart, st.tuples(SMALL, st.integers(1, 3))),
    Row(
        "R26",
        "work that a plain function returns is not handed on",
        done_or_refused,
        st.tuples(st.sampled_from(WORK), st.integers(1, 3)),
    ),
    Row(
        "R18",
        "the library's errors survive pickling",
        pickled,
        st.integers(3, pickle.HIGHEST_PROTOCOL),
        frozenset({"errors"}),
    ),
    Row(
        "R24",
        "signature, name, binding, kind and pickling stay",
        keeps,
        st.tuples(st.integers(), st.dictionaries(st.sampled_from("abc"), st.integers())),
    ),
)
