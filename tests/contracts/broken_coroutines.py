"""For each A row, retries with just the bug that the row is about."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from chaoskit.contracts.retry import RetryPlan

from .broken_retries import DeafToShutdown, Hand, Twin

Fn = Callable[..., Any]


class _Dropping:
    """Drives a coroutine by hand, and forgets it once it has answered an error with another step."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            step = next(self.steps)
            while True:
                try:
                    yield step
                except BaseException as error:
                    again = self.steps.throw(error)
                    # What is thrown at this step never reaches the coroutine.
                    yield again
                step = next(self.steps)
        except StopIteration as done:
            return done.value


class DropsTheSecondError(Twin):
    """The first error that comes to a wait is delivered, the next one ends the coroutine."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().awrap(fn, plan)

        @functools.wraps(fn)
        async def call(*args: Any) -> Any:
            return await _Dropping(inner(*args).__await__())

        return call


class RunsInAnotherTask(Twin):
    """Leaves the work running when it is cancelled itself."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().awrap(fn, plan)

        @functools.wraps(fn)
        async def call(*args: Any) -> Any:
            return await asyncio.shield(asyncio.ensure_future(inner(*args)))

        return call


class Asking(Hand):
    """The loop by hand, with a predicate."""

    def asked(self, plan: RetryPlan, error: BaseException) -> bool:
        return bool(plan.predicate(error)) if plan.predicate else isinstance(error, plan.on)

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in itertools.count(1):
                try:
                    return fn(*args, **kwargs)
                except Exception as caught:
                    error = caught
                # Here, where what it raises has not even the error in its context.
                if attempt >= plan.attempts or not self.asked(plan, error):
                    raise error
            return None

        return call

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        @functools.wraps(fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in itertools.count(1):
                try:
                    return await fn(*args, **kwargs)
                except Exception as caught:
                    error = caught
                if attempt >= plan.attempts or not self.asked(plan, error):
                    raise error
            return None

        return call


class TakesACoroutineForYes(Asking):
    """A coroutine is true, whatever it would have answered."""


class NeverAsks(Asking):
    """Accepts an async predicate and does without it."""

    def asked(self, plan: RetryPlan, error: BaseException) -> bool:
        return False


class PredicateHidesTheError(Asking):
    """What the predicate raises is raised."""


class DeafInTasks(DeafToShutdown):
    """Sleeps on, on the loop's own clock."""

    def policy(self, plan: RetryPlan) -> Any:
        return super(DeafToShutdown, self).policy(replace(plan, wake=None))


class KeepsEachTask(Twin):
    """Notes every call of a coroutine."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().awrap(fn, plan)

        @functools.wraps(fn)
        async def call(*args: Any, story: list[str] = []) -> Any:  # noqa: B006 - this is the bug
            story.append(f"called at {self.clock.monotonic()}")
            return await inner(*args)

        return call


BROKEN_COROUTINES: dict[str, list[type[Twin]]] = {
    "A1": [DropsTheSecondError, RunsInAnotherTask],
    "A2": [TakesACoroutineForYes, NeverAsks],
    "A3": [DeafInTasks],
    "A4": [PredicateHidesTheError],
    "A6": [KeepsEachTask],
}
